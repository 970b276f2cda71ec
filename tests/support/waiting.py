"""Waiting for something to become true, with words for what did not."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

PAUSE = 0.02

# How many times longer a test waits than a quiet machine needs: a limit says when to give up, not how fast
# something has to be.  The batteries of faults judge by their limits, and keep them.
patience = 1.0
LONGEST = 420.0  # seconds, well below the limit of a whole test


def _limit(seconds: float) -> float:
    return max(seconds, min(seconds * patience, LONGEST))


def wait_until(what: str, seconds: float, condition: Callable[[], T]) -> T:
    """Return the first true answer of ``condition``; fail with ``what`` in words after ``seconds``.

    In tests these are multiplied by ``patience``.
    """
    seconds = _limit(seconds)
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain until {what}; last answer: {answer!r}")
        time.sleep(PAUSE)


@overload
async def wait_until_async(what: str, seconds: float, condition: Callable[[], Awaitable[T]]) -> T: ...
@overload
async def wait_until_async(what: str, seconds: float, condition: Callable[[], T]) -> T: ...
async def wait_until_async(what: str, seconds: float, condition: Callable[[], Any]) -> Any:
    """The same for a coroutine; ``condition`` may be a plain function or an async one."""
    seconds = _limit(seconds)
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain until {what}; last answer: {answer!r}")
        await asyncio.sleep(PAUSE)
