"""What a change is answered while something keeps the servers from having it, on the real service."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from cenote.host import processes
from cenote.model.changes import Program
from cenote.model.paths import Layout
from cenote_client import Client
from tests.support.console import Visitor
from tests.support.service import (
    CENOTE,
    WITHOUT_LIMITS,
    Service,
    added_pool,
    answer_of,
    online,
    online_cluster,
    tried,
)
from tests.support.waiting import wait_until

# The servers' stack is too small for what the API offers, so PostgreSQL refuses a value that no list shows.
SMALL_STACK = ("prlimit", f"--stack={4 * 2**20}")
pytestmark = pytest.mark.service(*WITHOUT_LIMITS, command=(*SMALL_STACK, CENOTE))

POOL = {"name": "second-pool", "mode": "transaction", "size": 2, "db": "defaultdb", "user": "doadmin"}
ELSEWHERE = {"rules": [{"type": "ip_addr", "value": "192.0.2.0/24"}]}
OPEN: dict[str, list[Any]] = {"rules": []}

_NUMBERS = itertools.count()


class Site:
    """A cluster with one pool, and the calls that change it."""

    def __init__(self, running: Service, client: Client, http: httpx.Client, name: str) -> None:
        self.client, self._http = client, http
        self.cluster = online_cluster(client, name)
        self.pool = added_pool(client, self.cluster["id"], "first-pool")
        self.layout = Layout(running.data_dir)
        self.path = f"/v2/databases/{self.cluster['id']}"
        self.direct, self.pooled = (
            self.cluster["connection"]["uri"],
            self.pool["connection"]["uri"],
        )

    def call(self, method: str, path: str, **given: Any) -> httpx.Response:
        return self._http.request(method, self.path + path, **given)

    def changed(self, method: str, path: str, expected: int, **given: Any) -> Any:
        """Make a call and return its answer's body, None without one."""
        answer = self.call(method, path, **given)
        assert answer.status_code == expected, answer.text
        return answer.json() if answer.content else None

    def user(self, name: str, database: str = "defaultdb") -> str:
        """Add a user and return the URI that it connects with."""
        added = self.changed("POST", "/users", 201, json={"name": name})["user"]
        return self.uri(name, added["password"], database)

    def uri(self, name: str, password: str, database: str = "defaultdb") -> str:
        found = self.cluster["connection"]
        return f"postgres://{name}:{password}@{found['host']}:{found['port']}/{database}?sslmode=require"

    @property
    def not_in_force(self) -> list[str]:
        shown: dict[str, Any] = self.changed("GET", "", 200)["database"]["cenote"]
        return list(shown.get("not_in_force", ()))

    def process(self, program: Program) -> int:
        found = processes.find(program)
        assert found is not None
        return found.pid

    @property
    def bouncer(self) -> Program:
        return self.layout.cluster(UUID(self.cluster["id"])).bouncer(Path("pgbouncer"))

    @property
    def server(self) -> Program:
        return self.layout.node(UUID(self.cluster["id"]), "node-1").server(Path())

    @contextlib.contextmanager
    def stopped_pooler(self) -> Iterator[None]:
        pid = self.process(self.bouncer)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def locked_role(self, name: str) -> Iterator[None]:
        """Have somebody hold a lock on a role, so that SQL on it fails; no firewall rule ends the session."""
        sockets, port = (
            self.layout.cluster(UUID(self.cluster["id"])).sockets,
            self.cluster["connection"]["port"],
        )
        with psycopg.connect(host=str(sockets), port=port, user="postgres", dbname="postgres") as holder:
            holder.execute(f"ALTER ROLE {name} CONNECTION LIMIT 7".encode())
            yield
            holder.rollback()

    def settled(self) -> None:
        wait_until("everything is in force", 60, lambda: not self.not_in_force)


@pytest.fixture
def site(running: Service, client: Client, http: httpx.Client) -> Iterator[Site]:
    made = Site(running, client, http, f"cluster-{next(_NUMBERS)}")
    try:
        yield made
    finally:
        http.delete(made.path)


def test_a_pool_is_answered_as_pending_while_pgbouncer_does_not_answer(site: Site) -> None:
    with site.stopped_pooler():
        added = site.changed("POST", "/pools", 201, json=POOL)
        assert added["cenote"] == {"pending": True, "reason": "PgBouncer does not answer"}
        assert any(line.startswith("pools: PgBouncer does not answer") for line in site.not_in_force)
        # What does not concern the pools is in force.
        assert "cenote" not in site.changed("POST", "/dbs", 201, json={"name": "orders"})
        assert answer_of(site.direct.replace("/defaultdb", "/orders")) == 42
    site.settled()
    assert answer_of(added["pool"]["connection"]["uri"]) == 42
    assert "cenote" not in site.changed("POST", "/pools", 201, json=POOL | {"name": "third-pool"})


def test_a_removed_source_is_answered_when_pgbouncer_has_it_and_a_repeated_call_waits_for_it(
    site: Site,
) -> None:
    with site.stopped_pooler():
        answer = site.call("PUT", "/firewall", json=ELSEWHERE)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert "recorded, but not in force yet: PgBouncer does not answer" in answer.json()["message"]
        assert tried(site.direct) is None  # what could be closed is closed
        assert site.changed("GET", "/firewall", 200)["rules"][0]["value"] == "192.0.2.0/24"
        assert site.call("PUT", "/firewall", json=ELSEWHERE).status_code == 503
    site.changed("PUT", "/firewall", 204, json=ELSEWHERE)
    assert tried(site.pooled) is None
    site.changed("PUT", "/firewall", 204, json=OPEN)
    assert answer_of(site.pooled) == 42


def test_a_removed_source_is_cut_off_although_sql_waits_for_a_customers_lock(site: Site) -> None:
    site.user("app")
    with site.locked_role("app"), contextlib.ExitStack() as stack:
        opened = [psycopg.connect(uri, autocommit=True) for uri in (site.direct, site.pooled)]
        for connection in opened:
            stack.callback(connection.close)
        answer = site.call("POST", "/users/app/reset_auth")
        assert answer.status_code == 503
        assert "lock timeout" in answer.json()["message"]
        site.changed("PUT", "/firewall", 204, json=ELSEWHERE)
        for connection in opened:
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        assert (tried(site.direct), tried(site.pooled)) == (None, None)
        assert any("users" in line.partition(":")[0] for line in site.not_in_force)


def test_a_failed_change_leaves_those_after_it_alone(site: Site) -> None:
    before = site.user("app")
    with site.locked_role("app"):
        assert site.call("POST", "/users/app/reset_auth").status_code == 503
        assert tried(before) == 42  # PostgreSQL could not be told
        added = site.changed("POST", "/pools", 201, json=POOL)
        assert "cenote" not in added
        assert answer_of(added["pool"]["connection"]["uri"]) == 42
        assert site.call("PATCH", "/config", json={"config": {"work_mem": 7}}).json() == {}
        assert answer_of(site.direct, "SHOW work_mem") == "7MB"
    site.settled()
    assert tried(before) is None
    now = site.changed("GET", "/users/app", 200)["user"]["password"]
    assert answer_of(site.uri("app", now)) == 42


def test_an_old_password_is_refused_by_the_pools_although_the_server_could_not_be_told(site: Site) -> None:
    before = site.user("app")
    pool = site.changed("POST", "/pools", 201, json=POOL | {"user": "app"})["pool"]["connection"]["uri"]
    assert answer_of(pool) == 42
    with site.locked_role("app"):
        assert site.call("POST", "/users/app/reset_auth").status_code == 503
        assert tried(pool) is None
        assert tried(before) == 42
    site.settled()
    assert tried(before) is None


def test_a_change_while_the_server_is_down_is_told_with_the_reason(site: Site) -> None:
    data = site.server.directory
    mode = data.stat().st_mode
    data.chmod(0)
    try:
        os.kill(site.process(site.server), signal.SIGKILL)
        wait_until(
            "the agent has seen it",
            60,
            lambda: "does not start" in site.changed("GET", "", 200)["database"]["cenote"]["reason"],
        )
        added = site.changed("POST", "/pools", 201, json=POOL)
        assert added["cenote"]["pending"] is True
        assert "PostgreSQL" in added["cenote"]["reason"]
        assert site.call("PUT", "/firewall", json=ELSEWHERE).status_code == 503
    finally:
        data.chmod(mode & 0o7777)
    online(site.client, site.cluster["id"])
    assert tried(site.direct) is None
    site.changed("PUT", "/firewall", 204, json=OPEN)
    assert answer_of(added["pool"]["connection"]["uri"]) == 42


def test_a_pool_is_pending_while_pgbouncer_cannot_have_its_port(site: Site) -> None:
    port = site.pool["connection"]["port"]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

        def taken() -> bool:
            if (found := processes.find(site.bouncer)) is not None:
                os.kill(found.pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                other.bind(("127.0.0.1", port))
                other.listen()
                return True
            return False

        wait_until("another program has the port", 30, taken)
        added = site.changed("POST", "/pools", 201, json=POOL)
        assert added["cenote"]["pending"] is True
        assert f"port {port}" in added["cenote"]["reason"]
    site.settled()
    wait_until("the pool answers", 60, lambda: tried(added["pool"]["connection"]["uri"]) == 42)


def test_a_setting_that_the_server_refuses_is_named_and_holds_nothing_else_up(site: Site) -> None:
    answer = site.changed("PATCH", "/config", 200, json={"config": {"max_stack_depth": 6_291_456}})
    refusal = "PostgreSQL does not accept max_stack_depth = '6291456B'"
    assert answer == {"cenote": {"pending": True, "reason": refusal}}
    assert site.not_in_force == [refusal]
    assert site.call("PATCH", "/config", json={"config": {"work_mem": 7}}).json() == {}
    assert answer_of(site.direct, "SHOW work_mem") == "7MB"
    assert answer_of(site.direct, "SHOW max_stack_depth") == "2MB"
    # A server that read it at its start would not come up.
    os.kill(site.process(site.server), signal.SIGKILL)
    wait_until("the server is back", 60, lambda: tried(site.direct) == 42)
    assert site.not_in_force == [refusal]
    assert site.changed("PATCH", "/config", 200, json={"config": {"max_stack_depth": 2_097_152}}) == {}
    site.settled()


def test_the_command_line_and_the_console_say_that_a_change_is_not_in_force(
    site: Site, running: Service, somebody: Visitor
) -> None:
    reason = "not in force yet: PgBouncer does not answer"
    page = f"/console/clusters/{site.cluster['id']}/pools"
    asked = somebody.open(page)
    name = site.cluster["name"]
    with site.stopped_pooler():
        made = somebody.send(asked, "Create pool", name="by-hand", size="1")
        assert f"The change is recorded, but {reason}." in made.text
        assert "Not in force yet: pools: PgBouncer does not answer" in made.text
        created = running.run("pool", "create", name, "by-command", "--size", "1")
        assert f"The change is recorded, but {reason}" in created.stderr
        assert "Connect with" not in created.stderr
        # Until the agent has tried it, on a busy machine, it is "the latest changes".
        update = ("pool", "update", name, "by-command", "--size", "2")
        assert "Not in force yet: " in running.run(*update).stderr
        wait_until(
            "the command line names what is not in force",
            60,
            lambda: "Not in force yet: pools: PgBouncer does not answer" in running.run(*update).stderr,
        )
    site.settled()
    assert "Not in force yet" not in somebody.open(page).text
    deleted = running.run("pool", "delete", name, "by-command", "--yes")
    assert deleted.stderr == "Deleted pool by-command\n"


def test_the_command_line_says_that_trusted_sources_are_not_in_force(site: Site, running: Service) -> None:
    name = site.cluster["name"]
    assert "Not in force" not in running.run("firewall", "add", name, "127.0.0.0/8", "::1").stderr
    with site.stopped_pooler():
        added = running.run("firewall", "add", name, "192.0.2.7").stderr
        assert added.startswith("Not in force yet: ")
        assert "PgBouncer does not answer" in added
    site.settled()
    running.run("firewall", "remove", name, "127.0.0.0/8", "::1", "192.0.2.7", "--yes")
