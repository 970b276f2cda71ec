"""Who must not get at what: passwords, keys, other users' data, other clusters, the machine."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from cenote import rules
from cenote.host import processes
from cenote.model.records import Access, Cluster, Pool
from cenote.model.topology import writer_or_first
from tests.support import records
from tests.support.agent import ask, refusal
from tests.support.lab import Lab, Share

NOBODY = 65534
POOL = Pool(name="backend-pool", database="defaultdb", size=2, user="doadmin")
INBOUND = Pool(name="inbound", database="defaultdb", size=2)


async def two_users(lab: Lab) -> Cluster:
    """A cluster whose administrator has a table, and with another user besides."""
    plain = lab.new_cluster()
    users = (*plain.users, records.user("app", "another-password"))
    cluster = replace(plain, users=users, pools=(POOL, INBOUND))
    await lab.converge(cluster)
    await ask(cluster, "CREATE TABLE mine AS SELECT 42 AS value")
    return cluster


def secrets_of(lab: Lab, cluster: Cluster) -> list[bytes]:
    """Passwords, what proves them, and private keys; of a key the middle line, which nothing else has."""
    keys = [
        lab.sealer.open(cluster.authority.sealed_key).reveal(),
        lab.wanted(cluster).cluster_paths.certificate.read_text(),
    ]
    lines = [re.findall(r"PRIVATE KEY-----\n.+\n(.+)\n", key)[0] for key in keys]
    verifiers = [user.verifier.rpartition("$")[2] for user in cluster.users]
    return [text.encode() for text in (records.PASSWORD, "another-password", *lines, *verifiers)]


def test_no_secret_is_in_a_file_that_others_may_read_nor_in_any_log(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await two_users(lab)
        changed = replace(cluster, users=(records.user("doadmin", "third-password", cluster.users[0].role),))
        await lab.converge(changed)
        secrets = [*secrets_of(lab, cluster), *secrets_of(lab, changed), b"third-password"]
        found = set()
        for path in (path for path in lab.folder.rglob("*") if path.is_file() and not path.is_symlink()):
            content = path.read_bytes()
            if any(secret in content for secret in secrets):
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
                assert path.suffix != ".log", path
                found.add(path.name)
        assert {"userlist.txt", "server.pem"} <= found
        log = lab.wanted(cluster).server.log.read_text()
        assert "SCRAM-SHA-256" not in log

    labs(scenario)


def test_no_plain_password_reaches_the_machine_at_all(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        await two_users(lab)
        for path in (path for path in lab.folder.rglob("*") if path.is_file() and not path.is_symlink()):
            content = path.read_bytes()
            assert records.PASSWORD.encode() not in content, path
            assert b"another-password" not in content, path

    labs(scenario)


def test_no_secret_is_in_an_argument_or_the_environment_of_a_server(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await two_users(lab)
        secrets = secrets_of(lab, cluster)
        seen = 0
        for process in processes.below(lab.folder):
            with contextlib.suppress(OSError):  # it has ended
                shown = shown_of(process.pid)
                seen += 1
                assert not any(secret in shown for secret in secrets)
        assert seen > 2

    labs(scenario)


def test_nobody_else_on_the_machine_gets_into_a_nodes_folders(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await two_users(lab)
        paths = lab.wanted(cluster).cluster_paths
        for folder in (paths.root, paths.certificate.parent, paths.pooler, paths.sockets):
            assert stat.S_IMODE(folder.stat().st_mode) & 0o067 == 0
        if os.geteuid() != 0:
            pytest.skip("only root can be somebody else")
        assert lab.account.gid == paths.root.stat().st_gid
        node = writer_or_first(cluster)
        for command in (
            ["ls", str(paths.root)],
            ["cat", str(paths.certificate)],
            ["psql", f"host={paths.sockets} port={node.port} user=postgres", "-c", "SELECT 1"],
            ["psql", f"host={paths.sockets} port={node.pool_port} user=cenote dbname=pgbouncer"],
        ):
            assert "denied" in as_nobody(command)

    labs(scenario)


def shown_of(pid: int) -> bytes:
    """What everybody on the machine, or its owner, may read of a process."""
    return b"".join(Path(f"/proc/{pid}", name).read_bytes() for name in ("cmdline", "environ"))


def as_nobody(command: list[str]) -> str:
    """Run a command as a user without rights, and return what it complains of."""
    done = subprocess.run(
        command, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, check=False
    )
    return done.stderr


@pytest.mark.parametrize("door", ["server", "pool"])
def test_a_user_gets_neither_at_others_tables_nor_at_what_is_ours(labs: Share, door: str) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await two_users(lab)
        pool = None if door == "server" else INBOUND.name
        ask_as_app = functools.partial(ask, user="app", password="another-password", pool=pool)
        assert await ask_as_app(cluster, "SELECT current_user") == "app"
        for query in (
            "SELECT * FROM mine",
            "SELECT rolpassword FROM pg_authid",
            "SET ROLE doadmin",
            "SET SESSION AUTHORIZATION doadmin",
            "ALTER ROLE doadmin PASSWORD 'x'",
            "CREATE ROLE another",
            "CREATE TABLE public.here ()",
        ):
            told = await refusal(cluster, query, user="app", password="another-password", pool=pool)
            assert re.search("permission denied|must be", told), query

    labs(scenario)


def test_a_user_gets_into_no_pool_of_another_user(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await two_users(lab)
        told = await refusal(cluster, user="app", password="another-password", pool=POOL.name)
        assert "login rejected" in told

    labs(scenario)


def test_nobody_gets_in_from_the_network_as_one_of_us(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await two_users(lab)
        assert "pg_hba.conf rejects" in await refusal(cluster, user="postgres", pool=None)
        for user in ("postgres", "cenote", "pgbouncer"):
            for pool in (POOL.name, INBOUND.name, "pgbouncer"):
                for password in (records.PASSWORD, ""):
                    told = await refusal(cluster, user=user, password=password, pool=pool)
                    assert re.search("authentication failed|login rejected|no password", told), told
        for user in ("doadmin", "app"):
            told = await refusal(cluster, "SHOW VERSION", user=user, pool="pgbouncer")
            assert re.search("not allowed|authentication failed", told), told
        for database in ("template0", "template1"):
            assert "not currently accepting" in await refusal(cluster, pool=None, database=database)

    labs(scenario)


@pytest.mark.parametrize(
    "role", ["pg_execute_server_program", "pg_read_server_files", "pg_write_server_files", "postgres"]
)
def test_the_administrator_of_a_cluster_cannot_become_one_of_the_machine(labs: Share, role: str) -> None:
    """All servers of a host run as one account: a program of one cluster would be at home in all of them."""

    async def scenario(lab: Lab) -> None:
        cluster = await two_users(lab)
        told = await refusal(cluster, f"GRANT {role} TO doadmin", pool=None)
        assert re.search("must be superuser|permission denied|must have admin option", told), told

    labs(scenario)


def test_the_administrator_gets_at_no_file_and_no_program_of_the_machine(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await two_users(lab)
        for query in (
            "COPY mine TO PROGRAM 'cat'",
            "COPY mine TO '/tmp/anything'",
            "COPY mine FROM '/etc/passwd'",
            "SELECT pg_read_file('/etc/passwd')",
            "SELECT pg_ls_dir('/')",
            "SELECT lo_import('/etc/passwd')",
            "ALTER SYSTEM SET archive_command = 'true'",
            "CREATE ROLE another SUPERUSER",
            "ALTER ROLE doadmin SUPERUSER",
            "ALTER ROLE postgres PASSWORD 'x'",
            "CREATE EXTENSION file_fdw",
            "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'libc', 'getpid'",
            "SET session_preload_libraries = 'anything'",
        ):
            assert re.search("permission denied|must be", await refusal(cluster, query, pool=None)), query

    labs(scenario)


@pytest.mark.parametrize("found_by", ["being in the schema public", "a search_path of the database's own"])
def test_nothing_that_a_customer_has_made_is_run_as_superuser(labs: Share, found_by: str) -> None:
    """A function for the very types of a call goes before PostgreSQL's own, also from the end of the path."""

    async def scenario(lab: Lab) -> None:
        cluster = await two_users(lab)
        await ask(
            cluster,
            "CREATE FUNCTION public.format(text, name) RETURNS text LANGUAGE plpgsql AS $$ BEGIN"
            " IF current_user = 'postgres' THEN ALTER ROLE doadmin SUPERUSER; END IF;"
            " RETURN pg_catalog.format($1, $2); END $$",
        )
        await ask(
            cluster,
            "CREATE FUNCTION public.differs(oid, oid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
            " IF current_user = 'postgres' THEN ALTER ROLE doadmin SUPERUSER; END IF;"
            " RETURN $1 OPERATOR(pg_catalog.<>) $2; END $$",
        )
        await ask(
            cluster,
            "CREATE OPERATOR public.<> (LEFTARG = oid, RIGHTARG = oid, FUNCTION = public.differs)",
        )
        if found_by != "being in the schema public":
            await ask(cluster, "ALTER DATABASE defaultdb SET search_path = public, pg_catalog")
        reading = rules.change_user(
            cluster, "app", allow_replication=None, access=Access.READONLY, sets_access=True
        )
        await lab.converge(reading)
        assert await ask(cluster, "SELECT rolsuper FROM pg_roles WHERE rolname = 'doadmin'") is False
        assert await ask(cluster, "SELECT has_table_privilege('app', 'public.mine', 'SELECT')") is True

    labs(scenario)


def test_a_role_that_a_database_sets_for_everybody_does_not_bind_us(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await two_users(lab)
        await ask(cluster, "ALTER DATABASE defaultdb SET role = 'doadmin'")
        reading = rules.change_user(
            cluster, "app", allow_replication=None, access=Access.READONLY, sets_access=True
        )
        await lab.converge(reading)
        assert await ask(cluster, "SELECT has_table_privilege('app', 'public.mine', 'SELECT')") is True
        await lab.converge(replace(cluster, users=cluster.users[:1]))
        assert await ask(cluster, "SELECT count(*) FROM pg_roles WHERE rolname = 'app'") == 0

    labs(scenario)


def test_a_user_of_one_cluster_is_a_stranger_to_another(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        mine = await two_users(lab)
        other = replace(lab.new_cluster(), pools=(POOL,))
        other = replace(other, users=(records.user("doadmin", "third-password", other.users[0].role),))
        await lab.converge(other)
        assert await ask(other, password="third-password") == 42
        for pool in (None, POOL.name):
            assert "authentication failed" in await refusal(other, pool=pool)
            told = await refusal(other, user="app", password="another-password", pool=pool)
            assert re.search("authentication failed|login rejected", told)
        assert await ask(mine) == 42

    labs(scenario)
