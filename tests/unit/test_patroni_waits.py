"""Pauses of Patroni's end as soon as what they are for has happened."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from cenote.host.patroni_launcher import waits


class Child:
    def __init__(self, title: str) -> None:
        self._title = title

    def cmdline(self) -> list[str]:
        return [self._title]


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
    monkeypatch: pytest.MonkeyPatch, titles: tuple[str, ...], sends: bool
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(Error=OSError))  # it is Patroni's
    server: Any = SimpleNamespace(children=lambda: [Child(title) for title in titles])
    assert waits._has_senders(server) is sends


def test_a_server_that_has_ended_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(Error=OSError))

    def gone() -> list[Child]:
        raise OSError

    assert not waits._has_senders(SimpleNamespace(children=gone))
