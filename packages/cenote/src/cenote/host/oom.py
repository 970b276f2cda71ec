"""Who is killed first when memory runs out: backends of PostgreSQL, then poolers and the API, the rest last.

A killed backend ends the sessions of one cluster; a killed postmaster, etcd or agent is more.  Only a
privileged process may lower its score (proc_pid_oom_score_adj(5)), everybody may raise it, so the order holds
for every account.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from cenote.model.changes import Program
from cenote.model.environment import OF_PROGRAMS
from cenote.model.paths import PATRONI, PGBOUNCER, POSTGRESQL

LOWEST = -900  # of the service; -1000 would be never
API_ABOVE, POOLER_ABOVE, BACKENDS_ABOVE = 50, 100, 200
_MOST = 1000


def protect() -> None:
    """Lower the score of this process, which those that it starts inherit, if it may."""
    if own() > LOWEST:
        _write("self", LOWEST)


def own() -> int:
    """Return the score of this process, -1000 to 1000."""
    try:
        return int(Path("/proc/self/oom_score_adj").read_text())
    except (OSError, ValueError):
        return 0


def raise_above(process: int | str, by: int) -> None:
    """Have a process killed before this one; ``self`` is this one, before those that started it."""
    _write(process, min(_MOST, own() + by))


def variables(program: Program) -> Mapping[str, str]:
    """Return the environment of a server; PostgreSQL raises the score of its backends by itself.

    So does one that Patroni starts.
    """
    if program.name not in (POSTGRESQL, PATRONI):
        return OF_PROGRAMS
    score = min(_MOST, max(0, own() + BACKENDS_ABOVE))
    wanted = {"PG_OOM_ADJUST_FILE": "/proc/self/oom_score_adj", "PG_OOM_ADJUST_VALUE": str(score)}
    return dict(OF_PROGRAMS) | wanted


def adjust(program: Program, pid: int) -> None:
    """Set the score of a server that was started."""
    if program.name == PGBOUNCER:
        raise_above(pid, POOLER_ABOVE)


def _write(process: int | str, score: int) -> None:
    with contextlib.suppress(OSError):  # not permitted, or it has ended
        Path(f"/proc/{process}/oom_score_adj").write_text(str(score))
