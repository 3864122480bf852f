"""Sections of plain JSON: of which kind they are, and those that may be missing or null."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeGuard


def section(parent: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The object of this key, empty where there is none."""
    found: dict[str, Any] | None = parent.get(key)
    return found or {}


def entries(parent: Mapping[str, Any], key: str) -> list[Any]:
    """The list of this key, empty where there is none."""
    found: list[Any] | None = parent.get(key)
    return found or []


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether it is an object; JSON's keys are strings."""
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether it is a list."""
    return isinstance(value, list)
