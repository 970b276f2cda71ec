"""Pauses of Patroni's end as soon as what they are for has happened."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cenote.host import processes
from cenote.host.patroni_launcher import waits
from tests.support.waiting import wait_until

SECONDS = 10


def test_a_pause_ends_when_it_is_not_needed_any_more_and_never_lasts_longer_than_it_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    clock = SimpleNamespace(
        monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds)
    )
    monkeypatch.setattr(waits, "time", clock)
    waits._sleep(2, lambda: now[0] >= 0.5)
    assert 0.5 <= now[0] < 0.6
    waits._sleep(2, lambda: False)
    assert 2.5 <= now[0] < 2.7


@pytest.fixture
def server() -> Iterator[Callable[..., int]]:
    """Starts a process with children of these titles, and returns its pid."""
    with contextlib.ExitStack() as stack:

        def started(*titles: str) -> int:
            script = "; ".join(f"(exec -a {shlex.quote(title)} sleep 60) &" for title in titles)
            parent = stack.enter_context(
                subprocess.Popen(
                    ["/bin/bash", "-c", f"{script.replace(';', '')} wait"], start_new_session=True
                )
            )
            stack.callback(os.killpg, parent.pid, signal.SIGKILL)
            wait_until(
                "its children run", SECONDS, lambda: len(processes.children(parent.pid)) == len(titles)
            )
            wait_until(
                "they have their titles", SECONDS, lambda: all(map(titled, processes.children(parent.pid)))
            )
            return parent.pid

        yield started


def titled(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"postgres: ")


@pytest.mark.parametrize(
    ("titles", "sends"),
    [
        ((), False),
        (("postgres: cenote-1: checkpointer ", "postgres: cenote-1: archiver last was 0001"), False),
        (("postgres: cenote-1: walsender postgres 10.0.0.2(4711) streaming 0/3000148",), True),
        (("postgres: wal sender process postgres 10.0.0.2(4711) streaming 0/3000148",), True),
    ],
)
def test_wal_is_sent_as_long_as_there_is_a_sender(
    server: Callable[..., int], titles: tuple[str, ...], sends: bool
) -> None:
    assert waits._has_senders(server(*titles)) is sends


def test_a_server_that_has_ended_sends_nothing() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    assert not waits._has_senders(ended.pid)


def test_a_server_that_only_archives_ends_once_the_key_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(Error=OSError))  # it is Patroni's
    for role, is_ended in (("primary", False), ("demoted", True)):
        signals, asked = list[int](), list[tuple[int, int]]()
        ends = waits._and_then_end(
            SimpleNamespace(role=role),
            SimpleNamespace(send_signal=signals.append),
            lambda *places, asked=asked: asked.append(places),
        )
        ends(1, 2)
        assert asked == [(1, 2)]
        assert signals == ([signal.SIGQUIT] if is_ended else [])
