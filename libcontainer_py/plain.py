"""What typing is asked for at run time, without typing, which takes as long to load as the interpreter to start.

Plain values lie on the way of every verb, and a command line is a fresh interpreter each time. Type checkers see
typing's: `from typing import NamedTuple` under TYPE_CHECKING, these else.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., object])

_OF_CLASSES = frozenset({"__annotations__", "__module__", "__qualname__", "__dict__", "__weakref__"})


class _Maker(type):
    """Makes tuples of classes that derive from NamedTuple: their annotations are the fields."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        if not bases:
            return super().__new__(cls, name, bases, namespace)
        fields = tuple(namespace.get("__annotations__", ()))
        defaults = [namespace[field] for field in fields if field in namespace]
        make: Any = namedtuple
        made = make(name, fields, defaults=defaults, module=namespace["__module__"])
        made.__annotations__ = namespace.get("__annotations__", {})
        for key, value in namespace.items():
            if key not in _OF_CLASSES and key not in fields:
                setattr(made, key, value)
        return made


class NamedTuple(metaclass=_Maker):
    """To derive from, as from typing's."""


class Protocol:
    """As typing's, of which nothing is asked at run time."""


def overload(function: F) -> F:
    """As typing's: the last definition counts."""
    return function
