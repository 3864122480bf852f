"""What was found out about a host: plain values, as text and as data."""

from __future__ import annotations

import enum
from typing import Literal, TypedDict

import attrs


class Condition(str, enum.Enum):
    """How it stands with one thing that containers need; `str(Condition.OK)` is `"ok"`."""

    OK = "ok"
    LIMITED = "limited"
    """Containers run, but some of what they can ask for is not to be had."""
    MISSING = "missing"
    """`Finding.stops` says what cannot be done at all."""

    def __str__(self) -> str:
        return self.value


class FindingDict(TypedDict):
    """A finding as JSON has it."""

    name: str
    condition: Literal["ok", "limited", "missing"]
    found: str
    meaning: str
    fix: str
    stops: Literal["", "create", "run"]


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that containers need, and how it stands with it here."""

    name: str
    """What was looked at: `"user namespaces"`."""
    condition: Condition = Condition.OK
    found: str
    """What is here: `"Linux 6.18.44"`."""
    meaning: str = ""
    """What cannot be done for it, and why; "" where all is well."""
    fix: str = ""
    """The line that mends it, most often a command for root; "" where all is well."""
    stops: Literal["", "create", "run"] = ""
    """What cannot be done at all: "create", no container; "run", no `run()` and no `Sandbox` as they are by default."""

    def to_dict(self) -> FindingDict:
        """As JSON has it."""
        return {
            "name": self.name,
            "condition": self.condition.value,
            "found": self.found,
            "meaning": self.meaning,
            "fix": self.fix,
            "stops": self.stops,
        }

    def __str__(self) -> str:
        lines = [f"{self.condition.value:<8} {self.name}: {self.found}"]
        lines += [f"         {line}" for line in (self.meaning, self.fix and f"fix: {self.fix}") if line]
        return "\n".join(lines)


class DiagnosisDict(TypedDict):
    """A diagnosis as JSON has it."""

    condition: Literal["ok", "limited", "missing"]
    findings: list[FindingDict]


@attrs.frozen
class Diagnosis:
    """All that was found. `str()` of it is the text of the command line."""

    findings: tuple[Finding, ...]

    @property
    def condition(self) -> Condition:
        """The worst of all findings."""
        found = {finding.condition for finding in self.findings}
        return next((one for one in (Condition.MISSING, Condition.LIMITED) if one in found), Condition.OK)

    def reason_why_not(self, what: Literal["create", "run"] = "run") -> str | None:
        """Why there can be no container here, in one line; None: there can.

        `what` is "run" for `run()` and `Sandbox` as they are by default, "create" for a container of a bundle that
        asks for no more than it must.
        """
        for finding in self.findings:
            if finding.stops in ("create", what):
                return f"{finding.name}: {finding.meaning}" + (f" (fix: {finding.fix})" if finding.fix else "")
        return None

    def to_dict(self) -> DiagnosisDict:
        """As JSON has it: `json.dumps(examine().to_dict())`."""
        return {
            "condition": self.condition.value,
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings))
