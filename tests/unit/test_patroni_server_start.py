"""How the launcher has PostgreSQL started: by a shell, which leaves it alone."""

from __future__ import annotations

import os
import signal
from multiprocessing import Pipe
from pathlib import Path

from cenote.host import processes
from cenote.host.patroni_launcher.server_start import Starter, started
from tests.support.waiting import wait_until

SECONDS = 10
COMMAND = ["/bin/sh", "-c", 'echo "$0 $1 $KNOWN" > "$2"; exec sleep 60', "a b", "c'd"]


def test_a_server_is_started_in_a_session_that_is_not_ours_and_its_pid_is_told(tmp_path: Path) -> None:
    said = tmp_path / "said"
    received, sent = Pipe(False)
    process = Starter(target=None, args=(sent, [*COMMAND, str(said)], {"KNOWN": "yes", "PATH": os.defpath}))
    process.start()
    process.join()
    pid = received.recv()
    try:
        wait_until("it has started", SECONDS, lambda: said.exists() and said.read_text() == "a b c'd yes\n")
        assert os.getsid(pid) != os.getsid(0)
        assert pid not in processes.children(os.getpid())
    finally:
        os.kill(pid, signal.SIGKILL)


def test_what_cannot_be_started_has_no_pid() -> None:
    assert started(["true"], {"a\0b": "c"}) is None
