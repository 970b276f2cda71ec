"""Every claim of docs/pool-modes.md, on real pools.

What a client of a transaction pool may rely on is what holds when no two of its transactions in a row have
the same connection to the server.  Two others see to that: one of them always holds the last one that it had.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier, Literal

from tests.support.pages import DOCS, Block, blocks
from tests.support.service import Service, added_pool, online_cluster

PAGE = "pool-modes.md"
BLOCKS = blocks(PAGE)
SAID = re.compile(r"  -- (?:-> (?P<value>.*)|(?P<severity>ERROR|FATAL): (?P<message>.*))$")
Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def cluster(running: Service) -> str:
    """A cluster whose clients do not wait long for a connection."""
    with running.client() as client:
        id = str(online_cluster(client, "backend")["id"])
        waits = {"config": {"cenote": {"query_wait_timeout": 1}}}
        client.request("PATCH", f"/v2/databases/{id}/config", json=waits)
        return id


@pytest.fixture(scope="module")
def uris(running: Service, cluster: str) -> dict[str, str]:
    """The URI of a pool of size 2 for each mode, and the direct one."""
    with running.client() as client:
        found = {
            mode: added_pool(client, cluster, f"{mode}-pool", mode=mode)["connection"]["uri"]
            for mode in ("transaction", "session", "statement")
        }
        direct = client.request("GET", f"/v2/databases/{cluster}")["database"]["connection"]["uri"]
        return found | {"direct": direct}


class Elsewhere:
    """Holds whichever connection of a pool of two its client had last: what comes next is on the other."""

    def __init__(self, first: Connection, second: Connection) -> None:
        self._holding, self._free = first, second
        first.execute("BEGIN")

    def turn(self) -> None:
        self._free.execute("BEGIN")
        self._holding.execute("COMMIT")
        self._holding, self._free = self._free, self._holding


class Turning:
    """A connection each of whose statements is on another connection of the pool."""

    def __init__(self, client: Connection, elsewhere: Elsewhere) -> None:
        self._client, self._elsewhere = client, elsewhere

    def execute(self, *arguments: Any, **how: Any) -> psycopg.Cursor[Any]:
        cursor = self._client.execute(*arguments, **how)
        self._elsewhere.turn()
        return cursor


@contextmanager
def connected(uri: str, **parameters: Any) -> Iterator[Connection]:
    # Without statements prepared by the driver nothing of a session is the driver's own.
    with psycopg.connect(
        uri, autocommit=True, connect_timeout=60, prepare_threshold=None, **parameters
    ) as connection:
        yield connection


@contextmanager
def client_of(uris: dict[str, str], mode: str) -> Iterator[tuple[Connection, Elsewhere | None]]:
    with ExitStack() as stack:
        client = stack.enter_context(connected(uris[mode]))
        elsewhere = None
        if mode == "transaction":
            others = [stack.enter_context(connected(uris[mode])) for _ in range(2)]
            elsewhere = Elsewhere(*others)
        yield client, elsewhere


def told(cursor: psycopg.Cursor[Any]) -> str:
    """Return what a statement returned, as the page writes it."""
    return ", ".join(str(value) for row in cursor.fetchall() for value in row)


def check(block: Block, client: Connection, elsewhere: Elsewhere | None) -> None:
    """Run a block statement by statement, and compare what each says with what the page says."""
    for line in block.text.splitlines():
        expected = SAID.search(line)
        statement = SAID.sub("", line).encode()
        if expected and expected["message"]:
            with pytest.raises(psycopg.Error) as refused:
                client.execute(statement)
            assert expected["message"] in str(refused.value), line
            assert client.closed == (expected["severity"] == "FATAL"), line
        else:
            cursor = client.execute(statement)
            if expected:
                assert told(cursor) == expected["value"], line
        if elsewhere and not client.closed and client.info.transaction_status == TransactionStatus.IDLE:
            elsewhere.turn()


STATEMENTS = [block for block in BLOCKS if block.language == "sql" and block.title.endswith(" pool")]


@pytest.mark.parametrize("block", STATEMENTS, ids=str)
def test_a_block_of_sql_says_what_the_page_says(uris: dict[str, str], block: Block) -> None:
    try:
        with client_of(uris, block.title.split()[0]) as (client, elsewhere):
            check(block, client, elsewhere)
    finally:
        _clean(uris)


def _clean(uris: dict[str, str]) -> None:
    """End the connections of the transaction pool, which a block may have left with settings and locks."""
    with connected(uris["direct"]) as direct:
        direct.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'doadmin' AND pid <> pg_backend_pid()"
        )


def test_a_setting_of_a_user_or_a_database_is_what_new_connections_begin_with(uris: dict[str, str]) -> None:
    [block] = [block for block in BLOCKS if block.title == "new connections"]
    try:
        for line in block.text.splitlines():
            expected = SAID.search(line)
            with connected(uris["transaction"]) as client:
                cursor = client.execute(SAID.sub("", line).encode())
                assert not expected or told(cursor) == expected["value"], line
            _clean(uris)
    finally:
        with connected(uris["direct"]) as direct:
            direct.execute("ALTER ROLE doadmin RESET ALL")
            direct.execute("ALTER DATABASE defaultdb RESET ALL")
        _clean(uris)


def test_statements_that_a_driver_prepares_work_on_whichever_connection(
    uris: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    [block] = [block for block in BLOCKS if block.language == "python"]
    with client_of(uris, "transaction") as (client, elsewhere):
        assert elsewhere is not None
        client.prepare_threshold = 0
        exec(block.text, {"connection": Turning(client, elsewhere)})  # noqa: S102
        seen = capsys.readouterr().out.splitlines()
        assert len(seen) == 20
        [said] = re.findall(r"# -> (.*)", block.text)
        assert seen[-1] == said


@pytest.mark.parametrize("statement", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_forgetting_all_statements_harms_no_prepared_one(
    uris: dict[str, str], statement: LiteralString
) -> None:
    with client_of(uris, "transaction") as (client, elsewhere), connected(uris["transaction"]) as another:
        assert elsewhere is not None
        for _ in range(2):
            for each in (client, another):
                each.prepare_threshold = 0
                assert told(each.execute("SELECT 6 * %s::int", [7])) == "42"
                each.execute(statement, prepare=False)
                elsewhere.turn()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("application_name", "shop"),
        ("client_encoding", "LATIN1"),
        ("DateStyle", "German, DMY"),
        ("IntervalStyle", "iso_8601"),
        ("standard_conforming_strings", "off"),
        ("TimeZone", "Asia/Tokyo"),
    ],
)
def test_a_setting_that_the_page_names_goes_along_with_its_client(
    uris: dict[str, str], name: LiteralString, value: LiteralString
) -> None:
    assert f"`{name}`" in (DOCS / PAGE).read_text()
    with client_of(uris, "transaction") as (client, elsewhere):
        assert elsewhere is not None
        client.execute(SQL("SET {} = {}").format(Identifier(name), Literal(value)))
        for _ in range(2):
            elsewhere.turn()
            assert told(client.execute(SQL("SHOW {}").format(Identifier(name)))) == value


def test_copy_indexes_and_notifications_work_through_a_transaction_pool(uris: dict[str, str]) -> None:
    with connected(uris["transaction"]) as client, connected(uris["direct"]) as listener:
        listener.execute("LISTEN jobs")
        client.execute("CREATE TABLE parts (id int)")
        with client.cursor().copy("COPY parts FROM STDIN") as copy:
            copy.write_row((42,))
        client.execute("CREATE INDEX CONCURRENTLY parts_id ON parts (id)")
        client.execute("NOTIFY jobs, 'from a pool'")
        [heard] = listener.notifies(timeout=20, stop_after=1)
        assert heard.payload == "from a pool"
        client.execute("DROP TABLE parts")


def test_who_finds_no_connection_left_in_a_session_pool_is_told_after_a_while(uris: dict[str, str]) -> None:
    [block] = [block for block in BLOCKS if block.title.startswith("one client more")]
    with connected(uris["session"]) as first, connected(uris["session"]) as second:
        for client in (first, second):
            client.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError) as refused, connected(uris["session"]) as third:
            third.execute("SELECT 1")
    assert block.text.strip() == f"{refused.value.diag.severity}:  {refused.value.diag.message_primary}"


def test_every_block_of_the_page_is_run_by_a_test_above() -> None:
    # Two are those of test_docs_startup_parameters.
    others = [block for block in BLOCKS if block not in STATEMENTS]
    assert {block.title.split()[0] for block in STATEMENTS} == {"transaction", "session", "statement"}
    assert [block.language for block in others] == ["python", "sql", "text", "sql", "text"]
