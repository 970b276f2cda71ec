"""How long a call of etcd is retried, and what is said when nothing comes of it."""

from __future__ import annotations

import asyncio
import time

import pytest

from cenote.errors import Unavailable
from cenote.store import retry


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
    with pytest.raises(Unavailable, match="etcd did not answer in time"):
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
