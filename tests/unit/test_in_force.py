"""Whether a change is in force, by what is reported of the parts that it concerns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from cenote.model.parts import PartName
from cenote.model.records import Access, Cluster, Configuration, FirewallRule, Pool, SourceType, User
from cenote.model.status_records import NodeStatus
from cenote.rules import in_force
from cenote.rules.in_force import Progress
from tests.support.wanted import CLUSTER, NOW, user

POOLS = frozenset({PartName.POOLER})


def sources(*values: str) -> tuple[FirewallRule, ...]:
    return tuple(
        FirewallRule(id=uuid4(), type=SourceType.IP_ADDR, value=value, created_at=NOW) for value in values
    )


def status(**fields: Any) -> NodeStatus:
    return NodeStatus(at=NOW, **({"reached": 5, "tried": 7} | fields))


def users(*changed: User) -> Cluster:
    return replace(CLUSTER, users=(CLUSTER.users[0], *changed))


def test_every_field_of_a_cluster_is_told_which_parts_it_concerns_or_concerns_all() -> None:
    concerned = {
        field: in_force.concerned(CLUSTER, replace(CLUSTER, **{field: "another"}))
        for field in ("firewall", "pools", "tags", "sinks", "nodes", "authority")
    }
    assert concerned["firewall"] == in_force.TRUSTED_SOURCES
    assert concerned["pools"] == POOLS
    assert concerned["tags"] == frozenset()
    assert concerned["sinks"] == {PartName.LOG_POSITIONS}
    assert concerned["nodes"] == concerned["authority"] == in_force.ALL


@pytest.mark.parametrize(
    ("changed", "is_concerned"),
    [
        (Configuration(postgresql={"work_mem": 8}), False),
        (Configuration(pgbouncer={"server_lifetime": 600}), True),
        (Configuration(postgresql={"work_mem": 8}, cenote={"query_wait_timeout": 20}), True),
    ],
)
def test_settings_of_postgresql_do_not_concern_the_pools(changed: Configuration, is_concerned: bool) -> None:
    after = replace(CLUSTER, configuration=changed)
    found = in_force.concerned(CLUSTER, after)
    assert (PartName.POOLER in found) is is_concerned
    assert {PartName.SERVER, PartName.RESTART} <= found
    assert PartName.POOLER in in_force.concerned(CLUSTER, replace(after, pools=()))
    assert PartName.POOLER in in_force.concerned(CLUSTER, replace(after, size="db-s-2vcpu-4gb"))


def test_settings_without_effect_concern_nothing() -> None:
    kept = replace(CLUSTER, configuration=Configuration(unused={"backup_hour": 3}))
    assert in_force.concerned(CLUSTER, kept) == frozenset()
    both = Configuration(unused={"backup_hour": 3}, postgresql={"work_mem": 8})
    assert PartName.SERVER in in_force.concerned(CLUSTER, replace(CLUSTER, configuration=both))


def test_a_change_of_privileges_concerns_the_grants_and_a_new_password_does_not() -> None:
    app = CLUSTER.users[1]
    reader = users(replace(app, access=Access.READONLY))
    assert PartName.GRANTS in in_force.concerned(CLUSTER, reader)
    assert PartName.GRANTS not in in_force.concerned(CLUSTER, users(replace(app, verifier="another")))


@dataclass(frozen=True)
class Case:
    name: str
    before: Cluster
    after: Cluster
    closes: bool


READER = replace(CLUSTER.users[1], access=Access.READONLY)
WRITER = replace(CLUSTER.users[1], access=Access.READWRITE)
REPLICATES = replace(CLUSTER.users[1], allow_replication=True)
GUARDED = replace(CLUSTER, firewall=sources("192.0.2.0/25"))
CASES = [
    Case("the first source", CLUSTER, GUARDED, True),
    Case("no source any more", GUARDED, CLUSTER, False),
    Case("a source more", GUARDED, replace(GUARDED, firewall=sources("192.0.2.0/25", "::1")), False),
    Case("a wider source", GUARDED, replace(GUARDED, firewall=sources("192.0.2.0/24")), False),
    Case(
        "both halves of it",
        GUARDED,
        replace(GUARDED, firewall=sources("192.0.2.0/25", "192.0.2.128/25")),
        False,
    ),
    Case("a narrower source", GUARDED, replace(GUARDED, firewall=sources("192.0.2.0/26")), True),
    Case("another source", GUARDED, replace(GUARDED, firewall=sources("198.51.100.0/24")), True),
    Case("an IPv6 source instead", GUARDED, replace(GUARDED, firewall=sources("::/0")), True),
    Case("the same source anew", GUARDED, replace(GUARDED, firewall=sources("192.0.2.0/25")), False),
    Case("a user less", CLUSTER, users(), True),
    Case("a user more", CLUSTER, users(CLUSTER.users[1], user("more")), False),
    Case("another password", CLUSTER, users(replace(CLUSTER.users[1], verifier="another")), True),
    Case("may read", CLUSTER, users(READER), False),
    Case("may write", users(READER), users(WRITER), False),
    Case("may not write", users(WRITER), users(READER), True),
    Case("may not read", users(READER), CLUSTER, True),
    Case("may replicate", CLUSTER, users(REPLICATES), False),
    Case("may not replicate", users(REPLICATES), users(replace(REPLICATES, allow_replication=False)), True),
    Case("a database less", CLUSTER, replace(CLUSTER, databases=CLUSTER.databases[:1]), True),
    Case("a pool less", CLUSTER, replace(CLUSTER, pools=()), False),
    Case(
        "a pool more",
        CLUSTER,
        replace(CLUSTER, pools=(*CLUSTER.pools, Pool(name="more", database="orders", size=1))),
        False,
    ),
    Case(
        "a setting", CLUSTER, replace(CLUSTER, configuration=Configuration(postgresql={"work_mem": 8})), False
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_change_closes_what_it_takes_from_somebody(case: Case) -> None:
    assert in_force.closes(case.before, case.after) is case.closes


def test_without_a_report_nothing_is_in_force() -> None:
    assert in_force.progress(None, 7, POOLS) == Progress(
        in_force=False, reason="waiting for the host's agent"
    )
    assert not in_force.was_tried(None)
    assert not in_force.was_tried(NodeStatus(reached=0, at=NOW))


def test_what_was_reached_is_in_force_whatever_failed_since() -> None:
    seen = status(reached=7, failing=True, reason="a failure", failed={"PgBouncer": "a failure"})
    assert in_force.progress(seen, 7, POOLS).in_force
    assert in_force.lacking(seen, 7) == []


def test_a_revision_that_was_not_tried_is_waited_for_also_after_an_older_failure() -> None:
    seen = status(tried=6, failing=True, reason="a failure", failed={"PgBouncer": "a failure"})
    assert in_force.progress(seen, 7, POOLS) == Progress(in_force=False, reason="a failure")
    assert in_force.lacking(seen, 7) == ["the latest changes: a failure"]


def test_a_part_that_failed_says_why_and_one_that_did_not_is_in_force() -> None:
    seen = status(failing=True, reason="a lock", failed={"roles": "a lock"})
    assert in_force.progress(seen, 7, POOLS).in_force
    assert in_force.progress(seen, 7, in_force.TRUSTED_SOURCES).in_force
    assert in_force.progress(seen, 7, in_force.USERS) == Progress(False, failed=True, reason="a lock")
    assert in_force.lacking(seen, 7) == ["users: a lock"]


def test_a_part_that_the_pass_has_not_got_to_is_waited_for() -> None:
    seen = status(waiting=True, reason="PostgreSQL is starting", ahead=("PostgreSQL", "roles", "PgBouncer"))
    found = in_force.progress(seen, 7, POOLS)
    assert found == Progress(in_force=False, failed=False, reason="PostgreSQL is starting")
    assert in_force.progress(seen, 7, {PartName.POOLER_ACCESS}).in_force
    assert in_force.lacking(seen, 7) == ["PostgreSQL's configuration, users, pools: PostgreSQL is starting"]


def test_a_standby_counts_as_far_as_it_lets_somebody_in() -> None:
    status = NodeStatus(reached=5, tried=5, at=NOW)
    parts = in_force.TRUSTED_SOURCES | in_force.USERS
    assert in_force.on_standby(parts, status) == in_force.TRUSTED_SOURCES
    on_pooler = {PartName.POOLER_ACCESS, PartName.POOLER_DISCONNECT}
    assert in_force.on_standby(parts, replace(status, stopped=("PostgreSQL",))) == on_pooler
    assert in_force.on_standby({PartName.POOLER}, status) == frozenset()
    assert in_force.on_standby(parts, None) == frozenset()
    assert in_force.on_standby(parts, replace(status, reached=0)) == frozenset()
    assert in_force.on_standby(parts, replace(status, reached=0, tried=0)) == frozenset()
