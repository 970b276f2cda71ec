"""What is planned for what is seen, without a machine."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from cenote.changes import (
    Change,
    CopyTemplate,
    EndProcesses,
    IssueCertificate,
    MakeDirectory,
    Reload,
    Remove,
    Sql,
    Start,
    Stop,
    Wait,
    WriteFile,
)
from cenote.domain import CertificateAuthority, Cluster, Database, Node, Pool, User, UserRole
from cenote.engine import PARTS, databases, folders, loaded, pooler, removal, roles, server, tls
from cenote.engine.wanted import Site, Wanted
from cenote.host.processes import Process
from cenote.layout import Layout

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PROCESS = Process(pid=4711, started=1)
CERTIFICATE = b"a certificate and its key"


def user(name: str, verifier: str = "v") -> User:
    role = UserRole.PRIMARY if name == "doadmin" else UserRole.NORMAL
    return User(name=name, verifier=verifier, sealed_password="", role=role)


CLUSTER = Cluster(
    id=uuid4(),
    name="backend",
    version="15",
    size="db-s-1vcpu-1gb",
    region="nyc1",
    created_at=NOW,
    storage_mib=1,
    project_id=uuid4(),
    private_network_id=uuid4(),
    authority=CertificateAuthority(certificate="", sealed_key=""),
    nodes=(Node(name="n1", host="here", port=25060, pool_port=25061),),
    users=(user("doadmin"), user("app")),
    databases=(Database(name="defaultdb"), Database(name="orders")),
    pools=(Pool(name="backend-pool", database="orders", size=3, user="app"),),
    server_names=("localhost",),
)
SITE = Site(
    layout=Layout(Path("/data")),
    listen=("127.0.0.1",),
    service_user="root",
    server_user="postgres",
    binaries={"15": Path("/usr/lib/postgresql/15/bin")},
    pgbouncer=Path("/usr/sbin/pgbouncer"),
    memory_mib=8192,
)
WANTED = Wanted(CLUSTER, CLUSTER.primary, SITE)


def until_wait(changes: list[Change]) -> list[Change]:
    """What would be done: a wait ends the pass."""
    done: list[Change] = []
    for change in changes:
        if isinstance(change, Wait):
            break
        done.append(change)
    return done


def kinds(changes: list[Change]) -> list[type[Change]]:
    return [type(change) for change in changes]


# -- The server


def contents_of(part_writes: list[Change]) -> dict[Path, bytes | None]:
    return {change.path: change.content for change in part_writes if isinstance(change, WriteFile)}


def server_nothing() -> server.Seen:
    return server.Seen(False, {}, CERTIFICATE, loaded.Loaded(None, None), b"")


def server_ready(wanted: Wanted = WANTED) -> server.Seen:
    first = list(server.plan(wanted, server_nothing()))
    [start] = [change for change in first if isinstance(change, Start)]
    found = loaded.Loaded(PROCESS, start.digest)
    return server.Seen(True, contents_of(first), CERTIFICATE, found, b"ready")


def test_a_server_is_made_from_the_template_configured_started_and_waited_for() -> None:
    changes = list(server.plan(WANTED, server_nothing()))
    assert kinds(changes)[0] is CopyTemplate
    assert kinds(changes)[-2:] == [Start, Wait]
    assert set(kinds(changes)[1:-2]) == {WriteFile}


def test_data_that_is_there_is_never_replaced() -> None:
    seen = replace(server_nothing(), has_data=True)
    assert CopyTemplate not in kinds(list(server.plan(WANTED, seen)))


def test_a_server_that_is_as_wanted_is_left_alone() -> None:
    assert list(server.plan(WANTED, server_ready())) == []


@pytest.mark.parametrize("state", [b"", b"starting", b"stopping", b"standby"])
def test_a_server_that_is_not_ready_is_waited_for(state: bytes) -> None:
    [change] = server.plan(WANTED, replace(server_ready(), state=state))
    assert isinstance(change, Wait)
    assert change.reason.startswith("PostgreSQL is ")


def test_a_server_that_has_not_read_its_files_is_told_to() -> None:
    stale = replace(server_ready(), loaded=loaded.Loaded(PROCESS, "another digest"))
    assert kinds(list(server.plan(WANTED, stale))) == [Reload]
    unknown = replace(server_ready(), loaded=loaded.Loaded(PROCESS, None))
    assert kinds(list(server.plan(WANTED, unknown))) == [Reload]


def test_a_renewed_certificate_is_read_by_a_reload() -> None:
    seen = replace(server_ready(), certificate=b"another")
    assert kinds(list(server.plan(WANTED, seen))) == [Reload]


def test_a_file_that_somebody_has_edited_is_written_and_read_again() -> None:
    edited = WANTED.paths.data / "pg_hba.conf"
    ready = server_ready()
    seen = replace(ready, files=ready.files | {edited: b"host all all all trust"})
    changes = list(server.plan(WANTED, seen))
    assert [getattr(change, "path", None) for change in changes] == [WANTED.server.stamp, edited, None]
    assert kinds(changes) == [WriteFile, WriteFile, Reload]


def test_an_edit_is_undone_for_good_also_when_the_work_is_broken_off_after_the_file() -> None:
    ready = server_ready()
    edited = replace(ready, files=dict.fromkeys(ready.files))
    stamp = next(iter(server.plan(WANTED, edited)))
    assert isinstance(stamp, WriteFile)
    assert stamp.path == WANTED.server.stamp
    # The next pass reads the stamp, which names the process and no configuration of ours.
    pid, started, digest = stamp.content.decode().split()
    assert (int(pid), int(started)) == (PROCESS.pid, PROCESS.started)
    seen = replace(ready, loaded=loaded.Loaded(PROCESS, digest))
    assert kinds(list(server.plan(WANTED, seen))) == [Reload]


def test_what_a_killed_server_has_left_at_work_is_ended_before_the_next_start() -> None:
    seen = replace(server_ready(), loaded=loaded.Loaded(None, None), orphans=True)
    changes = list(server.plan(WANTED, seen))
    assert kinds(changes) == [EndProcesses, Start, Wait]
    assert changes[0] == EndProcesses(WANTED.paths.data, "postgres")


def test_a_lock_file_that_names_somebody_else_goes_after_the_orphans_and_before_the_start() -> None:
    lock = WANTED.server.pid_file
    seen = replace(server_ready(), loaded=loaded.Loaded(None, None), orphans=True, strangers=(lock,))
    assert until_wait(list(server.plan(WANTED, seen)))[:2] == [
        EndProcesses(WANTED.paths.data, "postgres"),
        Remove(lock),
    ]


def test_nothing_is_started_on_a_port_that_somebody_else_has() -> None:
    down = loaded.Loaded(None, None)
    for changes, port in (
        (list(server.plan(WANTED, replace(server_ready(), loaded=down, port_taken=True))), 25060),
        (list(pooler.plan(WANTED, replace(pooler_ready(), loaded=down, port_taken=True))), 25061),
    ):
        assert until_wait(changes) == []
        assert isinstance(changes[0], Wait)
        assert f"another program listens on port {port}" in changes[0].reason


# -- The pooler


def pooler_nothing() -> pooler.Seen:
    return pooler.Seen({}, CERTIFICATE, loaded.Loaded(None, None), False)


def pooler_ready(wanted: Wanted = WANTED) -> pooler.Seen:
    first = list(pooler.plan(wanted, pooler_nothing()))
    [start] = [change for change in first if isinstance(change, Start)]
    return pooler.Seen(contents_of(first), CERTIFICATE, loaded.Loaded(PROCESS, start.digest), True)


def test_a_pooler_is_configured_started_and_waited_for() -> None:
    changes = list(pooler.plan(WANTED, pooler_nothing()))
    assert kinds(changes)[-2:] == [Start, Wait]
    assert set(kinds(changes)[:-2]) == {WriteFile}


def test_a_pooler_that_is_as_wanted_is_left_alone() -> None:
    assert list(pooler.plan(WANTED, pooler_ready())) == []


def test_another_pool_is_a_reload_and_no_restart() -> None:
    pools = (*CLUSTER.pools, Pool(name="another", database="defaultdb", size=1))
    wanted = replace(WANTED, cluster=msgspec.structs.replace(CLUSTER, pools=pools))
    changes = list(pooler.plan(wanted, pooler_ready()))
    assert set(kinds(changes)) == {WriteFile, Reload}
    assert [change.path.name for change in changes if isinstance(change, WriteFile)] == ["pgbouncer.ini"]


def test_another_password_is_a_line_of_the_userlist_and_a_reload() -> None:
    users = (user("doadmin"), user("app", "another"))
    wanted = replace(WANTED, cluster=msgspec.structs.replace(CLUSTER, users=users))
    changes = list(pooler.plan(wanted, pooler_ready()))
    assert [change.path.name for change in changes if isinstance(change, WriteFile)] == ["userlist.txt"]
    assert kinds(changes)[-1] is Reload


def test_a_pooler_that_has_not_opened_its_port_yet_is_waited_for() -> None:
    [change] = pooler.plan(WANTED, replace(pooler_ready(), listening=False))
    assert isinstance(change, Wait)


def test_a_pooler_that_came_up_without_its_port_is_started_again_once_that_is_free() -> None:
    deaf = replace(pooler_ready(), listening=False, deaf=True)
    assert until_wait(list(pooler.plan(WANTED, replace(deaf, port_taken=True)))) == []
    assert kinds(list(pooler.plan(WANTED, deaf)))[:3] == [Stop, Start, Wait]


# -- Roles and databases

SET_UP = roles.Role("v", can_login=True, superuser=False, fits_admin=True)
ROLES = roles.Seen({"doadmin": SET_UP, "app": SET_UP}, frozenset({"doadmin", "app"}), ("defaultdb", "orders"))


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


def test_a_role_that_we_did_not_make_is_never_touched() -> None:
    theirs = roles.Role(None, can_login=False, superuser=False, fits_admin=False)
    seen = replace(ROLES, roles=ROLES.roles | {"theirs": theirs, "postgres": SET_UP})
    assert list(roles.plan(WANTED, seen)) == []


def test_a_role_that_goes_hands_over_what_it_owns_in_every_database_and_is_forgotten_last() -> None:
    seen = replace(ROLES, roles=ROLES.roles | {"old": SET_UP}, made=ROLES.made | {"old"})
    changes = list(roles.plan(WANTED, seen))
    assert [change.database for change in changes if isinstance(change, Sql)][1:-1] == ["defaultdb", "orders"]
    statements = sql(changes)
    assert "NOLOGIN" in statements[0]
    assert statements[-2:] == [
        'DROP ROLE IF EXISTS "old"',
        "DELETE FROM cenote.made WHERE kind = 'role' AND name = 'old'",
    ]


def test_a_role_that_is_gone_already_is_only_forgotten() -> None:
    [change] = roles.plan(WANTED, replace(ROLES, made=ROLES.made | {"old"}))
    assert sql([change]) == [
        "DELETE FROM cenote.made WHERE kind = 'grant' AND split_part(name, '/', 1) = 'old'",
        'DROP ROLE IF EXISTS "old"',
        "DELETE FROM cenote.made WHERE kind = 'role' AND name = 'old'",
    ]


def with_users(**changes: object) -> Wanted:
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


def test_a_database_that_goes_is_forgotten_after_it_is_dropped() -> None:
    seen = databases.Seen(owners(old="doadmin"), DATABASES.made | {"old"})
    assert sql(list(databases.plan(WANTED, seen))) == [
        "DELETE FROM cenote.made WHERE kind = 'grant' AND split_part(name, '/', 2) = 'old'",
        'DROP DATABASE IF EXISTS "old" WITH (FORCE)',
        "DELETE FROM cenote.made WHERE kind = 'database' AND name = 'old'",
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


# -- Folders, certificate, removal


def test_folders_are_made_where_they_are_missing_or_open_to_others() -> None:
    assert kinds(list(folders.plan(WANTED, folders.Seen((None,) * 4)))) == [MakeDirectory] * 4
    assert list(folders.plan(WANTED, folders.Seen((0o700,) * 4))) == []
    [change] = folders.plan(WANTED, folders.Seen((0o700, 0o755, 0o700, 0o700)))
    assert change == MakeDirectory(WANTED.paths.pooler, 0o700)


@pytest.mark.parametrize(
    ("names", "days", "issued"),
    [
        ({"localhost"}, 31, False),
        ({"localhost"}, 29, True),
        ({"localhost", "gone.example.com"}, 300, True),
        (set(), 300, True),
    ],
    ids=["good", "expires soon", "other names", "none"],
)
def test_a_certificate_is_issued_when_it_is_not_good_any_more(
    names: set[str], days: int, issued: bool
) -> None:
    changes = list(tls.plan(WANTED, tls.Seen(frozenset(names), NOW + timedelta(days=days), NOW)))
    assert kinds(changes) == ([IssueCertificate] if issued else [])


def test_a_removal_stops_the_pooler_then_the_server_and_only_then_removes() -> None:
    changes = list(removal.plan(WANTED, removal.Seen((True, True), True)))
    assert kinds(changes) == [Stop, Stop, EndProcesses, Remove, Remove]
    stopped = [change.program.name for change in changes if isinstance(change, Stop)]
    assert stopped == ["PgBouncer", "PostgreSQL"]


def test_a_removal_of_nothing_is_nothing() -> None:
    assert list(removal.plan(WANTED, removal.Seen((False, False), False))) == []


def test_the_pooler_comes_after_all_that_it_needs() -> None:
    assert PARTS[0] is folders
    assert PARTS.index(databases) < PARTS.index(pooler)
    assert PARTS.index(tls) < PARTS.index(server) < PARTS.index(roles) < PARTS.index(databases)
