"""Whom pools admit, by the record and by what SQL has changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given
from msgspec.structs import replace

from cenote import rules
from cenote.engine.plan import databases, roles, sql_changes
from cenote.engine.plan.databases import Found
from cenote.engine.plan.ledger import State
from cenote.engine.plan.roles import Role
from cenote.errors import Invalid
from cenote.model.by_sql import BySql, SeenDatabase, SeenRole
from cenote.model.records import Pool
from cenote.model.status_records import NodeStatus
from cenote.rules import sql_changes as judged
from tests.support.wanted import CLUSTER, NOW, user

SCRAM = "SCRAM-SHA-256$4096:c2FsdA==$a+/=:b+/="
APP = replace(user("app"), verifier=SCRAM)
RECORD = replace(CLUSTER, users=(user("doadmin"), APP))
OTHER = "SCRAM-SHA-256$4096:c2FsdA==$c+/=:d+/="

NONE: Mapping[str, Role] = {}

# PostgreSQL takes these as verifiers, and PgBouncer's file cannot hold them.
ODD = ("SCRAM-SHA-256$\n4096:c2FsdA==$a+/=:b+/=", f"SCRAM-SHA-256$4096:{'c2Fs' * 200}$a+/=:b+/=")
verifiers = st.sampled_from([None, SCRAM, OTHER, "md5d41d8cd98f00b204e9800998ecf8427e", *ODD])
a_role = st.builds(
    Role,
    verifier=verifiers,
    can_login=st.booleans(),
    superuser=st.just(False),
    fits_admin=st.booleans(),
    replication=st.booleans(),
    oid=st.sampled_from([100, 200]),
    expires_in=st.sampled_from([None, -1.0, 60.0]),
    connection_limit=st.sampled_from([-1, 0, 5]),
)


def seen(role: Role, login: str, others: Mapping[str, Role] = NONE) -> sql_changes.Seen:
    """What is seen of ``app``, when this login of it was brought about."""
    found = {"app": role, **others}
    state = State({("app", "oid"): f"{role.oid}.0", ("app", "login"): login})
    return sql_changes.Seen(
        roles.Seen(found, frozenset({"app", "doadmin"}), state), databases.Seen({}, frozenset())
    )


def may_log_in(role: Role) -> bool:
    """As PostgreSQL judges, with SCRAM; a connection through a pool counts as one of the role's."""
    is_valid = role.expires_in is None or role.expires_in > 0
    is_scram = role.verifier in (SCRAM, OTHER)
    return role.can_login and is_valid and is_scram and role.connection_limit != 0


@given(role=a_role)
def test_pools_admit_whom_the_server_would_with_the_password_that_it_has(role: Role) -> None:
    found = sql_changes.changes(RECORD, seen(role, judged.login_of(APP))).by_sql
    assert judged.logins(RECORD, found).get("app") == (role.verifier if may_log_in(role) else None)


@given(role=a_role)
def test_a_password_that_the_server_does_not_have_yet_counts_at_once(role: Role) -> None:
    found = sql_changes.changes(RECORD, seen(role, "of a former password")).by_sql
    assert judged.logins(RECORD, found)["app"] == SCRAM


@given(role=a_role, others=st.dictionaries(st.sampled_from(["maker", "team", "a b", "pg_x"]), a_role))
def test_a_role_that_sql_made_is_a_user_or_a_group(role: Role, others: dict[str, Role]) -> None:
    found = sql_changes.changes(RECORD, seen(role, judged.login_of(APP), others)).by_sql
    known = {name: one for name, one in others.items() if name in ("maker", "team")}
    assert {one.name for one in judged.users(RECORD, found)} == {"doadmin", "app"} | {
        name for name, one in known.items() if one.can_login
    }
    assert set(found.groups) == {name for name, one in known.items() if not one.can_login}
    admitted = judged.logins(RECORD, found).keys() - {"app", "doadmin"}
    assert admitted == {name for name, one in known.items() if may_log_in(one)}


def test_what_is_as_the_record_says_is_no_change() -> None:
    role = Role(SCRAM, can_login=True, superuser=False, fits_admin=False, oid=100)
    found = sql_changes.changes(replace(RECORD, users=(APP,)), seen(role, judged.login_of(APP)))
    assert found == sql_changes.Changes()


def test_the_next_expiry_is_known_before_it_comes() -> None:
    role = Role(SCRAM, can_login=True, superuser=False, fits_admin=False, oid=100, expires_in=7.0)
    later, never = (replace_role(role, seconds) for seconds in (9.0, -3.0))
    found = sql_changes.changes(RECORD, seen(role, judged.login_of(APP), {"maker": later, "team": never}))
    assert found.expires_in == 7.0


def replace_role(role: Role, seconds: float) -> Role:

    return dataclasses.replace(role, expires_in=seconds)


def test_a_pool_says_what_sql_has_taken_from_it() -> None:
    pool = Pool(name="a-pool", database="orders", size=1, user="app")
    found = [
        BySql(databases=(SeenDatabase(name="orders", gone="was dropped by SQL"),)),
        BySql(databases=(SeenDatabase(name="orders", closed="takes no connections"),)),
        BySql(roles=(SeenRole(name="app", gone="was dropped by SQL"),)),
        BySql(refused={"orders": ("app",)}),
        BySql(admitted={"orders": ("reader",)}),
        BySql(admitted={"orders": ("app",)}),
    ]
    assert [judged.pool_problem(RECORD, pool, one) for one in found] == [
        "database 'orders' was dropped by SQL",
        "database 'orders' takes no connections",
        "user 'app' was dropped by SQL",
        *["user 'app' may not connect to database 'orders' (REVOKE CONNECT)"] * 2,
        "",
    ]


def test_a_report_stays_small_where_each_of_many_databases_is_for_one_of_many_users() -> None:
    tenants = [f"tenant-{number}" for number in range(1_000)]
    others = {name: Role(SCRAM, can_login=True, superuser=False, fits_admin=False) for name in tenants}
    refused = {name: tuple(one for one in tenants if one != name) for name in tenants}
    by_sql = sql_changes.changes(
        RECORD, dataclasses.replace(seen(others["tenant-0"], "", others), refused=refused)
    ).by_sql
    assert len(msgspec.json.encode(by_sql)) < 512 << 10
    assert by_sql.refuses("tenant-1", "tenant-2")
    assert not by_sql.refuses("tenant-1", "tenant-1")
    assert not by_sql.refuses("orders", "tenant-1")


def test_pools_are_not_made_for_what_is_gone_and_such_as_are_there_can_be_changed() -> None:
    gone = BySql(databases=(SeenDatabase(name="orders", gone="was dropped by SQL"),))
    report = NodeStatus(reached=1, at=NOW, by_sql=gone)
    pool = Pool(name="new-pool", database="orders", size=1)
    with pytest.raises(Invalid, match="db: database 'orders' was dropped by SQL"):
        rules.add_pool(RECORD, pool, report)
    [before] = RECORD.pools
    changed = rules.change_pool(
        RECORD, before.name, size=2, mode=before.mode, database="orders", user=None, seen=report
    )
    assert changed.pools[0].size == 2


def test_a_database_of_the_record_that_sql_made_anew_is_not_gone() -> None:
    state = State({("orders", "oid"): "100.0"})
    there = databases.Seen({"orders": Found("doadmin", oid=200)}, frozenset({"orders"}), state)
    found = sql_changes.changes(RECORD, sql_changes.Seen(roles.Seen({}, frozenset()), there)).by_sql
    assert found.database("orders") is None
