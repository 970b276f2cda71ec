"""The headings of docs/troubleshooting.md are what PostgreSQL, PgBouncer, the API and `cenote` really say."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest

from cenote.conf import pgbackrest
from cenote.model.paths import Layout
from cenote.model.record import Secret
from cenote.security import backup_file
from cenote.store.client import EtcdClient
from cenote.store.etcd_messages import EtcdOperation, TransactionRequest, delete, put
from cenote_client import Client
from tests.integration.test_serve_etcd import options, with_outside
from tests.support.folders import server_folder
from tests.support.outside import PASSWORD, Outside
from tests.support.pages import DOCS, ROOT
from tests.support.service import (
    CENOTE,
    Service,
    added_pool,
    clean_environment,
    online_cluster,
    run_cenote,
    service,
)
from tests.support.waiting import wait_until

PAGE = DOCS / "troubleshooting.md"
HEADINGS = re.findall(r"^### (.+)$", PAGE.read_text(), re.MULTILINE)


@dataclass
class Place:
    """A service with a cluster: its direct URI, that of a pool of the administrator, another user's login."""

    running: Service
    client: Client
    cluster: str
    direct: str
    pool: str
    app: str

    def as_app(self, uri: str) -> str:
        return re.sub(r"//[^@]*@", f"//{self.app}@", uri)

    def configure(self, **settings: int) -> None:
        body = {"config": {"cenote": settings}}
        self.client.request("PATCH", f"/v2/databases/{self.cluster}/config", json=body)

    def trust(self, *sources: str) -> None:
        rules = [{"type": "ip_addr", "value": source} for source in sources]
        self.client.request("PUT", f"/v2/databases/{self.cluster}/firewall", json={"rules": rules})


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    # With a stack of 4 MiB, PostgreSQL does not accept a max_stack_depth that is offered.
    command = ("prlimit", f"--stack={4 * 2**20}", CENOTE)
    with service(command=command) as running, running.client() as client:
        cluster = online_cluster(client, "backend")
        pool = added_pool(client, cluster["id"], "backend-pool")
        app = client.request("POST", f"/v2/databases/{cluster['id']}/users", json={"name": "app"})["user"]
        yield Place(
            running=running,
            client=client,
            cluster=cluster["id"],
            direct=cluster["connection"]["uri"],
            pool=pool["connection"]["uri"],
            app=f"app:{quote(app['password'], safe='')}",
        )


def psql(uri: str, *statements: str) -> str:
    """Return what psql complains of."""
    commands = [part for statement in statements or ("SELECT 1",) for part in ("-c", statement)]
    done = subprocess.run(
        ["psql", uri, "-X", *commands], capture_output=True, text=True, env=clean_environment(), check=False
    )
    return done.stderr


def without_tls(uri: str) -> str:
    return uri.replace("sslmode=require", "sslmode=disable")


def verifying(uri: str, authority: str) -> str:
    return uri.replace("sslmode=require", f"sslmode=verify-full&sslrootcert={authority}")


def from_elsewhere(place: Place, uri: str) -> str:
    """Return what somebody is told whose address is no trusted source."""
    place.trust("192.0.2.7")
    try:
        return psql(uri)
    finally:
        place.trust()
        wait_until(
            "the administrator may connect", 60, lambda: not psql(place.direct) and not psql(place.pool)
        )


def crowded(place: Place) -> str:
    with ExitStack() as stack:
        for _ in range(100):
            try:
                stack.enter_context(psycopg.connect(place.direct))
            except psycopg.OperationalError as refused:
                return str(refused)
    return ""


def waited(place: Place) -> str:
    place.configure(query_wait_timeout=1)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(psycopg.connect(place.pool)).execute("SELECT 1")
        return psql(place.pool)


def called(place: Place, *arguments: str, **variables: str) -> str:
    return run_cenote(*arguments, **(place.running.environment() | variables)).stderr


def served(place: Place, *options: str) -> str:
    done = subprocess.run(
        [CENOTE, "serve", *options],
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=False,
        timeout=60,
    )
    return done.stderr


def restore_cut_off(place: Place, folder: Path) -> str:
    (folder / "restoring").touch()
    return served(place, f"--data-dir={folder}", "--port=0")


def restored_over_another(folder: Path) -> str:
    (folder / "host.json").touch()
    return run_cenote("service", "restore", "service.cenote", f"--data-dir={folder}").stderr


def shown_with_another_passphrase(folder: Path) -> str:
    file, passphrase = folder / "service.cenote", folder / "passphrase"
    at = datetime.now(UTC)
    file.write_bytes(backup_file.encrypted(b"", Secret("that of the day"), cenote="1", made_at=at))
    passphrase.write_text("that of another day")
    passphrase.chmod(0o600)
    return run_cenote("service", "show", str(file), f"--passphrase-file={passphrase}").stderr


def curl(place: Place) -> str:
    if shutil.which("curl") is None:
        pytest.skip("needs curl, which make setup-tests installs")
    url = place.running.environment()["DIGITALOCEAN_API_URL"]
    return subprocess.run(
        ["curl", "-sS", url], capture_output=True, text=True, env=clean_environment(), check=False
    ).stderr


def without_etcd_password() -> str:
    with service() as running:
        running.end()
        Layout(running.data_dir).etcd_root_password.unlink()
        return running.run("serve", "--port=0").stderr


def beside_another(folder: Path, *more: str, identity: bool = False, cluster: bool = False) -> str:
    """Return what a service is told that shares an etcd with one named db-1, or with its own copy.

    With ``cluster``, the other one has a cluster, so that this may be it without its disk.
    """
    said = []

    def scenario(outside: Outside) -> None:
        environment = {"CENOTE_ETCD_PASSWORD": PASSWORD}
        with service(*options(outside), "--name=db-1", environment=environment) as running:
            if cluster:
                with running.client() as client:
                    online_cluster(client, "backend")
            if identity:
                shutil.copy(running.data_dir / "host.json", folder)
            arguments = ("serve", f"--data-dir={folder}", "--port=0", *options(outside), *more)
            said.append(run_cenote(*arguments, **environment).stderr)

    with_outside(scenario)
    return said[0]


def with_a_stranger() -> str:
    """Return what the doctor says of a service with the folder of a cluster that no record names."""
    with service() as running:
        running.end()
        data = running.data_dir / "clusters" / str(uuid4()) / "pg"
        data.mkdir(parents=True)
        (data / "PG_VERSION").write_text("15\n")
        running.start()
        wait_until("it is found", 60, lambda: "the store has neither" in running.cenote("doctor"))
        return running.cenote("doctor")


def newer_record(place: Place) -> str:
    layout = Layout(place.running.data_dir)
    key = "/cenote/v2/clusters/00000000-0000-4000-8000-000000000001"

    async def change(operation: EtcdOperation) -> None:
        password = Secret(layout.etcd_root_password.read_text().strip())
        client = EtcdClient(socket=layout.etcd_client_socket, username="root", password=password)
        await client.transact(TransactionRequest([], [operation], []))
        await client.close()

    asyncio.run(change(put(key, b'{"format":99}')))
    try:
        return called(place, "cluster", "list")
    finally:
        asyncio.run(change(delete(key)))
        wait_until("the list is back", 60, lambda: not called(place, "cluster", "list"))


def without_data() -> str:
    with service() as running:
        with running.client() as client:
            id = online_cluster(client, "backend")["id"]
        running.stop()
        data = running.data_dir / "clusters" / id / "pg"
        data.rename(data.with_name("elsewhere"))
        running.start()

        def reason() -> str:
            return running.run("cluster", "get", id).stdout

        wait_until("the reason is there", 60, lambda: "missing" in reason())
        return reason()


def archived_after_a_recovery(folder: Path) -> str:
    """Return what the archive script leaves for the agent where the repository has a newer mark."""
    program = folder / "pgbackrest"
    program.write_text("#!/bin/sh\necho 20260102T000000Z-00000002\n")
    script = folder / "archive"
    script.write_text(pgbackrest.archive_script(program, folder / "conf", "one", folder))
    for path in (program, script):
        path.chmod(0o700)
    subprocess.run([script, "pg_wal/000000010000000000000003"], cwd=folder, check=False)
    return (folder / pgbackrest.FAILED).read_text()


def after_a_move_that_no_record_knows() -> str:
    """Return what is said of a cluster whose node has the mark of one that was left."""
    with service() as running:
        with running.client() as client:
            id = online_cluster(client, "backend")["id"]
        running.stop()
        mark = running.data_dir / "clusters" / id / "given-up"
        mark.write_text("given up to node-2 on host db-2 at 2026-11-29 08:00:00 UTC\n")
        running.start()

        def reason() -> str:
            return running.run("cluster", "get", id).stdout

        wait_until("the reason is there", 60, lambda: "given up" in reason())
        assert "PostgreSQL" not in running.servers()
        said = reason()
        mark.unlink()
        wait_until("it is started again", 60, lambda: "PostgreSQL" in running.servers())
        return said


def beside_stopped_pooler(place: Place) -> str:
    """Return what somebody is told who takes an address away while PgBouncer does not answer."""
    place.trust("127.0.0.1", "192.0.2.7")
    pooler = place.running.servers()["PgBouncer"]
    os.kill(pooler, signal.SIGSTOP)
    try:
        [rule] = [
            rule
            for rule in place.client.databases.list_firewall_rules(place.cluster)["rules"]
            if rule["value"] == "192.0.2.7"
        ]
        return called(place, "firewall", "remove", "backend", rule["value"], "--yes")
    finally:
        os.kill(pooler, signal.SIGCONT)
        place.trust()


def beside_stopped_agent(place: Place, *arguments: str, lost: bool = False) -> str:
    """Return what somebody is told while the agent hangs; ``lost``: once its host counts as away."""

    def health() -> str:
        cluster = place.client.request("GET", f"/v2/databases/{place.cluster}")["database"]
        return str(cluster["cenote"]["health"])

    agent = place.running.processes()["agent"]
    os.kill(agent, signal.SIGSTOP)
    try:
        if lost:
            wait_until("it is lost", 60, lambda: health() == "unknown")
        return called(place, *arguments)
    finally:
        os.kill(agent, signal.SIGCONT)
        wait_until("it is back", 60, lambda: health() == "healthy")


def refused_setting(place: Place) -> str:
    path = f"/v2/databases/{place.cluster}"
    place.client.request("PATCH", f"{path}/config", json={"config": {"max_stack_depth": 6_291_456}})
    try:
        [said] = place.client.request("GET", path)["database"]["cenote"]["not_in_force"]
        return str(said).replace("max_stack_depth = '6291456B'", "NAME = VALUE")
    finally:
        place.client.request("PATCH", f"{path}/config", json={"config": {"max_stack_depth": 2_097_152}})


def after_sql(place: Place, name: str, statement: str, *command: str) -> str:
    """Return what a command says once SQL has changed a new user with a pool of its own."""
    called(place, "user", "create", "backend", name)
    called(place, "pool", "create", "backend", f"{name}-pool", "--user", name, "--size", "1")
    assert not psql(place.direct, statement)
    called(place, "user", "create", "backend", f"later-than-{name}")  # then the agent looks at all of them
    try:
        return called(place, *command)
    finally:
        called(place, "pool", "delete", "backend", f"{name}-pool", "--yes")


def smaller_replica(place: Place) -> str:
    called(place, "cluster", "create", "larger", "--size", "db-s-1vcpu-2gb")
    try:
        return called(place, "replica", "create", "larger", "small", "--size", "db-s-1vcpu-1gb")
    finally:
        called(place, "cluster", "delete", "larger", "--purge", "--yes")


def with_replica(place: Place, *command: str) -> str:
    """Return what a command says while the cluster has a read replica, ``copied``."""
    called(place, "replica", "create", "backend", "copied")
    try:
        return called(place, *command)
    finally:
        called(place, "replica", "delete", "backend", "copied", "--yes")


def through_a_pool_of_nothing(place: Place) -> str:
    place.client.request("POST", f"/v2/databases/{place.cluster}/dbs", json={"name": "shop"})
    pool = added_pool(place.client, place.cluster, "shop-pool", db="shop", size=1)
    assert not psql(place.direct, "DROP DATABASE shop")
    try:
        return psql(pool["connection"]["uri"])
    finally:
        place.client.request("DELETE", f"/v2/databases/{place.cluster}/pools/shop-pool")


_RESET = ("user", "reset", "backend")


def with_cached_plan(place: Place) -> str:
    """Return what a client is told before, and nothing more after, the command that the page names."""
    with (
        psycopg.connect(place.pool, autocommit=True, prepare_threshold=0) as client,
        psycopg.connect(place.direct, autocommit=True) as direct,
    ):
        direct.execute("CREATE TABLE changed (id int)")
        client.execute("SELECT * FROM changed")
        direct.execute("ALTER TABLE changed ADD COLUMN name text")
        with pytest.raises(psycopg.Error) as refused:
            client.execute("SELECT * FROM changed")
        [command] = re.findall(r"^    (cenote pool reconnect .*)$", PAGE.read_text(), re.MULTILINE)
        words = command.replace("CLUSTER", "backend").replace("POOL", "backend-pool").split()
        place.running.cenote(*words[1:])
        assert client.execute("SELECT * FROM changed").fetchall() == []
        direct.execute("DROP TABLE changed")
    return str(refused.value)


def with_a_parameter(place: Place) -> str:
    """Return what a driver is told that sends a setting as a startup parameter of its own."""

    async def connect() -> None:
        settings = {"statement_timeout": "5000"}
        await asyncpg.connect(place.pool.partition("?")[0], ssl="require", server_settings=settings)

    with pytest.raises(asyncpg.PostgresError) as refused:
        asyncio.run(connect())
    return str(refused.value)


SYSTEMS = "/etc/ssl/certs/ca-certificates.crt"
PROVOKED: dict[str, Callable[[Place, Path], str]] = {
    "permission denied": lambda place, _: psql(place.as_app(place.direct), "CREATE TABLE t (id int)"),
    "must be owner": lambda place, _: psql(place.direct, "ALTER DATABASE postgres SET jit = off"),
    'database "template1"': lambda place, _: psql(place.direct.replace("/defaultdb", "/template1"), "SELECT"),
    "relation": lambda place, _: psql(place.direct, "SELECT FROM public.pg_stat_statements"),
    "remaining connection": lambda place, _: crowded(place),
    "prepared statement": lambda place, _: psql(place.pool, "EXECUTE double(21)"),
    "cached plan": lambda place, _: with_cached_plan(place),
    "cannot execute": lambda place, _: psql(
        place.direct,
        "CREATE TABLE parts (id int)",
        "SET default_transaction_read_only = on",
        "INSERT INTO parts VALUES (1)",
    ),
    "no pg_hba.conf": lambda place, _: from_elsewhere(place, place.direct),
    "no such database": lambda place, _: psql(place.pool.replace("/backend-pool", "/defaultdb")),
    "login rejected": lambda place, _: psql(place.as_app(place.pool)),
    "SASL": lambda place, _: psql(place.pool.replace("doadmin:", "doadmin:wrong")),
    'database "…"': lambda place, _: through_a_pool_of_nothing(place),
    "user ": lambda place, _: after_sql(place, "former", "DROP ROLE former", *_RESET, "former"),
    "the password of user": lambda place, _: after_sql(
        place, "other", "ALTER ROLE other PASSWORD 'its-own'", "uri", "backend", "--pool", "other-pool"
    ),
    "SSL required": lambda place, _: psql(without_tls(place.pool)),
    "query_wait": lambda place, _: waited(place),
    "unsupported startup parameter in": lambda place, _: psql(place.pool + "&options=-csearch_path%3Dapp"),
    "unsupported startup parameter:": lambda place, _: with_a_parameter(place),
    "certificate verify": lambda place, _: psql(verifying(place.pool, SYSTEMS)),
    "root certificate": lambda place, folder: psql(verifying(place.pool, f"{folder}/root.crt")),
    "size: a read replica": lambda place, _: smaller_replica(place),
    "… is a read replica": lambda place, _: with_replica(place, "user", "create", "backend/copied", "one"),
    "… has read replicas": lambda place, _: with_replica(place, "cluster", "delete", "backend", "--yes"),
    "size: … is too": lambda place, _: called(
        place, *("pool", "create", "backend", "huge-pool", "--size", "500")
    ),
    "Unable": lambda place, _: called(place, "cluster", "list", DIGITALOCEAN_TOKEN="another"),
    "no connection": lambda place, _: called(
        place, "cluster", "list", DIGITALOCEAN_API_URL="https://localhost:1"
    ),
    "cannot listen": lambda place, folder: served(
        place, f"--port={place.running.api_port}", f"--data-dir={folder}"
    ),
    "another Cenote": lambda place, _: served(place, f"--data-dir={place.running.data_dir}"),
    "etcd does not take": lambda _, __: without_etcd_password(),
    "another host": lambda _, folder: beside_another(folder, "--name=db-1"),
    "the restore into": lambda place, folder: restore_cut_off(place, folder),
    "… has a service": lambda _, folder: restored_over_another(folder),
    "…: the passphrase": lambda _, folder: shown_with_another_passphrase(folder),
    "the store has": lambda _, folder: beside_another(folder, "--name=db-1", cluster=True),
    "cluster …": lambda _, __: with_a_stranger(),
    "another service": lambda _, folder: beside_another(folder, identity=True),
    "The record": lambda place, _: newer_record(place),
    "its data directory": lambda _, __: without_data(),
    "its cluster was": lambda _, folder: archived_after_a_recovery(folder),
    "its data was": lambda _, __: after_a_move_that_no_record_knows(),
    "The host": lambda place, _: beside_stopped_agent(place, "cluster", "logs", "backend"),
    "The sealing": lambda place, _: beside_stopped_agent(place, "keys", "rotate", "--ring=host", lost=True),
    "The change": lambda place, _: beside_stopped_pooler(place),
    "PostgreSQL does not": lambda place, _: refused_setting(place),
    "these packages": lambda place, _: (ROOT / "scripts" / "setup.sh").read_text().replace("$*", ""),
}


@pytest.mark.parametrize("heading", HEADINGS)
def test_a_heading_is_what_is_really_said(place: Place, heading: str) -> None:
    [provoke] = [provoke for words, provoke in PROVOKED.items() if heading.startswith(words)]
    pattern = ".*".join(map(re.escape, heading.rstrip(".").split("…")))
    with server_folder() as folder:  # a folder of pytest's may be too long for the sockets below it
        assert re.search(pattern, provoke(place, folder))


def test_every_way_to_an_error_has_its_heading() -> None:
    assert len(PROVOKED) == len(HEADINGS)


def test_the_page_is_right_about_the_words_of_others(place: Place) -> None:
    assert "SSL certificate problem" in curl(place)
    assert "no encryption" in psql(without_tls(place.direct))
    assert "login rejected" in from_elsewhere(place, place.pool)
