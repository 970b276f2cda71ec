"""Online migrations into a cluster of two nodes whose primary is lost with its host."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import pgbench
from tests.support.fleet import Fleet, fleet
from tests.support.importing import checksums, rows
from tests.support.migrating import Migration, state
from tests.support.plain_postgres import PlainPostgres, plain_postgres
from tests.support.several_nodes import may_take_over
from tests.support.trio import Trio
from tests.support.waiting import wait_until

MORE = """
CREATE TABLE wide (id int PRIMARY KEY, filling text);
INSERT INTO wide SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 20000) n;
CREATE SEQUENCE tickets;
SELECT setval('tickets', 500);
"""


@pytest.fixture(scope="module")
def hosts() -> Iterator[Fleet]:
    with fleet(3, joined=True, clusters=4) as found:
        yield found


@pytest.fixture(scope="module")
def source() -> Iterator[PlainPostgres]:
    with plain_postgres() as started:
        started.run("CREATE DATABASE bank")
        pgbench.initialize(started.uri("bank"))
        started.run(MORE, "bank")
        yield started


def ready(cluster: Trio) -> None:
    """Wait until the other node may take over: Patroni says so later than the server does."""
    cluster.wait_until_healthy()
    wait_until("commits wait for the other node", 120, lambda: cluster.quorum() > 0)
    shown = {"id": str(cluster.id)}
    wait_until("Patroni counts on it", 120, lambda: may_take_over(cluster.hosts[0], shown))


def fail_over(cluster: Trio, moment: float) -> str:
    """Lose the primary's host after a while, and have it back once the other node takes writes."""
    former = cluster.primary()
    host = cluster.host(former)
    time.sleep(moment)
    host.lose()
    try:
        wait_until("the other node takes writes", 120, lambda: cluster.primary() not in ("", former))
    except AssertionError:
        print(cluster.shown()["cenote"])
        for log in sorted(one for host in cluster.hosts for one in Path(host.data_dir).rglob("patroni.log")):
            print(log, log.read_text()[-3000:])
        raise
    host.start()
    return former


@pytest.fixture(scope="module")
def cluster(hosts: Fleet) -> Iterator[Trio]:
    """Two nodes; who is asked is the API of the host that has none, and is never lost."""
    with hosts.hosts[0].client() as client:
        made = Trio(hosts.hosts, client, "taken-over", nodes=2)
        having = {one["host"] for one in made.shown()["cenote"]["nodes"]}
    [spare] = [host for host in hosts.hosts if host.name not in having]
    with spare.client() as client:
        made.ask(client)
        yield made


@pytest.mark.long
def test_a_migration_goes_on_on_the_node_that_takes_over(
    hosts: Fleet, cluster: Trio, source: PlainPostgres
) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    moments = random.Random(seed)
    migration = Migration(cluster.client, str(cluster.id))
    before = state(source, ("bank",))
    ready(cluster)
    with pgbench.bench(source.uri("bank"), clients=1, rate=20) as bench:
        migration.start(source)
        nodes = [fail_over(cluster, moments.uniform(0.2, 3))]
        print("after the first failover", migration.now()["cenote"]["databases"])
        migration.reaches("syncing", 240)
        ready(cluster)
        nodes.append(fail_over(cluster, moments.uniform(0, 2)))
        wait_until("changes follow", 120, lambda: follows(migration, cluster, source))
        ready(cluster)
    assert not bench.failed
    # The last one is while it ends.
    migration.client.request("POST", f"{migration.path}/{migration.id}/finish")
    nodes.append(fail_over(cluster, moments.uniform(0, 1)))
    done = migration.reaches("done", 240)
    assert "could not be cleaned" not in str(done)
    print(f"lost {nodes}; {done['cenote']['warnings']}")

    target = cluster.conninfo(cluster.primary(), "bank")
    assert checksums(target) == checksums(source.uri("bank"))
    assert rows(target, "SELECT last_value FROM tickets") == [(500,)]
    assert rows(target, "SELECT rolname FROM pg_roles WHERE rolname = 'cenote_migration'") == []
    assert rows(target, "SELECT subname FROM pg_subscription") == []
    assert state(source, ("bank",))[:4] == before[:4]


def follows(migration: Migration, cluster: Trio, source: PlainPostgres) -> bool:
    """Return whether a row that was written now is here, and the migration goes on."""
    assert migration.now()["status"] == "syncing", migration.now()
    source.run("INSERT INTO wide SELECT max(id) + 1, 'later' FROM wide", "bank")
    [(last,)] = rows(source.uri("bank"), "SELECT max(id) FROM wide")
    time.sleep(1)
    found = rows(cluster.conninfo(cluster.primary(), "bank"), "SELECT FROM wide WHERE id = %s", last)
    return bool(found)
