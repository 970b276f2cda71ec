"""``GET /v2/databases/{uuid}/pools/{name}``, the main API call, over 16 keep-alive connections.

Its floor is a bare ASGI application under the same server, with the same TLS, that sends the same bytes.  The
floor of the same call with 10,000 clusters of ten pools each is the service with ten such clusters.  Each
request is for a pool at random.  The request limits are on, but too high to be reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence

import httpx

from bench import load, records
from bench.load import Load, Wrk
from bench.row import Row, ours_at_most, ratio_at_least
from cenote.model.paths import Layout
from tests.support.ports import free_range
from tests.support.service import Service, service
from tests.support.waiting import wait_until

RUNS = 12
FEW, MANY = 10, 10_000
LIMITS = ("--requests-per-hour=1000000000", "--requests-per-minute=1000000000", "--log-level=warning")


def measure() -> list[Row]:
    load.program()  # fail before anything is started
    with service(*LIMITS) as small, service(*LIMITS) as large:
        few, many = Target(small, FEW), Target(large, MANY)
        ours: list[Load] = []
        bare: list[Load] = []
        full: list[Load] = []
        with _bare(few) as floor:
            turns = [(few, floor, bare), (few, few.url, ours), (many, many.url, full)]
            for _ in range(RUNS):
                for target, url, loads in turns:
                    loads.append(target.wrk.run(url))
                turns.reverse()  # ours runs next to both
    return [
        Row(
            "GET pool, 16 connections / bare ASGI", "/s", _rates(ours), _rates(bare), (ratio_at_least(0.45),)
        ),
        Row("GET pool, its 99th percentile", "ms", _p99s(ours), _p99s(bare), (ours_at_most(20),)),
        Row(
            f"GET pool with {MANY:,} clusters / with {FEW}",
            "/s",
            _rates(full),
            _rates(ours),
            (ratio_at_least(0.9),),
        ),
    ]


class Target:
    """A service with a number of records in its store, and a load that requests their pools."""

    def __init__(self, running: Service, clusters: int, hosts: Sequence[str] = records.ELSEWHERE) -> None:
        self.certificate = Layout(running.data_dir).api_certificate
        self.folder = running.data_dir
        exported = running.environment()
        self.url, token = exported["DIGITALOCEAN_API_URL"], exported["DIGITALOCEAN_TOKEN"]
        paths = asyncio.run(records.fill(Layout(running.data_dir), clusters, hosts))
        self.wrk = Wrk(running.data_dir, paths, token)
        with httpx.Client(
            base_url=self.url,
            verify=ssl.create_default_context(cafile=exported["SSL_CERT_FILE"]),
            headers={"authorization": f"Bearer {token}"},
        ) as http:
            wait_until("the last record is there", 60, lambda: http.get(paths[-1]).status_code == 200)
            self.answer = http.get(paths[0])


@contextlib.contextmanager
def _bare(target: Target) -> Iterator[str]:
    """Serve the target's response from a bare ASGI application; yields the URL."""
    port = free_range(2)
    answer = target.folder / "answer.json"
    answer.touch(mode=0o600)
    # Both servers add the date themselves.
    headers = [(name, value) for name, value in target.answer.headers.items() if name != "date"]
    answer.write_text(json.dumps([headers, target.answer.text]))
    process = subprocess.Popen([sys.executable, "-m", "bench.bare", str(port), target.certificate, answer])
    try:
        wait_until("the bare application answers", 30, lambda: _is_open(port))
        yield f"https://localhost:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _rates(loads: list[Load]) -> list[float]:
    return [load.rate for load in loads]


def _p99s(loads: list[Load]) -> list[float]:
    return [load.p99 for load in loads]
