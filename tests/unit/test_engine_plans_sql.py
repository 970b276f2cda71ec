"""What is planned for the roles and databases that are seen on a server."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from cenote.engine.plan import databases, roles
from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Change, Sql
from cenote.model.records import Database
from tests.support.wanted import CLUSTER, WANTED, user

SET_UP = roles.Role("v", can_login=True, superuser=False, fits_admin=True)
ROLES = roles.Seen({"doadmin": SET_UP, "app": SET_UP}, frozenset({"doadmin", "app"}))


def sql(changes: list[Change]) -> list[str]:
    found = []
    for change in changes:
        assert isinstance(change, Sql)
        found += [statement.as_string(None) for statement in change.statements]
    return found


def test_roles_that_are_as_wanted_are_left_alone() -> None:
    assert list(roles.plan(WANTED, ROLES)) == []


def test_a_missing_role_is_made_and_noted_in_one_transaction() -> None:
    seen = replace(ROLES, roles={"doadmin": SET_UP}, made=frozenset({"doadmin"}))
    [change] = roles.plan(WANTED, seen)
    assert isinstance(change, Sql)
    assert change.atomic
    create, note = sql([change])
    assert create.startswith('CREATE ROLE "app" LOGIN NOSUPERUSER PASSWORD ')
    assert note.startswith("INSERT INTO cenote.made")


@pytest.mark.parametrize(
    "role",
    [
        replace(SET_UP, verifier="another"),
        replace(SET_UP, verifier=None),
        replace(SET_UP, can_login=False),
        replace(SET_UP, superuser=True),
    ],
    ids=["password", "no password", "no login", "superuser"],
)
def test_a_role_that_somebody_has_changed_is_put_right(role: roles.Role) -> None:
    [change] = roles.plan(WANTED, replace(ROLES, roles={"doadmin": SET_UP, "app": role}))
    assert sql([change])[0].startswith('ALTER ROLE "app" LOGIN NOSUPERUSER PASSWORD ')


def test_the_administrator_gets_its_rights_back() -> None:
    weak = replace(SET_UP, fits_admin=False)
    [change] = roles.plan(WANTED, replace(ROLES, roles={"doadmin": weak, "app": SET_UP}))
    assert '"doadmin"' in sql([change])[0]
    assert "CREATEROLE" in sql([change])[0]


@pytest.mark.parametrize(("version", "granted"), [("15", False), ("16", True), ("18", True)])
def test_the_administrator_may_grant_new_roles_where_that_takes_a_grant(version: str, granted: bool) -> None:
    wanted = replace(WANTED, cluster=msgspec.structs.replace(CLUSTER, version=version))
    seen = replace(ROLES, roles={"doadmin": SET_UP}, made=frozenset({"doadmin"}))
    grant = 'GRANT "app" TO "doadmin" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE'
    assert (grant in sql(list(roles.plan(wanted, seen)))) is granted


def test_the_administrator_gets_a_right_over_a_role_back_that_was_taken_away() -> None:
    wanted = replace(WANTED, cluster=msgspec.structs.replace(CLUSTER, version="17"))
    lost = replace(SET_UP, administered=False)
    [change] = roles.plan(wanted, replace(ROLES, roles={"doadmin": SET_UP, "app": lost}))
    assert sql([change])[0].startswith('GRANT "app" TO "doadmin"')


def test_a_role_that_we_did_not_make_is_never_touched() -> None:
    theirs = roles.Role(None, can_login=False, superuser=False, fits_admin=False)
    seen = replace(ROLES, roles=ROLES.roles | {"theirs": theirs, "postgres": SET_UP})
    assert list(roles.plan(WANTED, seen)) == []


def test_a_role_that_is_not_in_the_record_is_not_dropped_by_the_pass_itself() -> None:
    seen = replace(ROLES, roles=ROLES.roles | {"old": SET_UP}, made=ROLES.made | {"old"})
    assert list(roles.plan(WANTED, seen)) == []


def with_users(**changes: object) -> NodeContext:
    """What is wanted, with these changes to the user ``app``."""
    users = tuple(
        msgspec.structs.replace(one, **changes) if one.name == "app" else one for one in CLUSTER.users
    )
    return replace(WANTED, cluster=msgspec.structs.replace(CLUSTER, users=users))


def test_replication_is_given_and_taken_and_whoever_uses_it_then_is_ended() -> None:
    assert sql(list(roles.plan(with_users(allow_replication=True), ROLES))) == [
        'ALTER ROLE "app" REPLICATION'
    ]
    replicating = replace(ROLES, roles=ROLES.roles | {"app": replace(SET_UP, replication=True)})
    alter, end = sql(list(roles.plan(with_users(allow_replication=False), replicating)))
    assert alter == 'ALTER ROLE "app" NOREPLICATION'
    assert end.startswith("SELECT pg_terminate_backend(pid)")
    assert end.endswith("usename = 'app'")


def test_replication_of_which_nobody_has_said_anything_is_left_alone() -> None:
    replicating = replace(ROLES, roles=ROLES.roles | {"app": replace(SET_UP, replication=True)})
    assert list(roles.plan(WANTED, replicating)) == []
    assert list(roles.plan(with_users(allow_replication=True), replicating)) == []


DATABASES = databases.Seen(
    {"defaultdb": "doadmin", "orders": "doadmin", "postgres": "postgres", "template1": "postgres"},
    frozenset({"defaultdb", "orders"}),
)


def owners(**changed: str | None) -> dict[str, str]:
    return {name: owner for name, owner in (DATABASES.owners | changed).items() if owner is not None}


def test_databases_that_are_as_wanted_are_left_alone() -> None:
    assert list(databases.plan(WANTED, DATABASES)) == []


def test_a_missing_database_is_noted_before_it_is_made() -> None:
    seen = databases.Seen(owners(orders=None), DATABASES.made - {"orders"})
    statements = sql(list(databases.plan(WANTED, seen)))
    assert statements == [
        "INSERT INTO cenote.made VALUES ('database', 'orders')",
        'CREATE DATABASE "orders" OWNER "doadmin"',
    ]


def test_a_database_with_an_owner_is_given_to_it_and_one_without_is_left_where_sql_has_put_it() -> None:
    owned = (Database(name="defaultdb"), Database(name="orders", owner="app"))
    wanted = replace(WANTED, cluster=msgspec.structs.replace(CLUSTER, databases=owned))
    seen = replace(DATABASES, owners=owners(defaultdb="app"))
    assert sql(list(databases.plan(wanted, seen))) == ['ALTER DATABASE "orders" OWNER TO "app"']
    assert list(databases.plan(wanted, replace(seen, owners=owners(orders="app")))) == []


def test_a_database_that_we_did_not_make_is_never_dropped() -> None:
    seen = databases.Seen(owners(theirs="app"), DATABASES.made)
    assert list(databases.plan(WANTED, seen)) == []


@pytest.mark.parametrize("name", ['"; DROP TABLE x; --', "'", "a b", "ä", "select", 'x"'])
def test_names_in_sql_are_quoted(name: str) -> None:
    cluster = msgspec.structs.replace(
        CLUSTER, users=(*CLUSTER.users, user(name)), databases=(*CLUSTER.databases, Database(name=name))
    )
    wanted = replace(WANTED, cluster=cluster)
    quoted = '"' + name.replace('"', '""') + '"'
    literal = "'" + name.replace("'", "''") + "'"
    create, note = sql(list(roles.plan(wanted, ROLES)))
    assert create.startswith(f"CREATE ROLE {quoted} LOGIN")
    assert literal in note
    assert sql(list(databases.plan(wanted, DATABASES)))[1] == f'CREATE DATABASE {quoted} OWNER "doadmin"'
