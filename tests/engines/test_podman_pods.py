"""Pods: containers that share namespaces, made by hand and from Kubernetes' YAML."""

from __future__ import annotations

import json

from tests.engines.images import BUSYBOX
from tests.engines.podman import Podman
from tests.engines.programs import wait_until

YAML = """
apiVersion: v1
kind: Pod
metadata:
  name: {name}
spec:
  restartPolicy: Never
  containers:
  - name: server
    image: {image}
    command: ["sh", "-c", "echo hello >/shared/file; exec sleep 1000"]
    volumeMounts:
    - {{name: shared, mountPath: /shared}}
    resources:
      limits: {{memory: 64Mi}}
    securityContext:
      runAsUser: 65534
      allowPrivilegeEscalation: false
      capabilities: {{drop: [ALL]}}
  - name: client
    image: {image}
    command: ["sh", "-c", "until cat /shared/file; do sleep 0.05; done; exec sleep 1000"]
    volumeMounts:
    - {{name: shared, mountPath: /shared}}
  volumes:
  - name: shared
    hostPath: {{path: {folder}, type: Directory}}
"""


def test_pod(podman: Podman, named: str) -> None:
    podman("pod", "create", "--name", named, "--network", "none", "--share", "ipc,net,uts,pid")
    for one in ("a", "b"):
        podman("run", "--detach", "--pod", named, "--name", f"{named}-{one}", BUSYBOX, "sleep", "1000")
    script = "for i in ipc net uts pid mnt; do readlink /proc/self/ns/$i; done"
    a, b = (podman.says("exec", f"{named}-{one}", "sh", "-c", script).split() for one in "ab")
    assert a[:4] == b[:4]
    assert a[4] != b[4]
    podman("pod", "pause", named)
    assert podman.status(f"{named}-a") == "paused"
    podman("pod", "unpause", named)
    assert podman.status(f"{named}-a") == "running"
    assert len(podman.says("pod", "top", named, "pid", "args").splitlines()) >= 3
    podman("pod", "stop", "--time", "0", named)
    wait_until(lambda: podman.status(f"{named}-b") == "exited")
    podman("pod", "start", named)
    assert podman.status(f"{named}-b") == "running"
    podman("pod", "rm", "--force", "--time", "0", named)
    assert podman("container", "exists", f"{named}-a", check=False).returncode == 1


def test_play_kube(podman: Podman, named: str) -> None:
    shared = podman.folder / "kube"
    shared.mkdir(exist_ok=True)
    shared.chmod(0o777)
    (podman.folder / "pod.yaml").write_text(YAML.format(name=named, image=BUSYBOX, folder=shared))
    podman("play", "kube", "--network", "none", str(podman.folder / "pod.yaml"))
    wait_until(lambda: podman("logs", f"{named}-client").stdout.endswith("hello\n"))
    status = podman.says("exec", f"{named}-server", "grep", "-E", "NoNewPrivs|CapBnd|Uid", "/proc/1/status").split()
    assert (status[1], status[6], status[8]) == ("65534", f"{0:016x}", "1")
    assert podman.inspect(f"{named}-server")["HostConfig"]["Memory"] == 64 << 20
    (pod,) = json.loads(podman.says("pod", "ps", "--format", "json", "--filter", f"name={named}"))
    assert pod["Status"] == "Running"
    podman("play", "kube", "--down", str(podman.folder / "pod.yaml"))
    assert podman("pod", "exists", named, check=False).returncode == 1
