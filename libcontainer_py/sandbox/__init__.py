"""Commands in containers that need no image, no bundle and no root.

    oneshot        run(): a container for one command
    lasting        Sandbox: one for many
    options        what was asked for, looked through: every mistake at once
    specification  the configuration of such a container
    files          what it sees as files
    making         makes and removes it

What a command sees: the host's files, read-only; empty directories in place of /run, /tmp, the homes and /sys; a
/proc and /dev of its own; no network, no capabilities, no way to gain privileges, no system calls that ordinary
programs have no use for (`plan.default_seccomp`), an environment of PATH, HOME and LANG. Pid 1 is a small reaper, the
command its child. For an ordinary user it runs in a user namespace with his one id.

It is no boundary against bugs of the kernel, against what the user may read anyway, and, where no limits are set,
against using up processor, memory and process ids.
"""

from __future__ import annotations

from libcontainer_py.sandbox.lasting import Sandbox as Sandbox
from libcontainer_py.sandbox.oneshot import run as run
from libcontainer_py.sandbox.options import Bind as Bind

__all__ = ["Bind", "Sandbox", "run"]
