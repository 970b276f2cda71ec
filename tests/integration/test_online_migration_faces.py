"""Online migrations by the command line and by the console."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from cenote.cli.migrate import wanted
from cenote.cli.printer import CommandError
from tests.support import upgrading
from tests.support.console import base_of, visitor
from tests.support.importing import checksums, uri_of
from tests.support.migrating import Migration
from tests.support.plain_postgres import PASSWORD, PlainPostgres, plain_postgres
from tests.support.upgrading import Site


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with upgrading.site() as found:
        yield found


@pytest.fixture(scope="module")
def source() -> Iterator[PlainPostgres]:
    with plain_postgres() as started:
        for name in ("bank", "other"):
            started.run(f"CREATE DATABASE {name}")
            started.run("CREATE TABLE accounts (id int PRIMARY KEY, balance int)", name)
            started.run("INSERT INTO accounts SELECT n, n FROM generate_series(1, 1000) n", name)
        yield started


def document(site: Site, *arguments: str) -> Any:
    return json.loads(site.running.cenote("migrate", *arguments, "-o", "json"))


def place_of(source: PlainPostgres, **more: str) -> str:
    return make_conninfo(
        "", host="127.0.0.1", port=source.port, user=source.superuser, password=PASSWORD, **more
    )


def test_a_migration_by_commands(site: Site, source: PlainPostgres) -> None:
    cluster = site.made("typed")
    nothing = site.running.run("migrate", "status", "typed")
    assert nothing.returncode != 0
    assert "nothing was migrated into typed; start with 'cenote migrate start typed" in nothing.stderr
    place = place_of(source)
    plain = site.running.run("migrate", "start", "typed", "--from", place)
    assert plain.returncode != 0
    assert "does not support SSL" in plain.stderr

    started = document(
        site, "start", "typed", "--from", place_of(source, sslmode="disable"), "--ignore-db", "other"
    )
    assert started["status"] == "syncing"
    again = site.running.run("migrate", "start", "typed", "--from", place)
    assert again.returncode != 0
    assert "under way" in again.stderr
    source.run("INSERT INTO accounts VALUES (1001, 1001)", "bank")
    [bank] = document(site, "status", "typed", "--databases")
    assert (bank["name"], bank["step"]) == ("bank", "syncing")
    refused = site.running.run("migrate", "finish", "typed")
    assert refused.returncode != 0
    assert "--yes" in refused.stderr

    assert document(site, "finish", "typed", "--yes")["status"] == "done"
    assert checksums(uri_of(cluster, "bank")) == checksums(source.uri("bank"))
    assert document(site, "status", "typed")["cenote"]["source"]["host"] == "127.0.0.1"
    site.client.request("DELETE", f"/v2/databases/{cluster['id']}")


def test_a_migration_that_is_stopped_by_command_leaves_the_cluster_empty(
    site: Site, source: PlainPostgres
) -> None:
    cluster = site.made("stopped")
    place = place_of(source, sslmode="disable")
    document(site, "start", "stopped", "--from", place)
    assert document(site, "stop", "stopped", "--discard", "--yes")["status"] == "canceled"
    names = site.client.request("GET", f"/v2/databases/{cluster['id']}/dbs")["dbs"]
    assert {one["name"] for one in names}.isdisjoint({"bank", "other"})
    site.client.request("DELETE", f"/v2/databases/{cluster['id']}")


def test_a_migration_in_the_console(site: Site, source: PlainPostgres) -> None:
    cluster = site.made("clicked")
    page = f"{base_of(cluster)}/migrate"
    migration = Migration(site.client, cluster["id"])
    with visitor(site.running) as somebody:
        assert f'href="{page}"' in somebody.open(f"{base_of(cluster)}/users").source
        filled = {
            "host": "127.0.0.1",
            "port": str(source.port),
            "username": source.superuser,
            "ignored": "other\r\n",
            "unencrypted": "yes",
        }
        refused = somebody.send(somebody.open(page), "Start", 422, password="wrong", **filled)
        assert "password authentication failed" in refused.text
        assert "wrong" not in refused.source
        begun = somebody.send(refused, "Start", 200, password=PASSWORD, **filled)
        assert "Migration from 127.0.0.1" in begun.text
        migration.reaches("syncing")
        shown = somebody.open(page)
        assert "Changes follow" in shown.text
        assert not shown.has_form("Start")
        somebody.send(shown, "Finish")
        migration.reaches("done")
        assert "Done" in somebody.open(page).text
    assert checksums(uri_of(cluster, "bank")) == checksums(source.uri("bank"))
    with visitor(site.running, "database:read") as reader:
        assert not reader.open(page).has_form("Start")
    site.client.request("DELETE", f"/v2/databases/{cluster['id']}")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("postgresql://app:x@", "the host of the source is missing"),
        ("postgresql://db.example.com/", "the user of the source is missing"),
        ("host=a port=1,2 user=app password=x", "a source has one port"),
        ("nonsense", "--from: "),
        ("postgresql://app@db.example.com/", "set PGPASSWORD"),
    ],
)
def test_a_source_that_is_not_whole_is_refused(uri: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    with pytest.raises(CommandError) as refused:
        wanted(uri, (), disable_ssl=False, full=False)
    assert words in refused.value.message


def test_the_password_of_a_source_may_be_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "secret")
    body = wanted("postgresql://app@db.example.com/shop", ("old",), disable_ssl=False, full=True)
    assert body["source"] == {
        "host": "db.example.com",
        "port": 5432,
        "username": "app",
        "password": "secret",
        "dbname": "shop",
    }
    assert (body["disable_ssl"], body["ignore_dbs"]) == (False, ["old"])
    assert body["cenote"] == {"replica_identity_full": True}
