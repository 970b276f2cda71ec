"""An agent's observer in a process of its own: ``python -m tests.support.observer_process FOLDER RECORD``.

It serves the nodes of one record in ``FOLDER``, a data directory, until it is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cenote.agent.observer_endpoint import Answering, ObserverEndpoint
from cenote.host.observer import HostObserver
from cenote.logs.sinks import SinkStatus
from cenote.model.paths import Layout
from cenote.model.records import Cluster
from cenote.model.timing import Timing
from cenote.model.topology import writer_or_first
from tests.support.living import Living
from tests.support.waiting import wait_until

TIMING = Timing(sample_interval=0.2, watched_sample_interval=0.1)
STATUS = SinkStatus(state="failing", reason="its disk is full", lag_bytes=17)


class ObserverProcess:
    """The process; ``start`` and ``end`` it as often as needed."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.socket = Layout(folder).agent_socket
        self._folder, self._record = folder, folder / "record.json"
        self._record.write_bytes(msgspec.json.encode(cluster))
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", __name__, self._folder, self._record])

    def start(self) -> None:
        before = self._inode()
        self.launch()
        wait_until("the observer listens", 30, lambda: self._inode() not in (None, before))

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _inode(self) -> int | None:
        with contextlib.suppress(OSError):
            return os.stat(self.socket).st_ino
        return None


@contextlib.contextmanager
def observer_process(folder: Path, cluster: Cluster) -> Iterator[ObserverProcess]:
    process = ObserverProcess(folder, cluster)
    try:
        process.start()
        yield process
    finally:
        process.kill()


async def _serve(folder: Path, cluster: Cluster) -> None:
    layout = Layout(folder)
    statuses = {sink.id: STATUS for sink in cluster.sinks}
    observer = HostObserver(
        layout,
        Living(cluster),
        writer_or_first(cluster).host,
        sinks=lambda _id, _node: statuses,
        timing=TIMING,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(observer.sampler.run())
        group.create_task(ObserverEndpoint(Answering(observer), layout.agent_socket).run())


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), msgspec.json.decode(Path(sys.argv[2]).read_bytes(), type=Cluster)))
