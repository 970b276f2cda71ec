"""How long a call of etcd is retried, and what is said when nothing comes of it."""

from __future__ import annotations

import asyncio
import time

import pytest

from cenote.errors import Unavailable
from cenote.store import liveness, retry
from cenote.store.liveness import Liveness
from tests.support.waiting import wait_until_async


def test_the_last_attempt_is_given_up_before_clients_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that begins at the end of the time may find a member that does not answer at all."""
    monkeypatch.setattr(retry, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(retry, "LATEST_SECONDS", 0.2)
    attempts = 0

    async def call() -> None:
        nonlocal attempts
        attempts += 1
        if attempts > 1:
            await asyncio.sleep(10)
        raise Unavailable("etcd has no leader")

    began = time.monotonic()
    with pytest.raises(Unavailable, match="etcd has no leader"):
        asyncio.run(retry.retrying(call, is_short=True))
    assert attempts == 2
    assert time.monotonic() - began < 5


def test_silence_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "LATEST_SECONDS", 0.05)
    with pytest.raises(Unavailable, match="etcd did not answer in time; it, or a majority of its members"):
        asyncio.run(retry.retrying(lambda: asyncio.sleep(10), is_short=True))


def test_a_long_call_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the first listing of all records."""
    monkeypatch.setattr(retry, "LATEST_SECONDS", 0.05)

    async def call() -> int:
        await asyncio.sleep(0.2)
        return 42

    assert asyncio.run(retry.retrying(call)) == 42


def test_a_timeout_of_the_call_itself_is_not_taken_for_that() -> None:
    async def call() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        asyncio.run(retry.retrying(call))


def test_the_time_that_etcd_was_silent_before_a_call_counts() -> None:
    attempts = 0

    async def call() -> None:
        nonlocal attempts
        attempts += 1
        raise Unavailable("etcd has no leader")

    with pytest.raises(Unavailable, match="etcd has no leader"):
        asyncio.run(retry.retrying(call, is_short=True, waited=retry.RETRY_SECONDS))
    assert attempts == 1


def test_silence_is_timed_from_the_question_that_found_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "ASK_SECONDS", 0.01)
    monkeypatch.setattr(liveness, "ANSWER_SECONDS", 0.05)
    silent = asyncio.Event()

    async def ask() -> None:
        if silent.is_set():
            await asyncio.sleep(10)

    async def scenario() -> None:
        one = Liveness(ask)
        one.begin()
        await asyncio.sleep(0.1)
        assert one.silent_for() == 0.0
        silent.set()
        await wait_until_async("it is noticed", 5, lambda: one.silent_for())
        assert one.silent_for() >= 0.05
        await one.close()

    asyncio.run(scenario())
