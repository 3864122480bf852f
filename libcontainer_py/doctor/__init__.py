"""What this host can do for containers, and what mends what it cannot.

    diagnosis   what is found out: findings, as text and as data
    facts       what files say, and what is refused when it is tried
    trial       tries it, in processes that end at once
    findings    from facts to findings

    print(examine())

It makes no container, no cgroup and no file, and asks for no fork server: nothing is left.
"""

from __future__ import annotations

import os
import sys

from libcontainer_py.backends import forkservers
from libcontainer_py.doctor import facts, findings
from libcontainer_py.doctor.diagnosis import Condition, Diagnosis, Finding
from libcontainer_py.errors import LauncherError
from libcontainer_py.state.root import default_root

__all__ = ["Condition", "Diagnosis", "Finding", "examine"]


def examine(*, python: str | None = None) -> Diagnosis:
    """Find out what this process can do: which containers it can have, and what mends what it cannot. 0.2 s.

    `python` is the interpreter that the fork server would execute, as `LinuxBackend` takes it. Raises nothing that this
    library raises: that nothing can be tried is a finding, too.
    """
    if not sys.platform.startswith("linux"):
        return Diagnosis((findings.elsewhere(sys.platform),))
    try:
        refused = facts.attempt(python or forkservers.interpreter())
    except LauncherError as error:
        return Diagnosis((findings.without(error),))
    return Diagnosis(tuple(findings.draw(facts.gather(_user(), default_root()), refused)))


def _user() -> facts.User:
    import pwd  # noqa: PLC0415  (not there on other systems)

    uid = os.geteuid()
    try:
        return facts.User(uid, pwd.getpwuid(uid).pw_name)
    except KeyError:
        return facts.User(uid, str(uid))
