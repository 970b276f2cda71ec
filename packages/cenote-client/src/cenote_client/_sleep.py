"""Sleeping, in a sync and an asyncio version."""

from __future__ import annotations

import time


async def async_sleep(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)


def sleep(seconds: float) -> None:
    time.sleep(seconds)
