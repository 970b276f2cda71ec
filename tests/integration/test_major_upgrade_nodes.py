"""The upgrade of a cluster with several nodes to another major version: the others are made anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from cenote.model.topology import SHARED
from cenote_client import BusyError
from tests.integration.test_ha_service import patroni
from tests.support import pgbench, upgrading
from tests.support.service import SMALLEST, added_pool, answer_of
from tests.support.upgrading import CHECKSUM, GOODS, Site, version_of
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with upgrading.site() as found:
        yield found


def made(site: Site, name: str, count: int) -> Any:
    fields = SMALLEST | {"name": name, "num_nodes": count, "version": site.older}
    id = site.client.request("POST", "/v2/databases", json=fields)["database"]["id"]
    cluster = together(site, id, count)
    with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as connection:
        for statement in GOODS:
            connection.execute(statement.encode())
    return cluster


def together(site: Site, id: str, count: int) -> Any:
    """Return a cluster once all of its nodes are as wanted, on one host."""
    found: Any = None

    def ready() -> bool:
        nonlocal found
        found = site.cluster(id)
        return found["cenote"]["reason"] == SHARED and len(found["cenote"]["nodes"]) == count

    try:
        wait_until("its nodes are together", 120, ready)
    except AssertionError:
        print(found["status"], found["cenote"])
        raise
    return found


def test_pools_wait_and_the_standbys_are_made_anew(site: Site) -> None:
    cluster = made(site, "trio", 3)
    id, uri = cluster["id"], cluster["connection"]["uri"]
    pool = added_pool(site.client, id, "pool")
    pgbench.initialize(uri)
    before = answer_of(uri, CHECKSUM)
    together(site, id, 3)
    with pgbench.bench(pool["connection"]["uri"], clients=2, rate=50) as bench:
        site.upgrade(id)
        assert site.cluster(id)["version"] == site.newer
        with pytest.raises(BusyError, match="is being upgraded"):
            site.client.request("POST", f"/v2/databases/{id}/switchover", json={})
        wait_until("it is upgraded", 240, lambda: site.ends(id))
        together(site, id, 3)
        time.sleep(1)
    print(f"{bench.done} transactions, the longest took {bench.held:.1f} s", site.ends(id))

    assert not bench.failed
    assert answer_of(uri, "SELECT count(*) FROM pgbench_history") == bench.done
    assert version_of(uri) == site.cluster(id)["version"] == site.newer
    assert answer_of(uri, CHECKSUM) == before
    assert f"from PostgreSQL {site.older} to {site.newer}" in site.ends(id)[0]
    standby = pool["standby_connection"]["uri"]
    assert answer_of(standby, "SELECT pg_is_in_recovery()") is True
    assert version_of(standby) == site.newer
    assert answer_of(standby, CHECKSUM) == before
    assert all(patroni(site.running, cluster, number) for number in (1, 2, 3))
