"""Subscriptions to changed clusters; a slow subscriber gets each cluster once, however often it changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Self
from uuid import UUID


class Changes(AsyncIterator[UUID]):
    """Ids of clusters whose record was changed or removed: first all, then each change, coalesced.

    ``async for id in changes``, for one subscriber; a context manager.  It also ends when the store closes.
    """

    def __init__(
        self, ids: Iterable[UUID], on_close: Callable[[Changes], None], *, reports: bool = False
    ) -> None:
        """``reports``: a report on a cluster counts as a change of it."""
        self.reports = reports
        self._pending = dict.fromkeys(ids)
        self._on_close = on_close
        self._wake = asyncio.Event()
        self._closed = False

    def notify(self, ids: Iterable[UUID]) -> None:
        self._pending.update(dict.fromkeys(ids))
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()
        self._on_close(self)

    async def __anext__(self) -> UUID:
        while not self._closed:
            if self._pending:
                id = next(iter(self._pending))
                del self._pending[id]
                return id
            self._wake.clear()
            await self._wake.wait()
        raise StopAsyncIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
