"""What a server has and the record has not: found by the ledger, and taken into the record."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from cenote.engine.plan import adoption as part
from cenote.engine.plan import databases, roles
from cenote.engine.plan.ledger import Ledger, State
from cenote.model.adoption import Found, FoundDatabase, FoundUser
from cenote.model.changes import Sql, Wait
from cenote.model.records import (
    Access,
    Cluster,
    ClusterStatus,
    Database,
    Pool,
    Removal,
    RemovalKind,
    Restoration,
    User,
)
from cenote.model.restores import Restored
from cenote.model.status_records import NodeStatus
from cenote.model.topology import status
from cenote.rules.adoption import adopted
from tests.support.wanted import CLUSTER, NOW, WANTED

USER, DATABASE = RemovalKind.USER, RemovalKind.DATABASE
FORK = replace(CLUSTER, restoration=Restoration(node="node-1", source=uuid4(), asked_at=NOW))
ROLE = roles.Role(verifier="v", can_login=True, superuser=False, fits_admin=False)


def new_user(name: str) -> User:
    return User(name=name, verifier=f"new {name}", sealed_password="sealed")


def report(found: Found | None, **fields: Any) -> NodeStatus:
    return NodeStatus(reached=5, at=NOW, found=found, **fields)


# -- The looking and planning half


def seen(*users: str, databases_: tuple[str, ...] = (), closed: tuple[str, ...] = ()) -> part.Seen:
    """A server with these users and databases, all in the ledger."""
    ledger = Ledger({"role": frozenset(users), "database": frozenset(databases_)})
    there = {
        name: databases.Found("doadmin", connection_limit=0 if name in closed else -1) for name in databases_
    }
    rows = State({("lager", "oid"): "7.2", ("lager", "owner"): "old.user.2"})
    states = State({("old", "oid"): "9.4", ("old", "replication"): "False.4"})
    return part.Seen(
        ledger,
        roles.Seen(dict.fromkeys(users, ROLE), frozenset(users), states),
        databases.Seen(there, frozenset(databases_), rows),
        frozenset({"old/orders/readonly-d", "old/defaultdb/readwrite-d", "app/orders/readonly-d"}),
    )


ALL = ("doadmin", "app"), ("defaultdb", "orders")


def test_a_server_that_has_what_the_record_says_has_nothing_to_report() -> None:
    made = seen(*ALL[0], databases_=ALL[1])
    assert not part.is_due(WANTED, made.ledger)
    assert part.report(WANTED, part.Seen(made.ledger)) == {"found": None}
    assert list(part.plan(WANTED, part.Seen(made.ledger))) == []


def test_what_the_ledger_has_and_the_record_has_not_is_reported_with_what_was_brought_about() -> None:
    made = seen(*ALL[0], "old", databases_=(*ALL[1], "lager"))
    assert part.is_due(WANTED, made.ledger)
    assert part.report(WANTED, made)["found"] == Found(
        users=(FoundUser(name="old", number=4, allow_replication=False, access=Access.READWRITE),),
        databases=(FoundDatabase(name="lager", owner="old.user", number=2),),
    )


def test_a_database_that_was_closed_for_its_drop_is_opened_again() -> None:
    made = seen(*ALL[0], databases_=(*ALL[1], "lager"), closed=("lager", "orders"))
    [opening] = part.plan(WANTED, made)
    assert isinstance(opening, Sql)
    assert [one.as_string(None) for one in opening.statements] == [
        'ALTER DATABASE "lager" CONNECTION LIMIT -1'
    ]


def test_a_fork_waits_until_its_record_has_what_was_found() -> None:
    context = dataclasses.replace(WANTED, cluster=FORK)
    made = seen(*ALL[0], databases_=ALL[1])
    assert part.is_due(context, made.ledger)
    # Nobody can log in with a password of the source, not even for the moment before it is changed.
    *taken, waits = part.plan(context, made)
    assert [change.summary for change in taken if isinstance(change, Sql)] == [
        f"taking the password of user {name}" for name in ("app", "doadmin")
    ]
    assert waits == Wait(part.READING)
    elsewhere = replace(FORK, restoration=replace(FORK.restoration, node="node-2"))  # type: ignore[type-var]
    assert not part.is_due(dataclasses.replace(WANTED, cluster=elsewhere), made.ledger)


def test_a_fork_reports_what_its_record_has_and_its_server_has_not() -> None:
    pools = (
        *CLUSTER.pools,
        Pool(name="of-sql", database="by_sql", size=1, user="by_sql"),
        Pool(name="no-user", database="orders", size=1, user="later"),
        Pool(name="no-database", database="dropped", size=1),
    )
    cluster = replace(
        FORK,
        users=(*FORK.users, new_user("later"), new_user("gone")),
        databases=(*FORK.databases, Database(name="later"), Database(name="dropped")),
        pools=pools,
    )
    made = seen("doadmin", "app", "by_sql", databases_=("defaultdb", "orders", "by_sql"))
    made = dataclasses.replace(
        made,
        ledger=Ledger(
            {
                "role": frozenset({"doadmin", "app", "gone"}),  # SQL has dropped this one
                "database": frozenset({"defaultdb", "orders", "dropped"}),
            }
        ),
    )
    found = part.report(dataclasses.replace(WANTED, cluster=cluster), made)["found"]
    assert found == Found(
        restored_for=NOW,
        missing_users=("later",),
        missing_databases=("later",),
        pools=("no-user", "no-database"),
    )


# -- The record


def test_what_was_found_is_taken_into_the_record_with_new_passwords() -> None:
    found = Found(
        users=(FoundUser(name="old", number=4, allow_replication=True, access=Access.READONLY),),
        databases=(FoundDatabase(name="lager", owner="old", number=2),),
    )
    after = adopted(CLUSTER, report(found), new_user)
    assert after.users == (
        *CLUSTER.users,
        replace(new_user("old"), number=4, allow_replication=True, access=Access.READONLY),
    )
    assert after.databases == (*CLUSTER.databases, Database(name="lager", owner="old", number=2))
    assert adopted(after, report(found), new_user) is after


@pytest.mark.parametrize("seen", [None, report(None), report(Found())], ids=["none", "nothing", "empty"])
def test_without_anything_found_the_record_stays_the_same_object(seen: NodeStatus | None) -> None:
    assert adopted(CLUSTER, seen, new_user) is CLUSTER
    assert adopted(FORK, seen, new_user) is FORK


def removing(cluster: Cluster, kind: RemovalKind, name: str) -> tuple[Cluster, Removal]:
    removal = Removal(id=uuid4(), kind=kind, name=name, at=NOW)
    return replace(cluster, removing=(removal,)), removal


@pytest.mark.parametrize("kind", list(RemovalKind), ids=list(map(str, RemovalKind)))
def test_what_was_removed_since_the_report_does_not_come_back(kind: RemovalKind) -> None:
    found = Found(users=(FoundUser(name="old"),), databases=(FoundDatabase(name="old"),))
    cluster, removal = removing(CLUSTER, kind, "old")
    after = adopted(cluster, report(found), new_user)
    assert [one.name for one in after.users if one.name == "old"] == [] if kind is USER else ["old"]
    assert [one.name for one in after.databases if one.name == "old"] == [] if kind is DATABASE else ["old"]
    # A removal that an older record has, and that was carried out, is no reason.
    after = adopted(cluster, report(found, gone=(removal.id,)), new_user)
    assert after.user("old") is not None
    assert after.database("old") is not None


def test_a_fork_takes_in_what_was_found_loses_what_is_missing_and_is_over() -> None:
    cluster = replace(
        FORK,
        users=(*FORK.users, new_user("later")),
        databases=(*FORK.databases, Database(name="later")),
        pools=(*FORK.pools, Pool(name="later", database="later", size=1)),
    )
    found = Found(
        databases=(FoundDatabase(name="rescued"),),
        restored_for=NOW,
        missing_users=("later",),
        missing_databases=("later",),
        pools=("later",),
    )
    after = adopted(cluster, report(found), new_user)
    assert after.restoration is None
    assert after.users == FORK.users
    assert after.databases == (*FORK.databases, Database(name="rescued"))
    assert after.pools == FORK.pools


def test_a_fork_that_has_exactly_its_records_users_and_databases_is_over_too() -> None:
    assert adopted(FORK, report(Found(restored_for=NOW)), new_user) == replace(FORK, restoration=None)


def test_a_report_on_another_restoration_says_nothing() -> None:
    for other in (None, NOW - timedelta(seconds=1)):
        found = Found(databases=(FoundDatabase(name="other"),), restored_for=other)
        assert adopted(FORK, report(found), new_user) is FORK


def test_data_that_are_restored_in_place_are_not_a_forks() -> None:
    cluster = replace(FORK, restoration=replace(FORK.restoration, fork=False))  # type: ignore[type-var]
    assert adopted(cluster, report(Found(restored_for=NOW)), new_user) is cluster


# -- The status


def test_a_fork_is_forking_until_it_works() -> None:
    none_yet = NodeStatus(reached=0, at=NOW)
    restored = NodeStatus(reached=0, at=NOW, restored=Restored(asked_at=NOW))
    done = replace(FORK, restoration=None)
    assert status(FORK, None) is status(FORK, none_yet) is status(FORK, restored) is ClusterStatus.FORKING
    assert status(done, restored) is ClusterStatus.FORKING
    assert status(done, replace(restored, reached=7)) is ClusterStatus.ONLINE
    assert status(done, none_yet) is ClusterStatus.CREATING
