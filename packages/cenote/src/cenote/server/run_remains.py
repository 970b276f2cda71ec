"""Ends what belongs to ``cenote run`` after one of its processes was killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

from cenote.host import files, orphans, processes
from cenote.host.shutdown import stop_servers
from cenote.model.paths import Layout
from cenote.server import bootstrap

SERVICE_SECONDS = 90.0  # for the service to stop its servers
PAUSE = 0.02


def end_what_is_left(folder: Path, spared: Collection[int]) -> None:
    """End our children other than ``spared``, and the service in this directory, and remove the directory.

    The service and its servers end in good order, which removes their shared memory; the rest is killed.
    """
    service = bootstrap.serving_pid(Layout(folder))
    end_descendants(folder, {*spared, *([] if service is None else [service])})
    if service is not None:
        end_service(service)
    remove_remains(folder)


def end_descendants(folder: Path, spared: Collection[int]) -> None:
    """Kill our children and what they leave to us, other than ``spared`` and what works in the directory."""

    def is_spared(pid: int) -> bool:
        return pid in spared or any(process.pid == pid for process in processes.below(folder))

    orphans.kill(is_spared, SERVICE_SECONDS)


def end_service(pid: int) -> None:
    """Have the service end, by SIGKILL if it does not; it may be our child."""
    process = processes.identify(pid)
    if process is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + SERVICE_SECONDS
    while processes.identify(pid) == process:
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(PAUSE)


def remove_remains(folder: Path) -> None:
    """Stop the servers that a killed service has left, and remove its directory."""
    if not folder.exists():
        return
    try:
        asyncio.run(stop_servers(Layout(folder)))
    finally:
        for process in processes.below(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            files.remove(folder)
