"""A process of the service is killed in each step of planned switches, under writers in pools of all hosts.

Soon after it all is whole: every writer writes, no pooler holds a pool, the record and Patroni have no switch
left, and one node takes writes.  It may be the one from before: a switch that was cut short is taken up or
given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from cenote.model.records import SwitchStage
from cenote_client import NetworkError
from faults import ledger
from faults.outcome import Outcome
from faults.switch import OVER_SECONDS, WHOLE_SECONDS, WRITERS, Battery, judge
from tests.support.fleet import FleetHost, fleet
from tests.support.trio import Trio, trio
from tests.support.waiting import wait_until

ASKED, FOLLOWING = "asked", "following"
STEPS = (ASKED, *(stage.value for stage in SwitchStage), FOLLOWING)
# ``service``: all of a host's, which is started again as an init system does; ``controller``: the API that
# has the controller.
VICTIMS = ("agent of the source", "agent of the target", "api", "controller", "service")
LATEST = 0.1  # seconds after a step was seen
STEP_SECONDS = 20.0  # in which a step is reached
MOST_WORDS = 5  # reasons of failed queries that are printed


def batteries(runs: int, seed: str) -> list[Outcome]:
    """Make so many switches; the steps and the victims take turns, so that each meets each other."""
    chance = random.Random(f"{seed}-switch_kills")
    outcome = Outcome("kills in each step of a switch")
    with (
        fleet(3, joined=True, clusters=4) as hosts,
        trio(hosts.hosts) as cluster,
        tempfile.TemporaryDirectory() as folder,
        hosts.hosts[0].client() as client,
    ):
        path = Path(folder) / "ledger"
        with ledger.writing(path, range(WRITERS), cluster.uris, prepared=True) as written:
            battery = Battery(cluster, outcome, written, client)
            for step, victim in plan(runs, chance):
                battery.settle()
                run(battery, chance, step, victim)
                outcome.times += 1
            battery.settle()
        rows, failures = written.read()
        judge(cluster, outcome, rows, failures)
        for why, count in Counter(one.why for one in failures).most_common(MOST_WORDS):
            print(f"{count} queries failed: {why}", flush=True)
    return [outcome]


def plan(runs: int, chance: random.Random) -> Sequence[tuple[str, str]]:
    """Return which victim is killed in which step of each run: all pairs, before one comes again."""
    found: list[tuple[str, str]] = []
    pairs = list(itertools.product(STEPS, VICTIMS))
    while len(found) < runs:
        found += chance.sample(pairs, len(pairs))
    return found[:runs]


def run(battery: Battery, chance: random.Random, step: str, victim: str) -> None:
    """Ask for a switch, kill the victim in this step of it, and wait until all is whole."""
    cluster = battery.cluster
    source = cluster.primary()
    host = _host_of(cluster, victim, chance, source)
    asking = threading.Thread(target=_ask, args=(battery,))
    began = time.monotonic()
    asking.start()
    seen = _reach(cluster, source, step)
    time.sleep(chance.uniform(0, LATEST))
    at = time.monotonic()
    label = f"{victim} of {host.name} killed when {seen}"
    try:
        _kill(host, victim)
        asking.join()
        for what, is_so in _whole(battery):
            left = WHOLE_SECONDS - (time.monotonic() - at)
            wait_until(what, max(left, 0.1), is_so)
        battery.outcome.change.append(time.monotonic() - at)
        battery.outcome.answer.append(battery.waited(began))
        print(f"{label}: whole after {battery.outcome.change[-1]:.2f} s", flush=True)
    except AssertionError as error:
        battery.outcome.orphans.append(f"{label}: {error}")
        print(battery.outcome.orphans[-1], flush=True)
        asking.join()
        for what, is_so in _whole(battery):
            wait_until(what, 2 * OVER_SECONDS, is_so)  # a switch is given up after a minute
        print(f"{label}: whole after {time.monotonic() - at:.2f} s", flush=True)


def _whole(battery: Battery) -> Sequence[tuple[str, Callable[[], bool]]]:
    cluster = battery.cluster
    return (
        ("no pool is paused", lambda: not battery.paused()),
        ("the record has no switch", lambda: "switchover" not in cluster.shown()["cenote"]),
        ("Patroni is asked for nothing", lambda: not asked_of_patroni(cluster)),
        ("one node takes writes", lambda: bool(cluster.primary())),
        ("all writers write", lambda: battery.waited(time.monotonic()) < WHOLE_SECONDS),
    )


def asked_of_patroni(cluster: Trio) -> bool:
    """Return whether there is a request for a switch that Patroni has not answered or dropped."""

    async def read() -> bytes:
        async with cluster.hosts[0].etcd_client() as etcd:
            found = await etcd.read(f"/cenote-patroni/{cluster.id}/failover")
            return b"{}" if found is None else found.value

    return bool(json.loads(asyncio.run(read())))


def _ask(battery: Battery) -> None:
    with contextlib.suppress(httpx.HTTPError, OSError, NetworkError):  # its API may be the one that is killed
        battery.client.request("POST", f"/v2/databases/{battery.cluster.id}/switchover", json={})


def _reach(cluster: Trio, source: str, step: str) -> str:
    """Wait for a step, or a later one if it has passed by, and return which it is."""
    if step == ASKED:
        return ASKED
    wanted, found = STEPS.index(step), ASKED

    def is_reached() -> bool:
        nonlocal found
        shown = cluster.shown()["cenote"]
        primary = [one["name"] for one in shown["nodes"] if one["role"] == "primary"]
        if primary not in ([], [source]):
            found = FOLLOWING
        elif "switchover" in shown:
            found = shown["switchover"]["stage"]
        return STEPS.index(found) >= wanted

    wait_until(f"the switch is {step}", STEP_SECONDS, is_reached)
    return found


def _host_of(cluster: Trio, victim: str, chance: random.Random, source: str) -> FleetHost:
    if victim == "agent of the source":
        return cluster.host(source)
    if victim == "agent of the target":  # which of the two it is, is not known before
        return cluster.host(chance.choice(cluster.standbys()))
    return _controller(cluster) if victim == "controller" else chance.choice(cluster.hosts)


def _controller(cluster: Trio) -> FleetHost:
    async def read() -> str:
        async with cluster.hosts[0].etcd_client() as etcd:
            found = await etcd.read("/cenote/v2/leases/controller")
            return "" if found is None else str(json.loads(found.value)["host"])

    id = wait_until("there is a controller", WHOLE_SECONDS, lambda: asyncio.run(read()))
    with cluster.hosts[0].client() as client:
        [name] = [one["name"] for one in client.cenote.list_hosts()["hosts"] if one["id"] == id]
    return next(host for host in cluster.hosts if host.name == name)


def _kill(host: FleetHost, victim: str) -> None:
    if victim == "service":
        host.end(signal.SIGKILL)
        host.start()
        return
    pid = host.child("agent" if victim.startswith("agent") else "api")
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
