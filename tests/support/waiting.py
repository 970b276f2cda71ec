"""Waiting for something to become true, with words for what did not."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE = 0.02


def wait_until(what: str, seconds: float, condition: Callable[[], T]) -> T:
    """Return the first true answer of ``condition``; fail with ``what`` in words after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain until {what}; last answer: {answer!r}")
        time.sleep(PAUSE)


async def wait_until_async(what: str, seconds: float, condition: Callable[[], T | Awaitable[T]]) -> T:
    """The same for a coroutine; ``condition`` may be a plain function or an async one."""
    deadline = time.monotonic() + seconds
    while True:
        asked = condition()
        answer: T = await asked if inspect.isawaitable(asked) else asked
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain until {what}; last answer: {answer!r}")
        await asyncio.sleep(PAUSE)
