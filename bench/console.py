"""The console's list of clusters, with 1,000 clusters in the service.

Requested over one keep-alive connection with TLS.  The floor is the API's list of the same 25 clusters, from
which the page is rendered.
"""

from __future__ import annotations

import asyncio
import time

import httpx

from bench import records
from bench.row import Row, ours_at_most
from cenote.model.paths import Layout
from tests.support.console import visitor
from tests.support.service import WITHOUT_LIMITS, calling, service
from tests.support.waiting import wait_until

CLUSTERS, RUNS = 1_000, 60
PAGE, LIST = "/console/clusters?page=20", "/v2/databases?page=20&per_page=25"


def measure() -> list[Row]:
    with service(*WITHOUT_LIMITS) as running, visitor(running) as somebody, calling(running) as api:
        paths = asyncio.run(records.fill(Layout(running.data_dir), CLUSTERS))
        wait_until("the last record is there", 60, lambda: api.get(paths[-1]).status_code == 200)
        ours: list[float] = []
        floor: list[float] = []
        for _ in range(RUNS):
            floor.append(_milliseconds(api, LIST))
            ours.append(_milliseconds(somebody.http, PAGE))
        page = somebody.http.get(PAGE)
    assert page.text.count("PostgreSQL 15") == 25
    return [
        Row(
            f"console: the page of clusters, of {CLUSTERS:,} / the API's list",
            "ms",
            ours,
            floor,
            (ours_at_most(100),),
        ),
        Row("console: that page", "KB", [len(page.content) / 1000], (), (ours_at_most(100),)),
    ]


def _milliseconds(http: httpx.Client, path: str) -> float:
    began = time.perf_counter()
    answer = http.get(path)
    took = (time.perf_counter() - began) * 1000
    assert answer.status_code == 200
    return took
