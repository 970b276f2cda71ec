"""What docs/pool-modes.md says of each startup parameter, for each mode and both ways of sending it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from cenote.model.parameters import IGNORABLE
from cenote_client import Client, InvalidError
from tests.support.pages import DOCS, blocks
from tests.support.service import WITHOUT_LIMITS, Service, added_pool, online_cluster

pytestmark = pytest.mark.service(*WITHOUT_LIMITS)

TEXT = (DOCS / "pool-modes.md").read_text()
SECTION = TEXT.partition("\n## Startup parameters\n")[2].partition("\n## ")[0]
BLOCKS = [block for block in blocks("pool-modes.md") if block.text in SECTION]
MODES = ("transaction", "session", "statement")
VALUES = {
    "application_name": "shop",
    "client_encoding": "LATIN1",
    "client_min_messages": "error",
    "DateStyle": "German, DMY",
    "default_text_search_config": "pg_catalog.german",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "IntervalStyle": "iso_8601",
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
    "role": "pg_monitor",
    "row_security": "off",
    "search_path": "app",
    "standard_conforming_strings": "off",
    "synchronous_commit": "off",
    "TimeZone": "Asia/Tokyo",
    "work_mem": "1MB",
}
MILLISECONDS = "54321"  # of the timeouts
LATER = {"transaction_timeout": 17, "idle_session_timeout": 14}  # of a later PostgreSQL than may be here


def row(beginning: str) -> tuple[str, str]:
    """Return the names in a row of the table, and what the row says of them."""
    [found] = re.findall(rf"^\| (.*?{re.escape(beginning)}.*?) \| (.*?) \|$", SECTION, re.MULTILINE)
    return found[0], found[1]


def names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


APPLIED = names(row("`application_name`")[0])
NOT_APPLIED = names(row("`statement_timeout`, ")[0])
DANGEROUS = names(row("`default_transaction_read_only`")[0])


@pytest.fixture(scope="module")
def cluster(running: Service) -> Any:
    with running.client() as client:
        return online_cluster(client, "backend")


@pytest.fixture(scope="module")
def uris(client: Client, cluster: Any) -> dict[str, str]:
    found = {
        mode: added_pool(client, cluster["id"], f"{mode}-pool", mode=mode, size=2)["connection"]["uri"]
        for mode in MODES
    }
    return found | {"direct": cluster["connection"]["uri"]}


def by_options(uri: str, name: str, value: str) -> str:
    """Connect with a setting in ``options``; return what it is, or the refusal."""
    escaped = value.replace(" ", "\\ ")
    try:
        with psycopg.connect(uri, autocommit=True, options=f"-c {name}={escaped}") as connection:
            shown = connection.execute(SQL("SHOW {}").format(Identifier(name))).fetchone()
    except psycopg.OperationalError as refused:
        return str(refused)
    assert shown is not None
    return str(shown[0])


def by_parameter(uri: str, name: str, value: str) -> str:
    """The same with a startup parameter of its own."""

    async def ask() -> str:
        address = uri.partition("?")[0]
        connection = await asyncpg.connect(
            address, ssl="require", statement_cache_size=0, server_settings={name: value}
        )
        try:
            return str(await connection.fetchval(f'SHOW "{name}"'))
        finally:
            await connection.close()

    try:
        return asyncio.run(ask())
    except asyncpg.PostgresError as refused:
        return str(refused)


WAYS = {"options": by_options, "parameter": by_parameter}
each_mode = pytest.mark.parametrize("mode", MODES)
each_way = pytest.mark.parametrize("way", WAYS)


def value_of(name: str) -> str:
    return VALUES.get(name, MILLISECONDS)


def asked(uris: dict[str, str], mode: str, way: str, given: list[str]) -> dict[str, str]:
    return {name: WAYS[way](uris[mode], name, value_of(name)) for name in given}


def test_the_page_names_what_the_setting_can_ignore() -> None:
    assert sorted(NOT_APPLIED) == sorted(IGNORABLE)
    assert set(DANGEROUS).isdisjoint(IGNORABLE)


@each_mode
@each_way
def test_the_settings_of_the_first_row_are_applied(uris: dict[str, str], mode: str, way: str) -> None:
    own = {"client_encoding"} if way == "parameter" else set()  # asyncpg sends one of its own
    given = [name for name in APPLIED if name not in own]
    assert asked(uris, mode, way, given) == {name: value_of(name) for name in given}


@each_mode
@each_way
def test_the_settings_that_are_not_applied_are_refused(uris: dict[str, str], mode: str, way: str) -> None:
    words = "unsupported startup parameter" + (" in options" if way == "options" else "")
    for name, said in asked(uris, mode, way, NOT_APPLIED + DANGEROUS).items():
        assert f"{words}: {name}" in said


@pytest.mark.parametrize("value", ["-d 5", "-ework_mem=1MB", "jit=off"])
def test_options_in_another_form_are_refused(uris: dict[str, str], value: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="only '-c config=val' and '--config=val' are allowed"):
        psycopg.connect(uris["transaction"], options=value)


def test_the_refusal_is_what_the_page_says(uris: dict[str, str]) -> None:
    [block] = [block for block in BLOCKS if block.language == "text"]
    setting = block.title.partition("-c ")[2].partition(",")[0]
    name, _, value = setting.partition("=")
    assert block.text.strip() in by_options(uris["transaction"], name, value)


def test_the_log_names_what_was_refused(running: Service, uris: dict[str, str]) -> None:
    by_options(uris["session"], "work_mem", "3MB")
    assert "work_mem=3MB" in running.cenote("cluster", "logs", "backend", "--source", "pgbouncer")


@pytest.fixture
def ignoring(client: Client, cluster: Any) -> Iterator[None]:
    """The setting of the page, with all that can be ignored."""
    [wanted] = re.findall(r"^`(\{\"config.*\})`", SECTION, re.MULTILINE)
    body = json.loads(wanted)
    ignored = body["config"]["cenote"]["ignore_parameters"]
    assert set(ignored) < set(IGNORABLE)
    ignored[:] = IGNORABLE
    client.request("PATCH", f"/v2/databases/{cluster['id']}/config", json=body)
    yield
    body["config"]["cenote"]["ignore_parameters"] = None
    client.request("PATCH", f"/v2/databases/{cluster['id']}/config", json=body)


@pytest.mark.usefixtures("ignoring")
@each_mode
@each_way
def test_the_settings_that_are_ignored_have_no_effect(
    uris: dict[str, str], cluster: Any, mode: str, way: str
) -> None:
    known = [name for name in NOT_APPLIED if int(cluster["version"]) >= LATER.get(name, 0)]
    with psycopg.connect(uris["direct"]) as direct:
        defaults = {
            name: value
            for name, value in direct.execute(
                "SELECT name, current_setting(name) FROM pg_settings"
            ).fetchall()
            if name in known
        }
    assert all(defaults[name] != value_of(name) for name in known)
    assert asked(uris, mode, way, known) == defaults


@pytest.mark.usefixtures("ignoring")
@each_way
def test_what_would_be_dangerous_is_refused_all_the_same(uris: dict[str, str], way: str) -> None:
    for said in asked(uris, "transaction", way, DANGEROUS).values():
        assert "unsupported startup parameter" in said


@pytest.mark.usefixtures("ignoring")
def test_what_jdbc_sends_is_ignored_as_before(uris: dict[str, str]) -> None:
    assert by_parameter(uris["transaction"], "extra_float_digits", "2") == "1"


@pytest.mark.parametrize("name", ["default_transaction_read_only", "options", "role", "no_such"])
def test_nothing_else_can_be_chosen(client: Client, cluster: Any, name: str) -> None:
    body = {"config": {"cenote": {"ignore_parameters": [name]}}}
    with pytest.raises(InvalidError, match="ignore_parameters"):
        client.request("PATCH", f"/v2/databases/{cluster['id']}/config", json=body)


def test_a_setting_of_a_role_is_in_force_in_every_mode_after_a_reconnect(
    client: Client, cluster: Any, uris: dict[str, str]
) -> None:
    [block] = [block for block in BLOCKS if block.language == "sql"]
    with psycopg.connect(uris["direct"], autocommit=True) as direct:
        direct.execute(block.text.encode())
        try:
            for mode in MODES:
                client.databases.reconnect_connection_pool(cluster["id"], f"{mode}-pool")
                with psycopg.connect(uris[mode], autocommit=True) as pooled:
                    assert pooled.execute("SHOW statement_timeout").fetchone() == ("30s",)
        finally:
            direct.execute("ALTER ROLE doadmin IN DATABASE defaultdb RESET ALL")
            for mode in MODES:
                client.databases.reconnect_connection_pool(cluster["id"], f"{mode}-pool")


def test_a_connect_query_holds_for_the_first_session_of_a_connection_only(
    client: Client, cluster: Any, uris: dict[str, str]
) -> None:
    path = f"/v2/databases/{cluster['id']}/config"
    query = "SET lock_timeout = '7s'"
    client.request("PATCH", path, json={"config": {"cenote": {"connect_query": query}}})
    try:
        for mode, kept in (("session", ("0",)), ("transaction", ("7s",))):
            client.databases.reconnect_connection_pool(cluster["id"], f"{mode}-pool")
            found = []
            for _ in range(2):
                with psycopg.connect(uris[mode], autocommit=True) as pooled:
                    found.append(pooled.execute("SHOW lock_timeout").fetchone())
            assert found == [("7s",), kept]
    finally:
        client.request("PATCH", path, json={"config": {"cenote": {"connect_query": None}}})
