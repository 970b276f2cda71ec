"""What this process uses of the machine."""

from __future__ import annotations

import msgspec
import psutil


class ProcessNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics of a process; ``started_at`` is a Unix time."""

    started_at: float
    cpu_seconds: float
    resident_bytes: int
    virtual_bytes: int
    open_files: int
    max_open_files: int


def own_process() -> ProcessNumbers:
    """Return the statistics of the calling process."""
    process = psutil.Process()
    with process.oneshot():
        cpu, memory = process.cpu_times(), process.memory_info()
        return ProcessNumbers(
            started_at=process.create_time(),
            cpu_seconds=cpu.user + cpu.system,
            resident_bytes=memory.rss,
            virtual_bytes=memory.vms,
            open_files=process.num_fds(),
            max_open_files=process.rlimit(psutil.RLIMIT_NOFILE)[0],
        )
