"""Clusters with a pool each, spread over three hosts that have joined one another, through the API of each.

Every API has to know all of them, each host to run its share, and each pool to answer; and when all are
deleted, each by another API than that which made it, no host may have anything left.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from functools import partial
from typing import Any

import psycopg

from cenote_client import Client
from faults.fleet import HOSTS, Made, left_over, lost_ports, surplus_of
from faults.outcome import Outcome
from tests.support.fleet import Fleet, fleet
from tests.support.service import added_pool, answer_of, calling
from tests.support.waiting import wait_until

SECONDS = 120.0


def battery(clusters: int) -> Outcome:
    """Make so many clusters.

    ``answer`` are the seconds until a cluster that is made is online and has a row, ``change`` those from the
    first deletion until nothing is left.
    """
    outcome = Outcome(f"{clusters} clusters over {HOSTS} hosts")
    with fleet(HOSTS, clusters=clusters, joined=True) as hosts, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(host.client()) for host in hosts.hosts]
        made = Made(hosts, 0)
        pools: list[str] = []
        for number in range(clusters):
            began = time.monotonic()
            made.add(hosts.hosts[number % HOSTS])
            outcome.answer.append(time.monotonic() - began)
            id = list(made.rows)[-1]
            pool = added_pool(clients[(number + 1) % HOSTS], id, "web")
            pools.append(pool["connection"]["uri"])
            outcome.times += 1
        for host, client in zip(hosts.hosts, clients, strict=True):
            wait_until(f"all are healthy for {host.name}", SECONDS, partial(_all_are_healthy, client, made))
        _check_shares(clients, clusters, outcome)
        _check_pools(made, pools, outcome)
        left_over(hosts, made, outcome, "all are there")
        began = time.monotonic()
        for number, id in enumerate(list(made.rows)):
            clients[(number + 2) % HOSTS].databases.destroy_cluster(id)
            made.forget(id)
        with contextlib.suppress(AssertionError):
            wait_until("nothing is left", SECONDS, partial(_is_empty, hosts, made))
        outcome.change.append(time.monotonic() - began)
        left_over(hosts, made, outcome, "all are deleted")
    return outcome


def _listed(client: Client) -> Any:
    return client.request("GET", "/v2/databases?per_page=200")["databases"]


def _all_are_healthy(client: Client, made: Made) -> bool:
    healthy = {one["id"] for one in _listed(client) if one["cenote"]["health"] == "healthy"}
    return healthy == set(made.rows)


def _check_shares(clients: list[Client], clusters: int, outcome: Outcome) -> None:
    """Note where an API sees another number of clusters on a host than an even share."""
    for number, client in enumerate(clients, 1):
        shares = Counter(one["cenote"]["host"] for one in _listed(client))
        if len(shares) != min(HOSTS, clusters) or max(shares.values()) - min(shares.values()) > 1:
            outcome.lost.append(f"the API of host-{number} sees uneven shares: {dict(shares)}")


def _check_pools(made: Made, pools: list[str], outcome: Outcome) -> None:
    for row, uri in zip(made.rows.values(), pools, strict=True):
        try:
            found = answer_of(uri, "SELECT value FROM kept")
        except psycopg.Error as error:
            found = error
        if found == row:
            outcome.answered += 1
        else:
            outcome.lost.append(f"the pool of shop-{row} answers {found}")


def _is_empty(hosts: Fleet, made: Made) -> bool:
    with calling(hosts.hosts[0]) as http:
        return not surplus_of(hosts, made) and not lost_ports(made, http)
