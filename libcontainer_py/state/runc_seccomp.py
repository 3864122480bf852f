"""`config.seccomp` of runc's state.json, which `runc exec` puts on the processes that it adds.

Source: runc, libcontainer/seccomp/config.go and libcontainer/configs/config.go, where these numbers come from.
"""

from __future__ import annotations

from typing import Any

from libcontainer_py.state.sections import entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_ACTIONS = {
    f"SCMP_ACT_{name}": number
    for number, name in enumerate(
        ("KILL", "ERRNO", "TRAP", "ALLOW", "TRACE", "LOG", "NOTIFY", "KILL_THREAD", "KILL_PROCESS"), 1
    )
}
_OPERATORS = {
    f"SCMP_CMP_{name}": number for number, name in enumerate(("EQ", "NE", "GT", "GE", "LT", "LE", "MASKED_EQ"), 1)
}
_ARCHITECTURES = {"X86_64": "amd64", "AARCH64": "arm64", "LOONGARCH64": "loong64"}
"""Where runc's name is another than the lower case of libseccomp's."""


def configuration(seccomp: Mapping[str, Any]) -> dict[str, Any] | None:
    """What runc makes of linux.seccomp; None where there is none."""
    if not seccomp.get("defaultAction") and not seccomp.get("syscalls"):
        return None
    converted: dict[str, Any] = {
        "default_action": _ACTIONS[seccomp["defaultAction"]],
        "architectures": [_architecture(name) for name in entries(seccomp, "architectures")],
        "syscalls": [
            {
                "name": name,
                "action": _ACTIONS[call["action"]],
                "errnoRet": call.get("errnoRet"),
                "args": [_argument(argument) for argument in entries(call, "args")],
            }
            for call in entries(seccomp, "syscalls")
            for name in call["names"]
        ],
        "default_errno_ret": seccomp.get("defaultErrnoRet"),
        "flags": seccomp.get("flags"),
        "listener_path": seccomp.get("listenerPath"),
        "listener_metadata": seccomp.get("listenerMetadata"),
    }
    return {key: value for key, value in converted.items() if value or key == "syscalls"}


def _architecture(name: str) -> str:
    word = name.removeprefix("SCMP_ARCH_")
    return _ARCHITECTURES.get(word, word.lower())


def _argument(argument: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "index": argument["index"],
        "value": argument["value"],
        "value_two": argument.get("valueTwo", 0),
        "op": _OPERATORS[argument["op"]],
    }
