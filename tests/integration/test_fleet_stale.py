"""Two hosts of a fleet, one of which hears late of changes: nothing acknowledged is lost, or not found."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from cenote_client import InvalidError, NotFoundError
from tests.support.behind import Behind, two_hosts
from tests.support.service import SMALLEST, added_pool, online_cluster
from tests.support.waiting import wait_until

POOL = {"mode": "transaction", "db": "defaultdb", "user": "doadmin"}


@pytest.fixture(scope="module")
def hosts() -> Iterator[Behind]:
    with two_hosts() as found:
        yield found


@pytest.fixture(scope="module")
def cluster(hosts: Behind) -> str:
    """A cluster on the host that hears of all at once; both know of it."""
    with hosts.current.client() as client, hosts.behind.client() as other:
        made = online_cluster(client, "shop", cenote={"host": hosts.current.name})
        path = f"/v2/databases/{made['id']}"
        wait_until("the other knows of it", 20, lambda: _pools(other, path) == {})
        return path


def _pools(client: Any, cluster: str) -> dict[str, int]:
    return {one["name"]: one["size"] for one in client.request("GET", f"{cluster}/pools")["pools"]}


def test_a_change_back_to_what_the_late_one_still_has_is_a_change(hosts: Behind, cluster: str) -> None:
    """Size 10 by one API, then size 5 by the other, for which it is 5 all the time."""
    with hosts.current.client() as current, hosts.behind.client() as behind, ThreadPoolExecutor(1) as thread:
        added_pool(current, cluster.rpartition("/")[2], "web", size=5)
        wait_until("both have it", 20, lambda: _pools(behind, cluster) == {"web": 5})
        with hosts.held():
            current.request("PUT", f"{cluster}/pools/web", json=POOL | {"size": 10})
            assert _pools(behind, cluster) == {"web": 5}, "it is not behind"
            answer = thread.submit(behind.request, "PUT", f"{cluster}/pools/web", json=POOL | {"size": 5})
            wait_until("the change is there", 20, lambda: _pools(current, cluster) == {"web": 5})
        answer.result()
        wait_until("both agree", 20, lambda: _pools(behind, cluster) == {"web": 5})


def test_changes_of_both_at_the_same_time_are_all_kept(hosts: Behind, cluster: str) -> None:
    names = [f"orders-{number}" for number in range(12)]
    with hosts.current.client() as current, hosts.behind.client() as behind:

        def add(number: int) -> None:
            client = (current, behind)[number % 2]
            client.request("POST", f"{cluster}/dbs", json={"name": names[number]})

        with ThreadPoolExecutor(len(names)) as threads:
            with hosts.held():
                added = [threads.submit(add, number) for number in range(len(names))]

                def are_there() -> bool:
                    found = {one["name"] for one in current.request("GET", f"{cluster}/dbs")["dbs"]}
                    return found >= set(names[::2])

                wait_until("those of the one that is current are there", 30, are_there)
            for one in added:
                one.result()
        for client in (current, behind):
            found = {one["name"] for one in client.request("GET", f"{cluster}/dbs")["dbs"]}
            assert found >= set(names)


def test_what_the_other_has_just_made_is_found(hosts: Behind, cluster: str) -> None:
    with hosts.current.client() as current, hosts.behind.client() as behind, hosts.held():
        made = {
            f"{cluster}/pools/new": (f"{cluster}/pools", POOL | {"name": "new", "size": 2}),
            f"{cluster}/dbs/new": (f"{cluster}/dbs", {"name": "new"}),
            f"{cluster}/users/new": (f"{cluster}/users", {"name": "new"}),
            "/v2/tags/new": ("/v2/tags", {"name": "new"}),
        }
        for path, (where, body) in made.items():
            current.request("POST", where, json=body)
            assert behind.request("GET", path), path
        wanted = SMALLEST | {"name": "second", "cenote": {"host": hosts.current.name}}
        id = current.request("POST", "/v2/databases", json=wanted)["database"]["id"]
        assert behind.request("GET", f"/v2/databases/{id}")["database"]["name"] == "second"
        with pytest.raises(InvalidError, match="cluster name is not available"):
            behind.request("POST", "/v2/databases", json=wanted)
        token = current.request("POST", "/v2/cenote/tokens", json={"name": "new", "scopes": ["*"]})["token"]
        with hosts.behind.client(token["token"]) as newcomer:
            assert newcomer.request("GET", f"/v2/databases/{id}")["database"]["id"] == id
        with pytest.raises(NotFoundError):
            behind.request("GET", f"/v2/databases/{uuid4()}")
        with pytest.raises(NotFoundError):
            behind.request("GET", f"{cluster}/pools/none")
