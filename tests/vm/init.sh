# The first process of the machine. `job.write_init` puts before it which busybox runs it.
#
# user-mode-linux starts it in the host's root, mounted read-only by hostfs; qemu in an initrd, which mounts the host's
# root by 9p. It lays a file system in memory over that root, mounts what a Linux system has, makes the whole of it the
# root, and goes on as /job/command.sh or as systemd. Kernel parameters: vm.modules, vm.job (uml alone), vm.init.

[ -d /modules ] && engine=qemu || engine=uml

fail() {
    echo "vm: init: $*" > /dev/console
    echo o > /proc/sysrq-trigger
    $busybox sleep 9
}

$busybox mount -t proc proc /proc
$busybox mount -t sysfs sys /sys
for word in $($busybox cat /proc/cmdline); do
    case $word in
        vm.modules=*) modules=${word#*=} ;;
        vm.job=*) job=${word#*=} ;;
        vm.init=*) init=${word#*=} ;;
    esac
done

# -- the host's root and the directory of the job --

if [ $engine = uml ]; then
    $busybox mount -t tmpfs work /mnt
    work=/mnt
    $busybox mkdir $work/new $work/cow $work/job $work/dev
    lower=/
    $busybox mount -t devtmpfs dev $work/dev
    $busybox insmod "$modules"/*/kernel/fs/overlayfs/overlay.ko || fail overlay.ko
    $busybox mount -t hostfs -o "$job" job $work/job || fail "mount $job"
else
    work=
    lower=/lower
    $busybox mount -t devtmpfs dev /dev
    for module in /modules/*; do
        $busybox insmod "$module" || fail "$module"
    done
    options=trans=virtio,version=9p2000.L,msize=512000
    $busybox mount -t 9p -o $options,cache=none job /job || fail "mount the job"
    $busybox mount -t 9p -o $options,cache=loose,ro host /lower || fail "mount the host"
fi

# -- a root that can be written to --

$busybox mount -t tmpfs -o size=75%,mode=755 cow $work/cow
$busybox mkdir $work/cow/upper $work/cow/work
$busybox mount -t overlay -o lowerdir=$lower,upperdir=$work/cow/upper,workdir=$work/cow/work overlay $work/new || fail overlay
cd $work/new || fail "the new root"
$busybox mkdir -p job proc sys dev run tmp usr/lib/modules
$busybox mount --move $work/dev dev
$busybox mount --move $work/job job
$busybox mount -t tmpfs -o mode=755 run run
$busybox mkdir -p run/lock dev/pts dev/shm dev/mqueue
$busybox mount -t devpts -o mode=620,gid=5,ptmxmode=666 devpts dev/pts
$busybox mount -t tmpfs -o mode=1777 shm dev/shm
$busybox mount -t mqueue mqueue dev/mqueue
# from the host, not through the overlay: on overlays of overlays there can be no third one
$busybox mount --bind "$lower$modules" usr/lib/modules
# with this file systemd believes to be in a container, and ignores the kernel's parameters
$busybox rm -f .dockerenv
echo vm > etc/hostname
$busybox hostname vm
$busybox ifconfig lo 127.0.0.1 up
if ! [ -e dev/fd ]; then
    $busybox ln -s /proc/self/fd dev/fd
    $busybox ln -s fd/0 dev/stdin
    $busybox ln -s fd/1 dev/stdout
    $busybox ln -s fd/2 dev/stderr
fi
if [ $engine = qemu ]; then
    for port in /sys/class/virtio-ports/*; do
        $busybox ln -s "${port##*/}" "dev/vm-$($busybox cat "$port/name")"
    done
fi
$busybox mount --move /proc proc
$busybox mount --move /sys sys

# -- what is to run --

if [ "$init" = systemd ]; then
    units=run/systemd/system
    $busybox mkdir -p $units run/dbus run/user
    $busybox cp job/units/* $units/
    while read -r unit; do
        $busybox ln -s /dev/null "$units/$unit"
    done < job/masked
    program=/lib/systemd/systemd
else
    $busybox mount -t cgroup2 -o nsdelegate,nosuid,nodev,noexec cgroup2 sys/fs/cgroup || fail cgroup2
    for controller in $($busybox cat sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" > sys/fs/cgroup/cgroup.subtree_control
    done
    program="/bin/sh /job/command.sh"
fi

if [ $engine = qemu ]; then
    exec $busybox switch_root /new $program
fi
# the root is hostfs and no initrd, so it is put below the new one and unmounted
$busybox mkdir -p .old
$busybox pivot_root . .old || fail pivot_root
exec "./.old$busybox" chroot . /bin/sh -c "umount -l /.old; rmdir /.old; exec $program" < dev/console > dev/console 2>&1
