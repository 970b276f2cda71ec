"""``cenote db import`` as a user types it, and what is in a database before and after."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
from psycopg import conninfo, sql

from tests.support.service import CENOTE, Service, clean_environment

Done = subprocess.CompletedProcess[str]
_ROWS: LiteralString = "SELECT md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '')) FROM {} t"
_TABLES: LiteralString = (
    "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^(pg_|information_schema)' ORDER BY 1, 2"
)


def environment(source: str | None) -> dict[str, str]:
    return clean_environment() | ({} if source is None else {"CENOTE_IMPORT_FROM": source})


def run_import(running: Service, *arguments: str, source: str | None = None, **variables: str) -> Done:
    return subprocess.run(
        [CENOTE, "db", "import", *arguments, f"--data-dir={running.data_dir}"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment(source) | variables,
        check=False,
        timeout=240,
    )


def begin(running: Service, *arguments: str, source: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [CENOTE, "db", "import", *arguments, f"--data-dir={running.data_dir}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(source),
    )


def uri_of(cluster: Any, database: str, **others: str) -> str:
    return conninfo.make_conninfo(cluster["connection"]["uri"], dbname=database, **others)


def rows(uri: str, query: LiteralString | sql.Composed, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(uri, autocommit=True) as connection:
        return connection.execute(query, values or None).fetchall()


def checksums(uri: str) -> dict[tuple[str, str], str]:
    """Return a checksum of the rows of each table and materialized view."""
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("SET search_path = pg_catalog")
        tables = connection.execute(_TABLES).fetchall()
        asked = ((name, sql.SQL(_ROWS).format(sql.Identifier(*name))) for name in tables)
        return {name: connection.execute(query).fetchall()[0][0] for name, query in asked}


def definitions(uri: str) -> set[str]:
    """Return the statements of a dump without data, without owners and what psql alone understands."""
    done = subprocess.run(
        ["pg_dump", "--schema-only", "--no-owner", "--dbname", uri],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if not re.match(r"--|\\|$", line)]
    return {statement.strip() for statement in "\n".join([*lines, ""]).split(";\n")}


@contextlib.contextmanager
def reading_all(cluster: Any, *users: str) -> Iterator[None]:
    """The administrator of a cluster as a member of these users."""
    with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as connection:
        for user in users:
            connection.execute(sql.SQL("GRANT {} TO doadmin").format(sql.Identifier(user)))
        yield
        for user in users:
            connection.execute(sql.SQL("REVOKE {} FROM doadmin").format(sql.Identifier(user)))
