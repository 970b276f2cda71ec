"""Kills in the middle of an upgrade to another major version.

After each, either the former or the new server answers with all rows, and it is the one that the API names;
so does a read replica.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from cenote.host import processes
from cenote.model.paths import Layout
from cenote.model.topology import SHARED
from cenote_client import CenoteError
from faults.outcome import Outcome
from tests.support import two_versions, upgrading
from tests.support.service import answer_of, tried
from tests.support.upgrading import CHECKSUM, GOODS, Site, version_of
from tests.support.waiting import wait_until

LONGEST = 15.0  # seconds of an upgrade at most in which is killed
TARGETS = ("agent", "service", "server", "programs", "server at once")
TOGETHER = 5  # for so many kills, one is made of a cluster with two nodes, and one of a replica's source
REPLICA = "reader"


def battery(kills: int, seed: str) -> list[Outcome]:
    chance, several = random.Random(seed), max(1, kills // TOGETHER)
    with upgrading.site(clusters=kills + 3 * several + 4) as site:
        longest = _undisturbed(site)
        lost = killed(site, kills, chance, longest=longest)
        lost_of_two = killed(site, several, chance, nodes=2)
        lost_of_replicas = killed(site, several, chance, longest=longest, replica=True)
    return [
        Outcome("kill -9 during a major upgrade", kills, lost=lost),
        Outcome("kill -9 during that of two nodes", several, lost=lost_of_two),
        Outcome("kill -9 during that of a replica's source", several, lost=lost_of_replicas),
    ]


def _undisturbed(site: Site) -> float:
    """Return the seconds of an upgrade in which nothing is killed, so that kills fall into one."""
    cluster = _prepared(site, "undisturbed", 1)
    began = time.monotonic()
    site.upgrade(cluster["id"])
    site.settled(cluster["id"])
    took = min(LONGEST, time.monotonic() - began)
    print(f"an upgrade takes {took:.1f} s", flush=True)
    return took


def killed(
    site: Site,
    kills: int,
    chance: random.Random,
    nodes: int = 1,
    longest: float = LONGEST,
    *,
    replica: bool = False,
) -> list[str]:
    """Upgrade a cluster of so many nodes for each kill, or one with a replica; return what was lost."""
    problems: list[str] = []
    for number in range(kills):
        cluster = _prepared(site, f"kill-{'replica' if replica else nodes}-{number}", nodes)
        if replica:
            _add_replica(site, cluster["id"], number)
        target = TARGETS[number % len(TARGETS)]
        moment = 0.0 if target == "server at once" else chance.uniform(0.0, longest)
        began = time.monotonic()
        site.upgrade(cluster["id"])
        time.sleep(moment)
        what = _kill(site, cluster["id"], target)
        found = [*_judged(site, cluster), *(_judged_replica(site, cluster, number) if replica else ())]
        problems += [f"{what} after {moment:.2f} s: {line}" for line in found]
        took = time.monotonic() - began
        version = site.cluster(cluster["id"])["version"]
        print(
            f"kill {number}: {what} after {moment:.2f} s, over after {took:.1f} s with {version}", flush=True
        )
    return problems


def as_superuser(site: Site, cluster: Any, statements: str) -> None:
    """Run statements in the default database as only the service can."""
    paths = Layout(site.running.data_dir).cluster(UUID(cluster["id"]))
    port = cluster["connection"]["port"]
    conninfo = f"host={paths.sockets} port={port} user=postgres dbname=defaultdb"
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(statements.encode())


def _prepared(site: Site, name: str, nodes: int) -> Any:
    cluster = site.several(name, nodes) if nodes > 1 else site.made(name)
    with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as connection:
        for statement in GOODS:
            connection.execute(statement.encode())
    cluster["checksum"] = answer_of(cluster["connection"]["uri"], CHECKSUM)
    return cluster


def _judged(site: Site, cluster: Any) -> list[str]:
    id, uri = cluster["id"], cluster["connection"]["uri"]
    wait_until("the API answers", 60, lambda: _answers(site, id))
    nodes = cluster["num_nodes"]
    shown = site.settled(id, reason=SHARED if nodes > 1 else "")["version"]
    found = []
    version = wait_until("the server answers", 60, lambda: version_of(uri))
    if version != shown:
        found.append(f"the API shows {shown}, and the server is {version}")
    if tried(uri, CHECKSUM) != cluster["checksum"]:
        found.append("rows are missing")
    found += _damaged(site, cluster)
    return found + [f"{what} is left" for what in site.remains(id)]


def _add_replica(site: Site, id: str, number: int) -> None:
    name = f"{REPLICA}-{number}"
    site.client.request("POST", f"/v2/databases/{id}/replicas", json={"name": name})
    wait_until("the replica follows", 120, lambda: _follows(site, id, name))


def _follows(site: Site, id: str, name: str) -> Any:
    """Return a replica that has all that its source has, None before."""
    with contextlib.suppress(CenoteError):
        found = site.client.request("GET", f"/v2/databases/{id}/replicas/{name}")["replica"]
        is_good = found["status"] == "online" and found["cenote"]["health"] == "healthy"
        return found if is_good else None
    return None


def _judged_replica(site: Site, cluster: Any, number: int) -> list[str]:
    id, name = cluster["id"], f"{REPLICA}-{number}"
    replica = wait_until("the replica follows again", 240, lambda: _as_its_source(site, id, name))
    uri, shown = replica["connection"]["uri"], site.cluster(id)["version"]
    found = []
    if version_of(uri) != shown:
        found.append(f"its source shows {shown}, and the replica is {version_of(uri)}")
    if tried(uri, CHECKSUM) != cluster["checksum"]:
        found.append("rows are missing on the replica")
    return found


def _as_its_source(site: Site, id: str, name: str) -> Any:
    """Return a replica that follows and is not to be copied anew, None before."""
    found = _follows(site, id, name)
    is_behind = found is not None and "upgrading_from" in site.cluster(found["id"])["cenote"]
    return None if is_behind else found


def _damaged(site: Site, cluster: Any) -> list[str]:
    """Return what ``pg_amcheck`` finds in the heaps and indexes of all databases."""
    paths = Layout(site.running.data_dir).cluster(UUID(cluster["id"]))
    port = cluster["connection"]["port"]
    as_superuser(site, cluster, "CREATE EXTENSION IF NOT EXISTS amcheck")
    command = [
        *(two_versions.program("pg_amcheck"), "--database=defaultdb"),
        *("--heapallindexed", f"--host={paths.sockets}", f"--port={port}", "--username=postgres"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    as_superuser(site, cluster, "DROP EXTENSION amcheck")
    return [] if done.returncode == 0 else [f"pg_amcheck: {done.stdout}{done.stderr}"]


def _answers(site: Site, id: str) -> bool:
    with contextlib.suppress(Exception):
        return bool(site.cluster(id))
    return False


def _agent(site: Site) -> int:
    return wait_until("there is an agent", 30, lambda: site.running.child("agent") or 0)


def _kill(site: Site, id: str, target: str) -> str:
    """Kill one of the processes at work; return what it was."""
    paths = Layout(site.running.data_dir).node(UUID(id), "node-1")
    if target == "agent":
        os.kill(_agent(site), signal.SIGKILL)
        return "the agent"
    if target == "service":
        _end_service(site)
        return "the service"
    if target == "programs":
        for process in (*processes.below(paths.upgrade_folder), *processes.below(paths.other_data)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        return "the programs of the upgrade"
    server = processes.find(paths.server(Path()))
    if server is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGKILL)
    return "the server" if server is not None else "no server"


def _end_service(site: Site) -> None:
    site.running.end(signal.SIGKILL)
    site.running.start()
