"""The pass after a change looks only at what the change can touch, and leaves nothing for a full one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from msgspec.structs import replace

from cenote.engine.parts import NODE_PARTS, affected
from cenote.model.records import (
    Access,
    Cluster,
    Configuration,
    Database,
    FirewallRule,
    MaintenanceWindow,
    Pool,
    SourceType,
    StorageAutoscale,
)
from tests.support import records
from tests.support.lab import Lab, Share, in_words

POOL = Pool(name="backend-pool", database="defaultdb", size=3, user="doadmin")
APP, OTHER = Database(name="app"), records.user("app", "another-password-2")
LOOPBACK = FirewallRule(
    id=uuid4(), type=SourceType.IP_ADDR, value="127.0.0.1", created_at=datetime(2026, 1, 1, tzinfo=UTC)
)


def bare(cluster: Cluster) -> Cluster:
    return cluster


def full(cluster: Cluster) -> Cluster:
    """Return a record with a user, a database and a pool."""
    return replace(
        cluster,
        users=(*cluster.users, records.user("app")),
        databases=(*cluster.databases, APP),
        pools=(POOL,),
    )


def limited(cluster: Cluster) -> Cluster:
    return replace(cluster, users=(cluster.users[0], replace(cluster.users[1], access=Access.READONLY)))


CHANGES: dict[str, tuple[Callable[[Cluster], Cluster], Callable[[Cluster], Cluster]]] = {
    "a pool": (bare, lambda c: replace(c, pools=(POOL,))),
    "a pool less": (full, lambda c: replace(c, pools=())),
    "a pool's user": (full, lambda c: replace(c, pools=(replace(POOL, user="app"),))),
    "a pool's size": (full, lambda c: replace(c, pools=(replace(POOL, size=5),))),
    "a user": (bare, lambda c: replace(c, users=(*c.users, OTHER))),
    "a user less": (full, lambda c: replace(c, users=c.users[:1])),
    "a limited user": (full, limited),
    "a limit less": (lambda c: limited(full(c)), lambda c: full(replace(c, users=c.users[:1]))),
    "a password": (full, lambda c: replace(c, users=(c.users[0], OTHER))),
    "a database": (bare, lambda c: replace(c, databases=(*c.databases, APP))),
    "a database for a limited user": (
        lambda c: replace(limited(full(c)), databases=c.databases),
        lambda c: replace(c, databases=(*c.databases, APP)),
    ),
    "an owner": (full, lambda c: replace(c, databases=(c.databases[0], replace(APP, owner="app")))),
    "a database less": (full, lambda c: replace(c, databases=c.databases[:1])),
    "a tag": (full, lambda c: replace(c, tags=("production",))),
    "a window": (full, lambda c: replace(c, maintenance_window=MaintenanceWindow(day="monday"))),
    "growing storage": (full, lambda c: replace(c, autoscale=StorageAutoscale(enabled=True))),
    "trusted sources": (full, lambda c: replace(c, firewall=(LOOPBACK,))),
    "a setting": (full, lambda c: replace(c, configuration=Configuration(postgresql={"work_mem": 8}))),
    "all at once": (bare, full),
}


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_is_left_to_do_after_the_pass_for_a_change(labs: Share, name: str) -> None:
    begin, change = CHANGES[name]

    async def scenario(lab: Lab) -> None:
        before = begin(lab.new_cluster())
        after = change(before)
        await lab.converge(before)
        await lab.change_while_watched(before, after)
        assert in_words(await lab.plan(after)) == []

    labs(scenario)


def test_a_pool_is_brought_about_without_asking_the_server(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        before = lab.new_cluster()
        await lab.converge(before)
        context = lab.wanted(before)
        parts = affected(context, lab.wanted(replace(before, pools=(POOL,))))
        assert [part.name for part in parts] == ["pooler access", "PgBouncer"]

    labs(scenario)


def test_what_is_not_the_record_s_is_looked_at_in_full(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = lab.new_cluster()
        before = lab.wanted(cluster)
        lab.certificates[cluster.id] = "another one"
        assert affected(before, lab.wanted(replace(cluster, pools=(POOL,)))) == NODE_PARTS
        assert affected(before, before) == ()

    labs(scenario)
