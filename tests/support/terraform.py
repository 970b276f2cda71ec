"""A burst of calls as the Terraform provider makes it: ten at once, each repeated by godo's rules."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

CLIENTS = 10  # Terraform's parallelism
RETRIES = 4  # of godo in the provider: then the object fails
LONGEST_PAUSE = 30.0  # without Retry-After


@dataclass
class Burst:
    """The outcome: the status codes that were final, and the ``Retry-After`` of each rejected request."""

    final: list[int] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)  # seconds since the beginning


async def burst(http: httpx.AsyncClient, paths: Sequence[str], clients: int = CLIENTS) -> Burst:
    """GET all paths; a rejected request is repeated after ``Retry-After``, four times at most."""
    outcome, waiting, began = Burst(), list(reversed(paths)), time.monotonic()

    async def work() -> None:
        while waiting:
            outcome.final.append(await _get(http, waiting.pop(), outcome))
            outcome.finished.append(time.monotonic() - began)

    await asyncio.gather(*(work() for _ in range(clients)))
    return outcome


async def _get(http: httpx.AsyncClient, path: str, outcome: Burst) -> int:
    for attempt in range(RETRIES + 1):
        answer = await http.get(path)
        if answer.status_code != 429:
            break
        told = answer.headers.get("retry-after")
        if told is not None:
            outcome.told.append(int(told))
        if attempt < RETRIES:
            await asyncio.sleep(min(2.0**attempt, LONGEST_PAUSE) if told is None else int(told))
    return answer.status_code
