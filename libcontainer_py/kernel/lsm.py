"""Which Linux security modules are at work here. Source: Documentation/admin-guide/LSM of Linux."""


def apparmor_enabled() -> bool:
    """Whether AppArmor is there and switched on; the file is what libapparmor's aa_is_enabled asks too."""
    return _read("/sys/module/apparmor/parameters/enabled").startswith("Y")


def selinux_enabled() -> bool:
    """Whether SELinux is there and switched on: only then it registers its file system."""
    return "\tselinuxfs\n" in _read("/proc/filesystems")


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
