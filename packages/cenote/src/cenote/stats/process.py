"""What the processes of the service use of the machine."""

from __future__ import annotations

import os

import msgspec
import psutil


class ProcessNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics of a process; ``started_at`` is a Unix time."""

    started_at: float
    cpu_seconds: float
    resident_bytes: int
    virtual_bytes: int
    open_files: int | None = None
    max_open_files: int | None = None


def own_process() -> ProcessNumbers:
    """Return the statistics of the calling process."""
    process = psutil.Process()
    with process.oneshot():
        return msgspec.structs.replace(
            _numbers(process),
            open_files=process.num_fds(),
            max_open_files=process.rlimit(psutil.RLIMIT_NOFILE)[0],
        )


def parent_process() -> ProcessNumbers | None:
    """Return what everybody may see of the process that forked the calling one; None if nobody may."""
    try:
        process = psutil.Process(os.getppid())
        with process.oneshot():
            return _numbers(process)
    except psutil.Error:
        return None


def _numbers(process: psutil.Process) -> ProcessNumbers:
    cpu, memory = process.cpu_times(), process.memory_info()
    return ProcessNumbers(
        started_at=process.create_time(),
        cpu_seconds=cpu.user + cpu.system,
        resident_bytes=memory.rss,
        virtual_bytes=memory.vms,
    )
