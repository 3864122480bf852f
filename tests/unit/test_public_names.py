"""The public names and their signatures, compared with a snapshot: what is public does not change by accident.

The snapshot (public-names.txt) reads like a stub file. It is made from the source, so it is the same on every Python.
After a change that is meant: `UPDATE_SNAPSHOTS=1 pytest tests/unit/test_public_names.py`, then read the difference.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import sys
from pathlib import Path

import pytest

import libcontainer_py
from libcontainer_py import errors, testing

SNAPSHOT = Path(__file__).with_name("public-names.txt")
CHECKOUT = Path(__file__).parents[2]

# Beside the names of the package itself: modules that are public as modules.
PUBLIC_MODULES = ("libcontainer_py.aio", "libcontainer_py.lifecycle", "libcontainer_py.spec", "libcontainer_py.testing")


def public_names(module: object) -> list[str]:
    """`__all__`, or what the module itself defines without an underscore."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return sorted(listed)
    path = inspect.getsourcefile(module)  # type: ignore[arg-type]  # it is a module
    assert path is not None
    return sorted(
        name
        for node in ast.parse(Path(path).read_text(encoding="utf-8")).body
        for name in names_of(node)
        if not name.startswith("_") and name != "TYPE_CHECKING"
    )


def names_of(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return [node.name]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def definition(value: object, name: str) -> tuple[ast.stmt, str] | None:
    """Where a class or function is defined in the package, or None for a plain value."""
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return None
    source = sys.modules[value.__module__].__file__
    assert source is not None
    assert Path(source).is_relative_to(CHECKOUT), f"{name} is not ours"
    # the last one: of overloads, the one that takes everything
    for node in reversed(ast.parse(Path(source).read_text(encoding="utf-8")).body):
        if value.__name__ in names_of(node):
            return node, value.__module__
    raise AssertionError(f"{name} is not defined at the top of {source}")


def is_public(name: str) -> bool:
    return not name.startswith("_") or name in {
        "__init__",
        "__enter__",
        "__exit__",
        "__aenter__",
        "__aexit__",
        "__iter__",
        "__aiter__",
    }


def describe(node: ast.stmt) -> list[str]:
    """A definition as in a stub file: without bodies, docstrings and private members."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        decorators = [f"@{ast.unparse(decorator)}" for decorator in node.decorator_list]
        return [*decorators, f"{word} {node.name}({ast.unparse(node.args)}){returns}"]
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        lines = [f"@{ast.unparse(decorator)}" for decorator in node.decorator_list]
        lines.append(f"class {node.name}({bases})" if bases else f"class {node.name}")
        for member in node.body:
            if any(is_public(name) for name in names_of(member)):
                lines += ["    " + line for line in describe(member)]
        return lines
    return [ast.unparse(node)]


def snapshot() -> str:
    lines = []
    for module_name in ("libcontainer_py", *PUBLIC_MODULES):
        module = importlib.import_module(module_name)
        lines.append(f"# {module_name}")
        for name in public_names(module):
            value = getattr(module, name)
            found = definition(value, name)
            if found is None:
                text = type(value).__name__ if name != "__version__" else "str, as in pyproject.toml"
                lines.append(f"{name}: {text}")
            elif module_name != "libcontainer_py" and getattr(libcontainer_py, name, None) is value:
                lines.append(f"{name}: above")
            else:
                lines += describe(found[0])
        lines.append("")
    return "\n".join(lines)


def test_snapshot() -> None:
    now = snapshot()
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        SNAPSHOT.write_text(now, encoding="utf-8")
        pytest.skip(f"{SNAPSHOT.name} was written anew: read the difference")
    assert now.splitlines() == SNAPSHOT.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", testing.__all__)
def test_each_name_of_the_kit_is_there(name: str) -> None:
    assert getattr(testing, name) is not None
    assert name in dir(testing)


def test_a_wrong_name_of_the_kit() -> None:
    assert set(testing.__all__) == set(testing._HOMES)
    with pytest.raises(AttributeError, match="FakeFactori"):
        _ = testing.FakeFactori  # type: ignore[attr-defined]  # the point of the test


@pytest.mark.parametrize("name", libcontainer_py.__all__)
def test_each_name_is_there(name: str) -> None:
    assert getattr(libcontainer_py, name) is not None
    assert name in dir(libcontainer_py)


def test_the_lazy_names_are_the_listed_ones() -> None:
    assert {"__version__", *libcontainer_py._HOMES} == set(libcontainer_py.__all__)
    assert len(libcontainer_py.__all__) == len(set(libcontainer_py.__all__))


def test_type_checkers_see_the_same_names_from_the_same_rooms() -> None:
    tree = ast.parse(Path(libcontainer_py.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.asname: (node.module or "").removeprefix("libcontainer_py.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("libcontainer_py.")
        for alias in node.names
    }
    assert seen == libcontainer_py._HOMES


def test_every_error_and_warning_is_public() -> None:
    kinds = (errors.ContainerError, errors.ContainerWarning)
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, kinds)}
    assert defined | {"Problem"} == {name for name, room in libcontainer_py._HOMES.items() if room == "errors"}


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'libcontainer_py' has no attribute 'Contaner'"):
        _ = libcontainer_py.Contaner  # type: ignore[attr-defined]  # the point of the test
    with pytest.raises(ImportError, match="Contaner"):
        exec("from libcontainer_py import Contaner")
