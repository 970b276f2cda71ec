"""The event loop of a child process, until it is done or told to end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop


def run(main: Coroutine[Any, Any, None], on_term: Callable[[], None] | None = None) -> None:
    """Run ``main``; SIGTERM calls ``on_term``, or else cancels it, once.

    What threads of the loop still do is waited for.
    """

    async def attended() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _once(on_term or task.cancel))
        await main

    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        contextlib.suppress(asyncio.CancelledError),
    ):
        runner.run(attended())


def _once(call: Callable[[], object]) -> Callable[[], None]:
    called = False

    def once() -> None:
        nonlocal called
        if not called:
            called = True
            call()

    return once
