"""The upgrade of a cluster with several nodes to another major version: the others are made anew."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from cenote.host import control_file
from cenote.model.topology import SHARED
from cenote_client import BusyError
from faults import major_upgrade
from tests.support import pgbench, upgrading
from tests.support.service import added_pool, answer_of
from tests.support.several_nodes import node, patroni, server, writer
from tests.support.upgrading import CHECKSUM, GOODS, Site, version_of
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with upgrading.site() as found:
        yield found


def made(site: Site, name: str, count: int) -> Any:
    cluster = site.several(name, count)
    with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as connection:
        for statement in GOODS:
            connection.execute(statement.encode())
    return cluster


def together(site: Site, id: str) -> None:
    """Wait until all nodes of a cluster are as wanted, on one host."""
    site.settled(id, ends=0, reason=SHARED)


def test_pools_wait_and_the_standbys_are_made_anew(site: Site) -> None:
    cluster = made(site, "trio", 3)
    id, uri = cluster["id"], cluster["connection"]["uri"]
    pool = added_pool(site.client, id, "pool")
    pgbench.initialize(uri)
    before = answer_of(uri, CHECKSUM)
    together(site, id)
    with pgbench.bench(pool["connection"]["uri"], clients=2, rate=50) as bench:
        site.upgrade(id)
        assert site.cluster(id)["version"] == site.newer
        with pytest.raises(BusyError, match="is being upgraded"):
            site.client.request("POST", f"/v2/databases/{id}/switchover", json={})
        wait_until("it is upgraded", 240, lambda: site.ends(id))
        together(site, id)
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


def test_a_refusal_after_the_answer_leaves_the_former_version_with_its_standbys(site: Site) -> None:
    cluster = made(site, "refused", 2)
    id, uri = cluster["id"], cluster["connection"]["uri"]
    before = {number: server(site.running, cluster, number) for number in (1, 2)}
    first = writer(site.running, cluster, 1, 2)
    systems = [control_file.system(node(site.running, cluster, number).data) for number in (1, 2)]
    made_at = [node(site.running, cluster, number).data.stat().st_ino for number in (1, 2)]
    with psycopg.connect(uri, autocommit=True) as connection:
        site.upgrade(id)
        connection.execute("SELECT pg_create_logical_replication_slot('feed', 'pgoutput')")
        wait_until("it is refused", 120, lambda: site.ends(id))
        together(site, id)
        assert connection.execute("SELECT 42").fetchone() == (42,), "the server has gone on"
    assert "the replication slot feed would not come along: drop it" in site.ends(id)[0]
    assert site.cluster(id)["version"] == site.older == version_of(uri)
    assert server(site.running, cluster, first or 0) == before[first or 0]
    assert [control_file.system(node(site.running, cluster, number).data) for number in (1, 2)] == systems
    assert [node(site.running, cluster, number).data.stat().st_ino for number in (1, 2)] == made_at
    assert len(site.ends(id)) == 1


def test_kill_at_a_random_moment_loses_nothing(site: Site) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    assert major_upgrade.killed(site, 1, random.Random(seed), nodes=2) == []
