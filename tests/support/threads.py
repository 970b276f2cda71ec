"""Asynchronous contexts for tests that are not asynchronous."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")


@contextlib.contextmanager
def in_a_thread(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enter the context in a thread with a loop of its own, and leave it there at the end."""
    found: list[T] = []
    there, done = Event(), Event()

    async def run() -> None:
        try:
            async with context as entered:
                found.append(entered)
                there.set()
                await asyncio.to_thread(done.wait)
        finally:
            there.set()

    thread = Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        there.wait()
        yield found[0]
    finally:
        done.set()
        thread.join()
