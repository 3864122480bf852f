"""The table of what may be done, spelled out once more; the texts of runc; and which status may follow which."""

from __future__ import annotations

import itertools

import pytest

from libcontainer_py.backends.memory import MemoryBackend
from libcontainer_py.errors import IllegalOperation
from libcontainer_py.factory import Factory
from libcontainer_py.lifecycle import (
    FORCED,
    LEGAL,
    Facts,
    Operation,
    Status,
    is_legal,
    refusal,
    require,
    status_of,
    to_mermaid,
)
from libcontainer_py.spec import Pids, Resources

# Written by hand, and on purpose not by a rule: a row that changes in lifecycle.py must be changed here too.
TABLE = """
    status     start  spawn  pause  resume  signal  kill  update  delete
    creating     .      .      .      .       .      .      .       .
    created      x      x      x      .       x      x      x       x
    running      .      x      x      .       x      x      x       .
    paused       .      .      .      x       x      x      x       .
    stopped      .      .      .      .       .      .      .       x
"""

# Read off runc 1.1.5 and the sources of 1.5.1. Engines match on these.
TEXTS = {
    ("start", "running"): "cannot start an already running container",
    ("start", "paused"): "cannot start a container in the paused state",
    ("start", "stopped"): "cannot start a container that has stopped",
    ("spawn", "paused"): "cannot exec in a paused container",
    ("spawn", "stopped"): "cannot exec in a stopped container",
    ("spawn", "creating"): "cannot spawn a container in the creating state",
    ("pause", "paused"): "container not running",
    ("pause", "stopped"): "container not running",
    ("resume", "created"): "container not paused",
    ("resume", "running"): "container not paused",
    ("resume", "stopped"): "container not paused",
    ("signal", "stopped"): "container not running",
    ("kill", "stopped"): "container not running",
    ("update", "stopped"): "container not running",
    ("delete", "running"): "cannot delete container web that is not stopped: running",
    ("delete", "paused"): "cannot delete container web that is not stopped: paused",
    ("start", "creating"): "cannot start a container in the creating state",
    ("pause", "creating"): "cannot pause a container in the creating state",
    ("resume", "creating"): "cannot resume a container in the creating state",
    ("signal", "creating"): "cannot signal a container in the creating state",
    ("kill", "creating"): "cannot kill a container in the creating state",
    ("update", "creating"): "cannot update a container in the creating state",
    ("delete", "creating"): "cannot delete container web that is not stopped: creating",
}

# Facts in their order: init lives, is frozen, the fifo is there.
OBSERVED = {
    (False, False, False): "stopped",
    (False, False, True): "stopped",
    (False, True, False): "stopped",
    (False, True, True): "stopped",
    (True, False, False): "running",
    (True, False, True): "created",
    (True, True, False): "paused",
    (True, True, True): "paused",
}

# Which status may be seen after which, one operation or the end of init apart. "-" is: no container.
MAY_FOLLOW = {
    "-": {"created"},
    "created": {"running", "paused", "stopped", "-"},
    "running": {"paused", "stopped", "-"},
    "paused": {"running", "created", "stopped", "-"},
    "stopped": {"-"},
}


def rows() -> dict[str, dict[str, bool]]:
    head, *lines = (line.split() for line in TABLE.split("\n") if line.strip())
    return {line[0]: {name: mark == "x" for name, mark in zip(head[1:], line[1:], strict=True)} for line in lines}


CELLS = [(status, operation, legal) for status, row in rows().items() for operation, legal in row.items()]


def test_the_words_are_those_of_the_specification():
    assert [str(status) for status in Status] == ["creating", "created", "running", "paused", "stopped"]
    assert [str(operation) for operation in Operation] == [
        "start",
        "spawn",
        "pause",
        "resume",
        "signal",
        "kill",
        "update",
        "delete",
    ]
    assert f"{Status.CREATED}" == "created"
    assert Status("paused") is Status.PAUSED
    assert Status.RUNNING == "running"


def test_the_table_has_every_cell():
    assert {(status, operation) for status, operation, _ in CELLS} == set(
        itertools.product(map(str, Status), map(str, Operation))
    )
    assert set(LEGAL) == set(Status)


@pytest.mark.parametrize(("status", "operation", "legal"), CELLS)
def test_legality(status, operation, legal):
    assert is_legal(Operation(operation), Status(status)) is legal
    if legal:
        require("web", Operation(operation), Status(status))
        return
    with pytest.raises(IllegalOperation) as caught:
        require("web", Operation(operation), Status(status))
    assert str(caught.value) == TEXTS[operation, status]
    assert caught.value.container_id == "web"
    assert caught.value.operation is Operation(operation)
    assert caught.value.status is Status(status)


def test_each_illegal_cell_has_a_text_and_no_legal_one():
    assert {(operation, status) for status, operation, legal in CELLS if not legal} == set(TEXTS)


@pytest.mark.parametrize(("status", "operation", "legal"), CELLS)
def test_force_is_for_delete_and_for_who_joins_a_paused_one(status, operation, legal):
    assert {"delete"} == FORCED
    forced = operation == "delete" or (operation, status) == ("spawn", "paused")
    assert is_legal(Operation(operation), Status(status), force=True) is (legal or forced)


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        LEGAL[Status.STOPPED] = frozenset(Operation)
    assert all(isinstance(operations, frozenset) for operations in LEGAL.values())


def test_the_error_is_made_of_what_it_says():
    error = refusal("web", Operation.START, Status.RUNNING)
    assert (error.container_id, error.operation, error.status) == ("web", "start", "running")
    assert error.hint == ""


@pytest.mark.parametrize("facts", list(itertools.product([False, True], repeat=3)))
def test_status_of_all_facts(facts):
    assert status_of(Facts(*facts)) is Status(OBSERVED[facts])


def test_facts_have_names():
    assert status_of(Facts(init_alive=True, frozen=False, fifo_present=True)) is Status.CREATED


# -- what may follow --------------------------------------------------------------------------------------------------


def edges() -> set[tuple[str, str, str]]:
    """The diagram's arrows: before, after, label. `[*]` is no container, on either side."""
    arrows = set()
    for line in to_mermaid().splitlines()[1:]:
        arrow, _, label = line.strip().partition(": ")
        before, after = arrow.split(" --> ")
        arrows.add((before.replace("[*]", "-"), after.replace("[*]", "-"), label))
    return arrows


def test_the_diagram_starts_as_mermaid_wants():
    assert to_mermaid().startswith("stateDiagram-v2\n")


def test_the_diagram_has_an_arrow_for_each_legal_change():
    drawn = {(before, label) for before, _, label in edges()}
    # a signal changes no status by itself, and a further process and new limits change none
    silent = {"signal", "spawn", "update"}
    wanted = {(status, operation) for status, operation, legal in CELLS if legal and operation not in silent}
    assert wanted <= drawn
    assert {label for _, label in drawn - wanted} == {"create", "", "program ends"}


def test_the_diagram_shows_what_may_follow():
    drawn = {(before, after) for before, after, _ in edges()}
    create = {("-", "creating"), ("creating", "created")}
    forced = {("running", "-"), ("paused", "-")}
    may = {(before, after) for before, afters in MAY_FOLLOW.items() for after in afters if before != "-"}
    assert drawn == (may - forced) | create


def status(factory: Factory) -> str:
    return str(factory.load("web").status) if factory.ids() else "-"


STEPS = {
    "create": lambda backend, factory: factory.create("web", "/bundle"),
    "start": lambda backend, factory: factory.load("web").start(),
    "pause": lambda backend, factory: factory.load("web").pause(),
    "resume": lambda backend, factory: factory.load("web").resume(),
    "term": lambda backend, factory: factory.load("web").signal(15),
    "kill": lambda backend, factory: factory.load("web").kill(),
    "update": lambda backend, factory: factory.load("web").update(Resources(pids=Pids(limit=5))),
    "end": lambda backend, factory: backend.host.end(backend.load("web").init, 0),
    "delete": lambda backend, factory: factory.load("web").delete(),
    "force": lambda backend, factory: factory.load("web").delete(force=True),
}
WAYS = {
    "-": [],
    "created": ["create"],
    "running": ["create", "start"],
    "paused": ["create", "start", "pause"],
    "paused while created": ["create", "pause"],
    "stopped": ["create", "kill"],
}


def test_exactly_what_may_follow_follows():
    """Every step from every status, on the memory backend: the statuses seen after are those of MAY_FOLLOW."""
    seen: dict[str, set[str]] = {}
    for way, step in itertools.product(WAYS.values(), STEPS):
        backend = MemoryBackend()
        factory = Factory(backend=backend)
        for each in way:
            STEPS[each](backend, factory)
        before = status(factory)
        if before == "-" and step != "create":
            continue
        try:
            STEPS[step](backend, factory)
        except (IllegalOperation, FileExistsError):
            assert status(factory) == before
        seen.setdefault(before, set()).add(status(factory))
    assert {before: afters - {before} for before, afters in seen.items()} == MAY_FOLLOW


def test_paused_goes_back_to_where_it_came_from():
    for way, after in (("paused", "running"), ("paused while created", "created")):
        backend = MemoryBackend()
        factory = Factory(backend=backend)
        for each in [*WAYS[way], "resume"]:
            STEPS[each](backend, factory)
        assert status(factory) == after
