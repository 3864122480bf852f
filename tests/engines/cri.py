"""What the kubelet says to containerd: a client of CRI, runtime.v1. Shapes have the fields that the tests use.

Source: k8s.io/cri-api, pkg/apis/runtime/v1/api.proto.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.engines.images import BUSYBOX
from tests.engines.protobuf import Message, Shape, decode, encode

HANDLER = "pyrunc"
PARENT = "lcpy-cri"
"""The cgroup of its pods."""
NAMESPACE = "k8s.io"
"""containerd's namespace for CRI."""

POD, CONTAINER, NODE = range(3)
"""Whose namespace: NamespaceMode."""
CREATED, RUNNING, EXITED = range(3)
"""ContainerState."""
READY, NOT_READY = range(2)
"""PodSandboxState."""

PAIR: Shape = {"key": (1, "string"), "value": (2, "string")}
NUMBER: Shape = {"value": (1, "int")}
NAMESPACES: Shape = {"network": (1, "int"), "pid": (2, "int"), "ipc": (3, "int")}
RESOURCES: Shape = {
    "cpu_period": (1, "int"),
    "cpu_quota": (2, "int"),
    "cpu_shares": (3, "int"),
    "memory_limit_in_bytes": (4, "int"),
    "oom_score_adj": (5, "int"),
}
SECURITY: Shape = {
    "capabilities": (1, {"add_capabilities": (1, ["string"]), "drop_capabilities": (2, ["string"])}),
    "namespace_options": (3, NAMESPACES),
    "run_as_user": (5, NUMBER),
    "readonly_rootfs": (7, "int"),
    "no_new_privs": (11, "int"),
    "seccomp": (15, {"profile_type": (1, "int")}),
}
MOUNT: Shape = {"container_path": (1, "string"), "host_path": (2, "string"), "readonly": (3, "int")}
IMAGE: Shape = {"image": (1, "string")}
SANDBOX: Shape = {
    "metadata": (1, {"name": (1, "string"), "uid": (2, "string"), "namespace": (3, "string"), "attempt": (4, "int")}),
    "hostname": (2, "string"),
    "log_directory": (3, "string"),
    "labels": (6, [PAIR]),
    "linux": (8, {"cgroup_parent": (1, "string"), "security_context": (2, {"namespace_options": (1, NAMESPACES)})}),
}
CONFIG: Shape = {
    "metadata": (1, {"name": (1, "string"), "attempt": (2, "int")}),
    "image": (2, IMAGE),
    "command": (3, ["string"]),
    "args": (4, ["string"]),
    "working_dir": (5, "string"),
    "envs": (6, [PAIR]),
    "mounts": (7, [MOUNT]),
    "log_path": (11, "string"),
    "linux": (15, {"resources": (1, RESOURCES), "security_context": (2, SECURITY)}),
}
STATUS: Shape = {"id": (1, "string"), "state": (3, "int"), "exit_code": (7, "int"), "reason": (10, "string")}
STATS: Shape = {
    "cpu": (2, {"usage_core_nano_seconds": (2, NUMBER)}),
    "memory": (3, {"working_set_bytes": (2, NUMBER)}),
}
POD_ID: Shape = {"pod_sandbox_id": (1, "string")}
ID: Shape = {"container_id": (1, "string")}
NOTHING: Shape = {}

# verb: what is asked, what is answered
VERBS: dict[str, tuple[Shape, Shape]] = {
    "Version": (NOTHING, {"runtime_name": (2, "string")}),
    "RunPodSandbox": ({"config": (1, SANDBOX), "runtime_handler": (2, "string")}, POD_ID),
    "PodSandboxStatus": (POD_ID, {"status": (1, {"state": (3, "int"), "runtime_handler": (9, "string")})}),
    "StopPodSandbox": (POD_ID, NOTHING),
    "RemovePodSandbox": (POD_ID, NOTHING),
    "ListPodSandbox": (NOTHING, {"items": (1, [{"id": (1, "string")}])}),
    "CreateContainer": ({**POD_ID, "config": (2, CONFIG), "sandbox_config": (3, SANDBOX)}, ID),
    "StartContainer": (ID, NOTHING),
    "StopContainer": ({**ID, "timeout": (2, "int")}, NOTHING),
    "RemoveContainer": (ID, NOTHING),
    "ContainerStatus": (ID, {"status": (1, STATUS)}),
    "UpdateContainerResources": ({**ID, "linux": (2, RESOURCES)}, NOTHING),
    "ExecSync": (
        {**ID, "cmd": (2, ["string"]), "timeout": (3, "int")},
        {"stdout": (1, "bytes"), "stderr": (2, "bytes"), "exit_code": (3, "int")},
    ),
    "ContainerStats": (ID, {"stats": (1, STATS)}),
}
IMAGE_VERBS: dict[str, tuple[Shape, Shape]] = {
    "ImageStatus": ({"image": (1, IMAGE)}, {"image": (1, {"id": (1, "string")})})
}


class Cri:
    """The client. Raises grpc.RpcError where containerd says no."""

    def __init__(self, channel: Any, logs: Path, bundles: Path) -> None:
        self._channel = channel
        self.bundles = bundles
        """Where containerd has the bundles, by its namespaces."""
        self.logs = logs
        """Where the logs of pods go."""

    def call(self, verb: str, **message: Any) -> Message:
        """Ask, and get the answer."""
        image = verb in IMAGE_VERBS
        asked, answered = (IMAGE_VERBS if image else VERBS)[verb]
        path = f"/runtime.v1.{'ImageService' if image else 'RuntimeService'}/{verb}"
        return decode(answered, self._channel.unary_unary(path)(encode(asked, message), timeout=30))

    def has_images(self, *names: str) -> bool:
        """Whether these images are known; containerd tells CRI of imported ones a little later."""
        return all(self.call("ImageStatus", image={"image": name})["image"]["id"] for name in names)

    def sandbox(self, name: str, **namespaces: int) -> Pod:
        """A pod on the host's network."""
        config = {
            "metadata": {"name": name, "uid": os.urandom(8).hex(), "namespace": "tests", "attempt": 0},
            "log_directory": str(self.logs),
            "linux": {
                "cgroup_parent": f"/{PARENT}",
                "security_context": {"namespace_options": {"network": NODE, **namespaces}},
            },
        }
        answer = self.call("RunPodSandbox", config=config, runtime_handler=HANDLER)
        return Pod(self, answer["pod_sandbox_id"], config, namespaces)


class Pod:
    """A sandbox, and containers in it."""

    def __init__(self, cri: Cri, pod_id: str, config: Message, namespaces: Message) -> None:
        self.cri = cri
        self.id = pod_id
        self._config = config
        self._namespaces = namespaces

    def create(
        self, name: str, *words: str, resources: Message | None = None, security: Message | None = None, **more: Any
    ) -> str:
        """A container that runs these words, created; its id."""
        options = {"network": NODE, **self._namespaces}
        config = {
            "metadata": {"name": name, "attempt": 0},
            "image": {"image": BUSYBOX},
            "command": words,
            "log_path": f"{name}.log",
            "linux": {
                "resources": resources or {},
                "security_context": {"namespace_options": options, **(security or {})},
            },
            **more,
        }
        answer = self.cri.call("CreateContainer", pod_sandbox_id=self.id, config=config, sandbox_config=self._config)
        made = answer["container_id"]
        assert isinstance(made, str)
        return made

    def start(self, name: str, *words: str, **options: Any) -> str:
        """The same, started."""
        container_id = self.create(name, *words, **options)
        self.cri.call("StartContainer", container_id=container_id)
        return container_id

    def log(self, name: str) -> list[str]:
        """What a container wrote: lines, each with its stream in front."""
        path = self.cri.logs / f"{name}.log"
        lines = [line.split(" ", 3) for line in path.read_text().splitlines()] if path.exists() else []
        return [f"{stream} {text}" for _, stream, _, text in lines]

    def status(self, container_id: str) -> Message:
        """What CRI knows of a container."""
        status = self.cri.call("ContainerStatus", container_id=container_id)["status"]
        assert isinstance(status, dict)
        return status

    def remove(self) -> None:
        """Stop the sandbox with all in it, and remove it."""
        self.cri.call("StopPodSandbox", pod_sandbox_id=self.id)
        self.cri.call("RemovePodSandbox", pod_sandbox_id=self.id)
