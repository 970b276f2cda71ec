"""What is planned for the roles and databases that are seen on a server."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from cenote.engine.plan import databases, roles
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.ledger import State
from cenote.model.changes import Change, Sql
from cenote.model.records import Database, User
from cenote.rules import sql_changes
from tests.support.wanted import CLUSTER, WANTED, user

SET_UP = roles.Role("v", can_login=True, superuser=False, fits_admin=True, oid=16384)


def applied(*users: User, oid: int = 16384) -> State:
    """The ledger once these users were brought about."""
    values = {}
    for one in users:
        values[one.name, "oid"] = f"{oid}.{one.number}"
        values[one.name, "login"] = sql_changes.login_of(one)
        values[one.name, "replication"] = f"{one.allow_replication}.{one.number}"
    return State(values)


ROLES = roles.Seen({"doadmin": SET_UP, "app": SET_UP}, frozenset({"doadmin", "app"}), applied(*CLUSTER.users))


def sql(changes: list[Change]) -> list[str]:
    found = []
    for change in changes:
        assert isinstance(change, Sql)
        found += [statement.as_string(None) for statement in change.statements]
    return found


def test_roles_that_are_as_wanted_are_left_alone() -> None:
    assert list(roles.plan(WANTED, ROLES)) == []


def test_a_role_is_made_and_noted_in_one_transaction() -> None:
    seen = roles.Seen({"doadmin": SET_UP}, frozenset({"doadmin"}), applied(CLUSTER.users[0]))
    [change] = roles.plan(WANTED, seen)
    assert isinstance(change, Sql)
    assert change.atomic
    create, *notes = sql([change])
    assert create.startswith('CREATE ROLE "app" LOGIN NOSUPERUSER PASSWORD ')
    assert all("cenote.made" in note for note in notes)
    assert any("(SELECT oid FROM pg_roles WHERE rolname = 'app') || '.0'" in note for note in notes)
    assert notes[-1] == "INSERT INTO cenote.made VALUES ('role', 'app') ON CONFLICT DO NOTHING"


CHANGED_BY_SQL = {
    "password": replace(SET_UP, verifier="another"),
    "no password": replace(SET_UP, verifier=None),
    "no login": replace(SET_UP, can_login=False),
    "expired": replace(SET_UP, expires_in=-1.0),
}


@pytest.mark.parametrize("how", CHANGED_BY_SQL)
def test_what_sql_has_changed_of_a_role_stays_until_the_record_changes(how: str) -> None:
    seen = replace(ROLES, roles={"doadmin": SET_UP, "app": CHANGED_BY_SQL[how]})
    assert list(roles.plan(WANTED, seen)) == []
    assert list(roles.plan(with_users(allow_replication=None), seen)) == []
    [change] = roles.plan(with_users(verifier="new"), seen)
    alter = sql([change])[0]
    assert alter.startswith("ALTER ROLE \"app\" LOGIN NOSUPERUSER PASSWORD 'new'")
    assert alter.endswith("VALID UNTIL 'infinity'") is (how == "expired")


@pytest.mark.parametrize("how", CHANGED_BY_SQL)
def test_a_role_of_which_a_former_version_noted_nothing_is_as_the_record_says(how: str) -> None:
    seen = replace(ROLES, roles={"doadmin": SET_UP, "app": CHANGED_BY_SQL[how]}, state=State())
    altered = [one for one in sql(list(roles.plan(WANTED, seen))) if "cenote.made" not in one]
    assert len(altered) == 1
    assert altered[0].startswith('ALTER ROLE "app" LOGIN NOSUPERUSER PASSWORD ')
    as_wanted = sql(list(roles.plan(WANTED, replace(ROLES, state=State()))))
    assert as_wanted
    assert all("cenote.made" in statement for statement in as_wanted)


def test_a_superuser_is_made_none_again() -> None:
    seen = replace(ROLES, roles={"doadmin": SET_UP, "app": replace(SET_UP, superuser=True)})
    assert sql(list(roles.plan(WANTED, seen))) == ['ALTER ROLE "app" NOSUPERUSER']


def test_attributes_that_the_administrator_has_given_up_come_back_with_a_new_password() -> None:
    weak = replace(ROLES, roles={"doadmin": replace(SET_UP, fits_admin=False), "app": SET_UP})
    assert list(roles.plan(WANTED, weak)) == []
    users = (msgspec.structs.replace(CLUSTER.users[0], verifier="new"), CLUSTER.users[1])
    wanted = replace(WANTED, cluster=msgspec.structs.replace(CLUSTER, users=users))
    assert "CREATEROLE" in sql(list(roles.plan(wanted, weak)))[0]


def test_a_role_that_sql_has_dropped_is_made_again_only_when_the_api_is_asked_for_it() -> None:
    gone = replace(ROLES, roles={"doadmin": SET_UP})
    assert list(roles.plan(WANTED, gone)) == []
    assert list(roles.plan(with_users(verifier="new"), gone)) == []
    create, *_ = sql(list(roles.plan(with_users(verifier="new", number=1), gone)))
    assert create.startswith("CREATE ROLE \"app\" LOGIN NOSUPERUSER PASSWORD 'new'")


def test_a_role_that_sql_has_made_anew_is_noted_and_left_as_it_is() -> None:
    anew = replace(ROLES, roles=ROLES.roles | {"app": replace(SET_UP, oid=17000, verifier="theirs")})
    statements = sql(list(roles.plan(WANTED, anew)))
    assert all("cenote.made" in statement for statement in statements)
    assert any("kind = 'grant'" in statement for statement in statements)


@pytest.mark.parametrize(("version", "granted"), [("15", False), ("16", True), ("18", True)])
def test_the_administrator_may_grant_new_roles_where_that_takes_a_grant(version: str, granted: bool) -> None:
    wanted = replace(WANTED, cluster=msgspec.structs.replace(CLUSTER, version=version))
    seen = roles.Seen({"doadmin": SET_UP}, frozenset({"doadmin"}), applied(CLUSTER.users[0]))
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
    assert sql(list(roles.plan(with_users(allow_replication=True), ROLES)))[0] == (
        'ALTER ROLE "app" REPLICATION'
    )
    replicating = replace(ROLES, roles=ROLES.roles | {"app": replace(SET_UP, replication=True)})
    alter, end, *_ = sql(list(roles.plan(with_users(allow_replication=False), replicating)))
    assert alter == 'ALTER ROLE "app" NOREPLICATION'
    assert end.startswith("SELECT pg_terminate_backend(pid)")
    assert end.endswith("usename = 'app'")


def test_replication_of_which_nobody_has_said_anything_is_left_alone() -> None:
    replicating = replace(ROLES, roles=ROLES.roles | {"app": replace(SET_UP, replication=True)})
    assert list(roles.plan(WANTED, replicating)) == []


def test_replication_that_sql_has_taken_away_is_given_again_when_the_api_is_asked_again() -> None:
    wanted = with_users(allow_replication=True)
    taken = replace(ROLES, state=applied(*wanted.cluster.users))
    assert list(roles.plan(wanted, taken)) == []
    again = with_users(allow_replication=True, number=1)
    assert sql(list(roles.plan(again, taken)))[0] == 'ALTER ROLE "app" REPLICATION'


FOUND = databases.Found("doadmin", oid=16500)
DATABASES = databases.Seen(
    {"defaultdb": FOUND, "orders": FOUND, "postgres": databases.Found("postgres", oid=5)},
    frozenset({"defaultdb", "orders"}),
    State({("defaultdb", "oid"): "16500.0", ("orders", "oid"): "16500.0"}),
)


def with_database(**changed: databases.Found | None) -> dict[str, databases.Found]:
    found = DATABASES.databases | changed
    return {name: one for name, one in found.items() if one is not None}


def with_orders(**changes: object) -> NodeContext:
    """What is wanted, with these changes to the database ``orders``."""
    orders = msgspec.structs.replace(Database(name="orders"), **changes)
    return replace(
        WANTED, cluster=msgspec.structs.replace(CLUSTER, databases=(Database(name="defaultdb"), orders))
    )


def test_databases_that_are_as_wanted_are_left_alone() -> None:
    assert list(databases.plan(WANTED, DATABASES)) == []


def test_a_database_is_noted_before_it_is_made_and_its_oid_after_that() -> None:
    seen = databases.Seen(with_database(orders=None), DATABASES.made - {"orders"}, State())
    statements = [one for one in sql(list(databases.plan(WANTED, seen))) if "defaultdb" not in one]
    assert statements[:2] == [
        "INSERT INTO cenote.made VALUES ('database', 'orders') ON CONFLICT DO NOTHING",
        'CREATE DATABASE "orders" OWNER "doadmin"',
    ]
    assert any("(SELECT oid FROM pg_database WHERE datname = 'orders')" in one for one in statements[2:])


def test_a_creation_that_was_cut_short_is_made_again() -> None:
    seen = databases.Seen(with_database(orders=None), DATABASES.made, State())
    assert 'CREATE DATABASE "orders" OWNER "doadmin"' in sql(list(databases.plan(WANTED, seen)))


def test_a_database_that_sql_has_dropped_is_made_again_only_when_the_api_is_asked_for_it() -> None:
    gone = replace(DATABASES, databases=with_database(orders=None))
    assert list(databases.plan(WANTED, gone)) == []
    assert sql(list(databases.plan(with_orders(number=1), gone)))[0].startswith('CREATE DATABASE "orders"')


def test_a_database_that_sql_has_made_anew_gets_its_grants_again() -> None:
    anew = replace(DATABASES, databases=with_database(orders=databases.Found("app", oid=17000)))
    statements = sql(list(databases.plan(WANTED, anew)))
    assert all("cenote.made" in statement for statement in statements)
    assert any("kind = 'grant'" in statement for statement in statements)


def test_a_database_is_given_to_its_owner_once_and_stays_where_sql_has_put_it_then() -> None:
    wanted = with_orders(owner="app")
    assert sql(list(databases.plan(wanted, DATABASES)))[0] == 'ALTER DATABASE "orders" OWNER TO "app"'
    given = replace(DATABASES, state=State(DATABASES.state.values | {("orders", "owner"): "app.0"}))
    assert list(databases.plan(wanted, given)) == []
    assert (
        list(
            databases.plan(
                WANTED, replace(DATABASES, databases=with_database(orders=databases.Found("app", oid=16500)))
            )
        )
        == []
    )


def test_a_database_that_we_did_not_make_is_never_dropped() -> None:
    seen = replace(DATABASES, databases=with_database(theirs=databases.Found("app", oid=17001)))
    assert list(databases.plan(WANTED, seen)) == []


@pytest.mark.parametrize("name", ['"; DROP TABLE x; --', "'", "a b", "ä", "select", 'x"'])
def test_names_in_sql_are_quoted(name: str) -> None:
    cluster = msgspec.structs.replace(
        CLUSTER, users=(*CLUSTER.users, user(name)), databases=(*CLUSTER.databases, Database(name=name))
    )
    wanted = replace(WANTED, cluster=cluster)
    quoted = '"' + name.replace('"', '""') + '"'
    literal = "'" + name.replace("'", "''") + "'"
    create, *_, note = sql(list(roles.plan(wanted, ROLES)))
    assert create.startswith(f"CREATE ROLE {quoted} LOGIN")
    assert literal in note
    assert sql(list(databases.plan(wanted, DATABASES)))[1] == f'CREATE DATABASE {quoted} OWNER "doadmin"'
