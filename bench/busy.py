"""GET pool while the agent makes passes over the nodes, and while it rests.

A service has 20 clusters for which there is nothing to do, and the agent makes a pass over each every two
seconds in place of twenty: as many passes as it makes over 200 clusters.  At rest it makes none.  The
service is started anew for each turn; calls begin once its clusters have been looked at.
"""

from __future__ import annotations

import sys

from bench import load
from bench.load import Load, Wrk
from bench.row import Row, ratio_at_most
from cenote.model.timing import DEFAULT
from cenote_client import Client
from tests.support.service import Service, added_pool, online, online_cluster, service

CLUSTERS, AS_MANY_AS = 20, 200
TURNS, RUNS = 6, 3
LIMITS = ("--requests-per-hour=1000000000", "--requests-per-minute=1000000000", "--log-level=warning")
NEVER = 86_400.0  # seconds


def measure() -> list[Row]:
    load.program()
    with service(*LIMITS) as running, running.client() as client:
        ids = [online_cluster(client, f"cluster-{number}")["id"] for number in range(CLUSTERS)]
        for id in ids:
            added_pool(client, id, "pool")
        token = running.environment()["DIGITALOCEAN_TOKEN"]
        wrk = Wrk(running.data_dir, [f"/v2/databases/{id}/pools/pool" for id in ids], token)
        busy: list[Load] = []
        idle: list[Load] = []
        for _ in range(TURNS):
            for interval, loads in ((DEFAULT.resync_interval * CLUSTERS / AS_MANY_AS, busy), (NEVER, idle)):
                _restart(running, client, ids, interval)
                loads += [wrk.run(running.environment()["DIGITALOCEAN_API_URL"]) for _ in range(RUNS)]
    what = f"GET pool beside passes over {AS_MANY_AS} clusters / beside none"
    return [
        Row(
            f"{what}, 99th percentile",
            "ms",
            [r.p99 for r in busy],
            [r.p99 for r in idle],
            (ratio_at_most(2),),
        ),
        Row(f"{what}, rate", "/s", [r.rate for r in busy], [r.rate for r in idle]),
    ]


def _restart(running: Service, client: Client, ids: list[str], interval: float) -> None:
    running.end()
    running.command = _with_resync(interval)
    running.start()
    for id in ids:
        online(client, id)


def _with_resync(interval: float) -> tuple[str, ...]:
    """Return ``cenote`` with another interval; the other modules take the default when they are imported."""
    return (
        sys.executable,
        "-c",
        "from cenote.model import timing\n"
        f"timing.DEFAULT = timing.Timing(resync_interval={interval}, full_look_interval=0)\n"
        "from cenote.cli import main\n"
        "main()",
    )
