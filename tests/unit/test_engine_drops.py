"""What is planned for users and databases that were removed from the record."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import msgspec
import pytest

from cenote.engine.plan import dropped_databases, dropped_roles, ledger, lock_out
from cenote.engine.plan.dropped_databases import Held
from cenote.engine.plan.dropped_roles import Role
from cenote.engine.plan.ledger import Ledger
from cenote.model.changes import Disconnect, Drop, Sql
from cenote.model.records import Removal, RemovalKind
from tests.support.wanted import CLUSTER, WANTED

USER, DATABASE = RemovalKind.USER, RemovalKind.DATABASE


def sql(drop: Drop) -> list[tuple[str, str]]:
    """Return each statement with the database that it is run in."""
    return [
        (change.database, statement.as_string(None))
        for change in drop.changes
        if isinstance(change, Sql)
        for statement in change.statements
    ]


def roles(**seen: Role) -> dropped_roles.Seen:
    return dropped_roles.Seen(tuple(seen), dict(seen))


MADE = {"role": frozenset({"doadmin", "app", "old"}), "database": frozenset({"orders", "lager"})}


def removed(kind: RemovalKind, name: str) -> Removal:
    return Removal(id=uuid4(), kind=kind, name=name, at=CLUSTER.created_at)


def test_what_the_ledger_has_and_the_record_has_removed_is_left_over() -> None:
    cluster = msgspec.structs.replace(
        CLUSTER, removing=(removed(USER, "old"), removed(DATABASE, "lager"), removed(USER, "lager"))
    )
    assert Ledger(MADE).leftover(cluster, USER) == ["old"]
    assert Ledger(MADE).leftover(cluster, DATABASE) == ["lager"]
    assert Ledger(MADE).unrecorded(cluster, USER) == Ledger(MADE).unrecorded(cluster, DATABASE) == []
    assert Ledger().leftover(cluster, USER) == []


def test_what_a_record_does_not_name_and_has_not_removed_is_never_dropped() -> None:
    made = Ledger(MADE)
    assert made.leftover(CLUSTER, USER) == made.leftover(CLUSTER, DATABASE) == []
    assert made.unrecorded(CLUSTER, USER) == ["old"]
    assert made.unrecorded(CLUSTER, DATABASE) == ["lager"]


def test_a_removal_that_was_carried_out_says_nothing_of_what_was_made_after_it() -> None:
    done, other = removed(DATABASE, "lager"), removed(USER, "old")
    made = Ledger(MADE | {"removed": frozenset({f"6929b4ae/{done.id}"})})
    cluster = msgspec.structs.replace(CLUSTER, removing=(done, other))
    assert made.leftover(cluster, DATABASE) == []
    assert made.unrecorded(cluster, DATABASE) == ["lager"]
    assert made.leftover(cluster, USER) == ["old"]
    again = msgspec.structs.replace(cluster, removing=(done, removed(DATABASE, "lager")))
    assert made.leftover(again, DATABASE) == ["lager"]


# -- Locking out


def test_a_user_loses_its_login_before_its_sessions_and_its_clients_at_the_pooler() -> None:
    [drop] = lock_out.plan(WANTED, lock_out.Seen(users=("old",), pooled={"old": (4, 5), "app": (6,)}))
    (where, alter), (_, end) = sql(drop)
    assert (where, alter) == ("postgres", 'ALTER ROLE "old" NOLOGIN NOREPLICATION')
    assert "pg_terminate_backend" in end
    assert drop.changes[-1] == Disconnect((4, 5))


def test_a_database_is_closed_to_customers_before_its_sessions_end() -> None:
    [drop] = lock_out.plan(WANTED, lock_out.Seen(databases=("lager",)))
    (_, close), (_, end) = sql(drop)
    assert close == 'ALTER DATABASE "lager" WITH IS_TEMPLATE false CONNECTION LIMIT 0'
    assert "pg_replication_slots" in end


# -- Databases


def test_a_database_that_goes_is_forgotten_after_it_is_dropped() -> None:
    [drop] = dropped_databases.plan(WANTED, dropped_databases.Seen(("old",), {"old": Held()}))
    assert sql(drop) == [
        (
            "postgres",
            "DELETE FROM cenote.made WHERE kind = 'grant' AND split_part(name, '/', 2) = 'old'",
        ),
        (
            "postgres",
            "DELETE FROM cenote.made WHERE kind = 'database-state' AND starts_with(name, 'old/')",
        ),
        ("postgres", 'DROP DATABASE IF EXISTS "old" WITH (FORCE)'),
        ("postgres", ledger.finish_removal(WANTED.cluster, DATABASE, "old").as_string(None)),
    ]
    assert sql(drop)[-1][1].endswith("DELETE FROM cenote.made WHERE kind = 'database' AND name = 'old'\n")


def test_what_keeps_a_database_is_ended_from_within_it() -> None:
    held = Held(allows_connections=False, prepared=("it's",), subscriptions=("Feed",))
    [drop] = dropped_databases.plan(WANTED, dropped_databases.Seen(("old",), {"old": held}))
    assert sql(drop)[:-4] == [
        ("postgres", 'ALTER DATABASE "old" ALLOW_CONNECTIONS true'),
        ("old", "ROLLBACK PREPARED 'it''s'"),
        ("old", 'ALTER SUBSCRIPTION "Feed" DISABLE'),
        ("old", 'ALTER SUBSCRIPTION "Feed" SET (slot_name = NONE)'),
        ("old", 'DROP SUBSCRIPTION "Feed"'),
    ]


def test_each_thing_is_a_drop_of_its_own() -> None:
    drops = [
        *dropped_databases.plan(WANTED, dropped_databases.Seen(("one", "two"))),
        *dropped_roles.plan(WANTED, roles(three=Role(1), four=Role(2))),
    ]
    assert [(drop.kind, drop.name) for drop in drops] == [
        *[(DATABASE, "one"), (DATABASE, "two")],
        *[(USER, "three"), (USER, "four")],
    ]


# -- Roles


def test_a_user_that_owns_nothing_is_dropped_without_a_look_into_any_database() -> None:
    [drop] = dropped_roles.plan(WANTED, roles(old=Role(16402)))
    assert {where for where, _ in sql(drop)} == {"postgres"}
    assert [statement for _, statement in sql(drop)][:4] == [
        "DELETE FROM cenote.made WHERE kind = 'grant' AND split_part(name, '/', 1) = 'old'",
        "DELETE FROM cenote.made WHERE kind = 'role-state' AND starts_with(name, 'old/')",
        'DROP ROLE IF EXISTS "old"',
        ledger.finish_removal(WANTED.cluster, USER, "old").as_string(None),
    ]


@pytest.mark.parametrize(
    ("version", "options"), [("15", "ADMIN OPTION"), ("16", "ADMIN TRUE, INHERIT TRUE, SET TRUE")]
)
def test_what_a_user_owned_goes_to_a_role_of_its_own_with_the_administrator_as_a_member(
    version: str, options: str
) -> None:
    wanted = replace(WANTED, cluster=msgspec.structs.replace(CLUSTER, version=version))
    [drop] = dropped_roles.plan(wanted, roles(old=Role(16402, owns=True, places=("orders",))))
    statements = sql(drop)
    owner = '"cenote_deleted_user_16402"'
    assert statements[0] == ("postgres", f"CREATE ROLE {owner} NOLOGIN")
    assert statements[2] == ("postgres", f'GRANT {owner} TO "doadmin" WITH {options}')
    assert [statement for where, statement in statements if where == "orders"][1:] == [
        f'REASSIGN OWNED BY "old" TO {owner}',
        'DROP OWNED BY "old"',
    ]


def test_the_role_for_it_is_made_once_and_dropped_when_it_owns_nothing() -> None:
    owner = "cenote_deleted_user_16402"
    seen = replace(roles(old=Role(16402, owns=True)), owners=frozenset({owner}), empty=(owner,))
    [drop] = dropped_roles.plan(WANTED, seen)
    assert drop.name == "old"
    assert not any(statement.startswith("CREATE ROLE") for _, statement in sql(drop))
    [later] = dropped_roles.plan(WANTED, replace(seen, names=(), roles={}))
    assert sql(later)[0][1] == f'DROP ROLE IF EXISTS "{owner}"'


def test_databases_of_a_user_go_to_the_administrator() -> None:
    [drop] = dropped_roles.plan(WANTED, roles(old=Role(1, databases=("theirs",))))
    assert sql(drop)[0] == ("postgres", 'ALTER DATABASE "theirs" OWNER TO "doadmin"')
    assert not any("CREATE ROLE" in statement for _, statement in sql(drop))


def test_a_database_without_connections_is_opened_for_the_moment_and_closed_also_after_a_crash() -> None:
    seen = replace(roles(old=Role(1, places=("shut",))), closed=frozenset({"shut"}))
    [drop] = dropped_roles.plan(WANTED, seen)
    statements = [statement for _, statement in sql(drop)]
    opening = statements.index('ALTER DATABASE "shut" ALLOW_CONNECTIONS true')
    closing = statements.index('ALTER DATABASE "shut" ALLOW_CONNECTIONS false')
    assert opening < statements.index('DROP OWNED BY "old"') < closing
    [left] = dropped_roles.plan(WANTED, dropped_roles.Seen(opened=("shut",)))
    assert sql(left)[0][1] == 'ALTER DATABASE "shut" ALLOW_CONNECTIONS false'
    [gone] = dropped_roles.plan(WANTED, dropped_roles.Seen(lost=("shut",)))
    assert sql(gone) == [("postgres", "DELETE FROM cenote.made WHERE kind = 'opened' AND name = 'shut'")]


def test_a_role_that_is_gone_already_is_only_forgotten() -> None:
    [drop] = dropped_roles.plan(WANTED, dropped_roles.Seen(("old",)))
    assert len(sql(drop)) == 4


@pytest.mark.parametrize("name", ['"; DROP TABLE x; --', "'", "a b", "ä", 'x"'])
def test_names_in_the_sql_of_drops_are_quoted(name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    role = Role(1, owns=True, databases=(name,), places=(name,), subscriptions=((name, name),))
    drops = [
        *lock_out.plan(WANTED, lock_out.Seen((name,), (name,))),
        *dropped_databases.plan(WANTED, dropped_databases.Seen((name,), {name: Held(True, (), (name,))})),
        *dropped_roles.plan(WANTED, dropped_roles.Seen((name,), {name: role})),
    ]
    statements = [statement for drop in drops for _, statement in sql(drop)]
    for start in ("ALTER ROLE", "ALTER DATABASE", "DROP SUBSCRIPTION", "REASSIGN OWNED BY", "DROP OWNED BY"):
        found = [one for one in statements if one.startswith(start)]
        assert found
        assert all(one.startswith(f"{start} {quoted}") for one in found)
