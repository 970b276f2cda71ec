"""Work that is broken off between any two changes: the next pass ends where it should.

What is checked in the end is what the servers say of themselves, not what their files say.
"""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from cenote.host import sql
from cenote.host.inspector import settings_in_force
from cenote.model.records import (
    Access,
    Cluster,
    Configuration,
    Database,
    FirewallRule,
    Pool,
    PoolMode,
    SourceType,
    User,
    Value,
)
from cenote.model.topology import writer_or_first
from cenote.rules import configuration
from cenote.security import certificates
from tests.support import records
from tests.support.lab import Lab, Share

pytestmark = pytest.mark.long

WALK = 12  # changes from any record to any other
USERS = ("app", "App", "0-to.9@x$y+z", "a" * 63, "select")
DATABASES = ("orders", "Orders", "all", "b" * 63, "replication")
SOURCES = ("127.0.0.0/8", "192.0.2.1", "2001:db8::/32")
SIZES = ("db-s-1vcpu-1gb", "db-s-1vcpu-2gb")
PASSWORDS = ("first-password", "second-password")


@pytest.fixture
def chance() -> random.Random:
    """Random choices that can be made again: the seed is printed when a test fails."""
    seed = os.environ.get("CENOTE_TEST_SEED") or os.urandom(4).hex()
    print(f"CENOTE_TEST_SEED={seed}")
    return random.Random(seed)


def any_record(cluster: Cluster, chance: random.Random) -> Cluster:
    """Another record of the same cluster, as requests of customers could have made it."""
    names = chance.sample(USERS, chance.randint(0, 3))
    users = (
        cluster.users[0],
        *(
            replace(
                records.user(name, chance.choice(PASSWORDS)),
                allow_replication=chance.choice([None, True, False]),
                access=chance.choice([None, *Access]),
            )
            for name in names
        ),
    )
    databases = ("defaultdb", *chance.sample(DATABASES, chance.randint(0, 3)))
    pools = tuple(
        Pool(
            name=name,
            database=chance.choice(databases),
            size=chance.randint(1, 5),
            mode=chance.choice(list(PoolMode)),
            user=chance.choice(["", *(user.name for user in users)]),
        )
        for name in chance.sample(["p-1", "p.2", "P_3", "4"], chance.randint(0, 4))
    )
    return replace(
        cluster,
        users=(with_password(users[0], chance.choice(PASSWORDS)), *users[1:]),
        databases=tuple(Database(name=name, owner=chance.choice(["", *names])) for name in databases),
        pools=pools,
        firewall=tuple(trusted(value) for value in chance.sample(SOURCES, chance.choice([0, 0, 1, 2]))),
        size=chance.choice(SIZES),
        configuration=any_configuration(chance),
        server_names=(*records.NAMES, *chance.sample(["db.example.com", "192.0.2.1"], chance.randint(0, 2))),
    )


def trusted(value: str) -> FirewallRule:
    return FirewallRule(id=uuid4(), type=SourceType.IP_ADDR, value=value, created_at=datetime.now(UTC))


def any_configuration(chance: random.Random) -> Configuration:
    """Settings of which some are reloaded, and some need a restart."""

    def some(settings: dict[str, tuple[Value, ...]]) -> dict[str, Value]:
        names = chance.sample(sorted(settings), chance.randint(0, len(settings)))
        return {name: chance.choice(settings[name]) for name in names}

    return Configuration(
        postgresql=some({"work_mem": (3, 5), "max_wal_senders": (41, 42), "jit": (True, False)}),
        pgbouncer=some({"server_lifetime": (100, 200), "min_pool_size": (1, 2)}),
        cenote=some({"query_wait_timeout": (60, 70)}),
    )


def with_password(user: User, password: str) -> User:
    return replace(user, verifier=records.verifier(password))


async def check(lab: Lab, cluster: Cluster) -> None:
    """Nothing is left to do, and the servers have what the record wants."""
    assert await lab.plan(cluster) == []
    roles = await lab.rows(
        cluster, "SELECT rolname, rolpassword, rolreplication FROM pg_authid WHERE rolpassword IS NOT NULL"
    )
    assert {name: verifier for name, verifier, _ in roles} == {
        user.name: user.verifier for user in cluster.users
    }
    replicating = {name: replication for name, _, replication in roles}
    for user in cluster.users:
        assert user.allow_replication in (None, replicating[user.name])
    databases = dict(
        await lab.rows(
            cluster, "SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE NOT datistemplate"
        )
    )
    assert databases.keys() == {"postgres", *(one.name for one in cluster.databases)}
    for database in cluster.databases:
        assert database.owner in ("", databases[database.name])
    granted = await lab.rows(
        cluster,
        "SELECT split_part(name, '/', 1), split_part(name, '/', 2) FROM cenote.made WHERE kind = 'grant'",
    )
    readers = [user.name for user in cluster.users if user.access is not None]
    assert sorted(granted) == sorted((name, one.name) for name in readers for one in cluster.databases)
    lines = await lab.rows(
        cluster, "SELECT DISTINCT address FROM pg_hba_file_rules WHERE type = 'hostssl' AND error IS NULL"
    )
    assert len(lines) == max(1, len(cluster.firewall))
    made = await lab.rows(cluster, "SELECT kind, name FROM cenote.made WHERE kind IN ('role', 'database')")
    assert set(made) == {("role", user.name) for user in cluster.users} | {
        ("database", database.name) for database in cluster.databases
    }
    states = await lab.rows(cluster, "SELECT kind, name FROM cenote.made WHERE kind LIKE '%-state'")
    assert {(kind, name.split("/")[0]) for kind, name in states} == {
        (f"{kind}-state", name) for kind, name in made
    }
    assert {"key": "paused", "value": "no"} in await console(lab, cluster, "STATE")
    found = {row["name"]: row for row in await console(lab, cluster, "DATABASES")}
    assert found.keys() - {"pgbouncer"} == {pool.name for pool in cluster.pools}
    for pool in cluster.pools:
        row = found[pool.name]
        assert (row["database"], row["pool_size"]) == (pool.database, pool.size)
        assert (row["pool_mode"], row["force_user"]) == (pool.mode.value, pool.user or None)
    session = lab.session(cluster)
    try:
        in_force = configuration.effective_values(cluster, await settings_in_force(session))
    finally:
        await session.close()
    chosen = cluster.configuration
    assert in_force.items() >= chosen.postgresql.items()
    assert in_force["max_connections"] == configuration.max_connections(cluster)
    config = {row["key"]: row["value"] for row in await console(lab, cluster, "CONFIG")}
    assert (
        config.items()
        >= {name: str(value) for name, value in (chosen.pgbouncer | chosen.cenote).items()}.items()
    )
    names = {row["name"] for row in await console(lab, cluster, "USERS")}
    assert {user.name for user in cluster.users} <= names
    certificate = lab.wanted(cluster).cluster_paths.certificate.read_bytes()
    assert set(certificates.names_of(certificate)) == set(cluster.server_names)


async def console(lab: Lab, cluster: Cluster, what: str) -> list[dict[str, Any]]:
    rows = (
        await sql.console(lab.session(cluster).sockets, writer_or_first(cluster).pool_port, f"SHOW {what}")
    )[0]
    return [dict(row) for row in rows]


def test_a_creation_and_a_removal_broken_off_anywhere_are_finished_by_the_next_pass(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        removed_to_the_end = False
        for stop_after in range(100):
            cluster = replace(lab.new_cluster(), pools=(Pool(name="a-pool", database="defaultdb", size=1),))
            done = await lab.converge(cluster, stop_after=stop_after)
            await lab.converge(cluster)
            await check(lab, cluster)
            removed = await lab.remove(cluster, stop_after=stop_after)
            removed_to_the_end |= len(removed) < stop_after
            await lab.remove(cluster)
            assert lab.remains(cluster) == []
            if len(done) < stop_after:
                break
        else:
            raise AssertionError("a creation has no end")
        assert removed_to_the_end

    labs(scenario)


def test_what_a_broken_off_creation_has_made_can_be_removed(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        for stop_after in range(100):
            cluster = lab.new_cluster()
            done = await lab.converge(cluster, stop_after=stop_after)
            await lab.remove(cluster)
            assert lab.remains(cluster) == []
            if len(done) < stop_after:
                return
        raise AssertionError("a creation has no end")

    labs(scenario)


def test_a_change_broken_off_anywhere_is_finished_by_the_next_pass(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        plain = lab.new_cluster()
        await lab.converge(plain)
        pools = [
            Pool(name=name, database="defaultdb", size=2, user="doadmin") for name in ("first", "second")
        ]
        less = replace(plain, users=(*plain.users, records.user("goes")), pools=(pools[0],))
        less = replace(less, databases=(*plain.databases, Database(name="goes")))
        more = replace(plain, users=(with_password(plain.users[0], "other"), records.user("comes")))
        more = replace(more, databases=(*plain.databases, Database(name="comes")))
        more = replace(more, pools=(replace(pools[0], size=1), pools[1]), server_names=("localhost",))
        await lab.converge(less)
        longest = 0
        for stop_after in range(100):
            lengths = []
            for target in (more, less):
                lengths.append(len(await lab.converge(target, stop_after=stop_after)))
                await lab.converge(target)
                await check(lab, target)
            longest = max(longest, *lengths)
            if stop_after > max(lengths):
                break
        assert longest > 10

    labs(scenario)


def test_a_change_broken_off_anywhere_leaves_nothing_behind_when_it_is_taken_back(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        plain = lab.new_cluster()
        await lab.converge(plain)
        more = replace(
            plain,
            users=(*plain.users, replace(records.user("comes"), access=Access.READWRITE)),
            databases=(*plain.databases, Database(name="comes", owner="comes")),
            pools=(Pool(name="comes", database="comes", size=1, user="comes"),),
            configuration=Configuration(postgresql={"max_wal_senders": 41}),  # needs a restart
        )
        for stop_after in range(100):
            done = await lab.converge(more, stop_after=stop_after)
            await lab.converge(plain)
            await check(lab, plain)
            if len(done) < stop_after:
                return
        raise AssertionError("a change has no end")

    labs(scenario)


def test_what_others_had_the_servers_load_is_undone_also_by_a_pass_broken_off_anywhere(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        chosen = Configuration(postgresql={"work_mem": 3}, pgbouncer={"server_lifetime": 100})
        cluster = replace(lab.new_cluster(), configuration=chosen)
        await lab.converge(cluster)
        wanted = lab.wanted(cluster)
        paths = wanted.cluster_paths
        for stop_after in range(100):
            for path, before, after in (
                (wanted.paths.data / "postgresql.conf", b"work_mem = '3MB'", b"work_mem = '7MB'"),
                (paths.pooler / "pgbouncer.ini", b"server_lifetime = 100", b"server_lifetime = 77"),
            ):
                content = path.read_bytes()
                assert before in content
                path.write_bytes(content.replace(before, after))
            await lab.run(cluster, "SELECT pg_reload_conf()")
            await sql.console(paths.sockets, writer_or_first(cluster).pool_port, "RELOAD")
            done = await lab.converge(cluster, stop_after=stop_after)
            await lab.converge(cluster)
            await check(lab, cluster)
            if len(done) < stop_after:
                return
        raise AssertionError("a change has no end")

    labs(scenario)


def test_from_any_record_to_any_other_also_when_the_record_changes_on_the_way(
    labs: Share, chance: random.Random
) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = lab.new_cluster()
        for _ in range(WALK):
            for _ in range(chance.randint(0, 2)):
                await lab.converge(any_record(cluster, chance), stop_after=chance.randint(0, 20))
            target = any_record(cluster, chance)
            await lab.converge(target)
            await check(lab, target)

    labs(scenario)
