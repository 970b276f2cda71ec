"""The processes of a service by name: what can be killed, and what should not be there."""

from __future__ import annotations

import contextlib
from pathlib import Path

from cenote.host import processes
from cenote.model.paths import Layout
from cenote.store import PrivateEtcd
from tests.support import process_table
from tests.support.service import Service

FORKED = {
    "cenote-api": "api",
    "cenote-agent": "agent",
}  # the names that the supervisor's children give themselves


def members(running: Service) -> dict[str, int]:
    """Return the pids of the service's processes and its etcd that are there.

    The one that was started is ``supervisor`` if it has forked the others, and ``service`` otherwise.
    """
    forked = {FORKED[name]: pid for pid in _children(running.pid) if (name := _name(pid)) in FORKED}
    found = {"supervisor" if forked else "service": running.pid} | forked
    etcd = PrivateEtcd(Layout(running.data_dir).etcd).pid
    return found if etcd is None else found | {"etcd": etcd}


def strangers(running: Service) -> list[str]:
    """Return the processes of an earlier start of the service, and any etcd but one."""
    option = f"--data-dir={running.data_dir}"
    ours = {running.pid, *_children(running.pid)}
    lines = process_table.command_lines().items()
    left = [pid for pid, arguments in lines if option in arguments and not _is_below(pid, ours)]
    etcds = processes.below(Layout(running.data_dir).etcd, "etcd")
    return [f"process {pid} of an earlier start" for pid in left] + [
        f"process {etcd.pid}, a further etcd" for etcd in etcds[1:]
    ]


def _is_below(pid: int, ours: set[int]) -> bool:
    return pid in ours or _parent(pid) in ours


def _parent(pid: int) -> int:
    fields = processes.stat_fields(pid)
    return 0 if fields is None else int(fields[1])


def _children(pid: int) -> list[int]:
    return [other for other in process_table.pids() if _parent(other) == pid]


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
