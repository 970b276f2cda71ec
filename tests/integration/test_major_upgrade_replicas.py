"""The upgrade of a cluster with read replicas to another major version: they are made anew after it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from cenote.host import control_file
from cenote.model.paths import Layout
from cenote.model.topology import SHARED
from cenote_client import BusyError, InvalidError
from faults import major_upgrade
from tests.support import upgrading
from tests.support.replicas import added, following, has_row, write
from tests.support.service import added_pool, answer_of, tried
from tests.support.upgrading import CHECKSUM, GOODS, Site, version_of
from tests.support.waiting import wait_until

SECONDS = 240
READS = "SELECT current_setting('server_version_num')::int / 10000 || ' ' || count(*) FROM goods"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with upgrading.site() as found:
        yield found


def filled(cluster: Any) -> Any:
    with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as connection:
        for statement in GOODS:
            connection.execute(statement.encode())
    return cluster


def data_of(site: Site, id: str) -> tuple[str, int]:
    """Return what tells the data of a replica from others: their system identifier, and their folder."""
    data = Layout(site.running.data_dir).node(UUID(id), "node-1").data
    return control_file.system(data), data.stat().st_ino


def made_anew(site: Site, source: Any, name: str, before: Any) -> Any:
    """Wait until a replica follows its upgraded source; return it, which must be where it was."""
    path = f"/v2/databases/{source['id']}/replicas/{name}"

    def is_new() -> bool:
        id = site.client.request("GET", path)["replica"]["id"]
        found = site.cluster(id)
        return found["version"] == site.newer and "upgrading_from" not in found["cenote"]

    wait_until("it is copied anew", SECONDS, is_new)
    after = following(site.client, source, name)
    assert (after["id"], after["connection"]) == (before["id"], before["connection"])
    return after


def test_a_replica_serves_the_former_version_until_it_is_made_anew_with_all_that_is_its_own(
    site: Site,
) -> None:
    source = filled(site.made("source"))
    id, uri = source["id"], source["connection"]["uri"]
    replica = added(site.client, source, "reader")
    own = f"/v2/databases/{replica['id']}"
    pool = added_pool(site.client, replica["id"], "reads")["connection"]["uri"]
    site.client.request("PATCH", f"{own}/config", json={"config": {"work_mem": 8}})
    former = f"{site.older} 5000"
    wait_until("the pool answers", SECONDS, lambda: tried(pool, READS) == former)
    before = data_of(site, replica["id"])

    site.upgrade(id)
    shown = site.cluster(replica["id"])
    assert (shown["version"], shown["cenote"]["upgrading_from"]) == (site.newer, site.older)
    with pytest.raises(BusyError, match="is being upgraded to PostgreSQL"):
        site.client.request("PUT", f"/v2/databases/{id}/replicas/reader/promote")
    with pytest.raises(BusyError, match="is being upgraded to PostgreSQL"):
        site.client.request("PUT", f"{own}/resize", json={"size": "db-s-1vcpu-2gb", "num_nodes": 1})
    with pytest.raises(InvalidError, match="is a read replica: this is done with its source"):
        site.client.request("PUT", f"{own}/upgrade", json={"version": site.newer})
    with pytest.raises(BusyError, match="is being upgraded to another major version"):
        site.client.request("POST", f"/v2/databases/{id}/replicas", json={"name": "second"})
    told = set()
    while not site.ends(id):
        answered = tried(pool, READS)
        if not site.ends(id):
            assert answered == former, "it serves the former version while its source is away"
        told.add(site.cluster(replica["id"])["cenote"]["reason"])
        time.sleep(0.1)
    assert any("reads see what it had before, by PostgreSQL" in reason for reason in told), told

    made_anew(site, source, "reader", replica)
    assert data_of(site, replica["id"])[0] == data_of(site, id)[0] != before[0]
    assert version_of(replica["connection"]["uri"]) == version_of(uri) == site.newer
    wait_until("its pool answers again", SECONDS, lambda: tried(pool, READS) == f"{site.newer} 5000")
    assert answer_of(pool, "SELECT pg_is_in_recovery()") is True
    assert answer_of(pool, CHECKSUM) == answer_of(uri, CHECKSUM)
    assert answer_of(replica["connection"]["uri"], "SHOW work_mem") == "8MB"
    write(uri, 7)
    wait_until("it follows", SECONDS, lambda: has_row(replica["connection"]["uri"], 7))
    slot = "SELECT string_agg(slot_name || ' ' || active, ',') FROM pg_replication_slots"
    assert answer_of(uri, slot) == f"cenote_{UUID(replica['id']).hex}_2 true"
    assert any(
        f"copies the data of its source anew, which was upgraded to PostgreSQL {site.newer}" in text
        for text in site.summaries(replica["id"])
    )
    site.client.request("PUT", f"/v2/databases/{id}/replicas/reader/promote")
    wait_until("it takes writes", SECONDS, lambda: tried(pool, "SELECT pg_is_in_recovery()") is False)


def test_a_refused_upgrade_of_two_nodes_leaves_the_replica_as_it_was_and_the_next_one_takes_it_along(
    site: Site,
) -> None:
    source = filled(site.several("pair", 2))
    id, uri = source["id"], source["connection"]["uri"]
    replica = added(site.client, source, "tail")
    before = data_of(site, replica["id"])
    with psycopg.connect(uri, autocommit=True) as connection:
        site.upgrade(id)
        connection.execute("SELECT pg_create_logical_replication_slot('feed', 'pgoutput')")
        wait_until("it is refused", SECONDS, lambda: site.ends(id))
        site.settled(id, reason=SHARED)
        connection.execute("SELECT pg_drop_replication_slot('feed')")
    following(site.client, source, "tail")
    assert data_of(site, replica["id"]) == before
    shown = site.cluster(replica["id"])
    assert (shown["version"], "upgrading_from" in shown["cenote"]) == (site.older, False)
    write(uri, 1)
    wait_until("it follows as before", SECONDS, lambda: has_row(replica["connection"]["uri"], 1))

    site.upgrade(id)
    wait_until("it is upgraded", SECONDS, lambda: len(site.ends(id)) == 2)
    made_anew(site, source, "tail", replica)
    site.settled(id, ends=2, reason=SHARED)
    assert version_of(replica["connection"]["uri"]) == site.newer
    write(uri, 2)
    wait_until("it follows", SECONDS, lambda: has_row(replica["connection"]["uri"], 2))


def test_kill_at_a_random_moment_leaves_the_replica_with_its_source(site: Site) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    assert major_upgrade.killed(site, 1, random.Random(seed), longest=8.0, replica=True) == []
