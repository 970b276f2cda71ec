"""Undelete on two hosts: the one that has the data of that deletion brings it back, and no other."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from cenote.host import trash
from cenote.model.paths import Layout
from cenote_client import Client, ServerError
from tests.integration.test_fleet_moves import get, is_empty, moved, told
from tests.support.fleet import FleetHost, fleet
from tests.support.service import added_pool, online, online_cluster
from tests.support.waiting import wait_until

SECONDS = 60


def rows(uri: str) -> int:
    with psycopg.connect(uri, connect_timeout=60) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
        assert row is not None
        return int(row[0])


def add_rows(uri: str, number: int) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        connection.execute("INSERT INTO kept SELECT generate_series(1, %s)", (number,))


def listed(client: Client) -> Any:
    [found] = client.cenote.list_deleted_clusters()["deleted"]
    return found


def trash_of(host: FleetHost) -> set[str]:
    return {entry.name for entry in trash.entries(Layout(host.data_dir))}


def test_the_host_that_has_the_data_brings_it_back_and_no_other() -> None:
    with fleet(2) as hosts, told(hosts), hosts.hosts[1].client() as client:
        [first, second] = hosts.hosts
        id = online_cluster(client, "backend", cenote={"host": second.name})["id"]
        added_pool(client, id, "web")
        add_rows(get(client, id)["connection"]["uri"], 10)
        client.databases.move_cluster(id, {"host": first.name})
        moved(client, id, first.name)
        wait_until("its copy is in the trash", SECONDS, lambda: trash_of(second))
        former = trash_of(second)
        add_rows(get(client, id)["connection"]["uri"], 10)
        before = get(client, id)

        client.databases.destroy_cluster(id)
        wait_until("it is put away", SECONDS, lambda: is_empty(first, client) and trash_of(first))
        assert listed(client)["host"] == first.name

        first.lose()
        wait_until("that is noticed", SECONDS, lambda: "reason" in listed(client))
        with pytest.raises(ServerError, match=f"The host {first.name}, which has its data, does not answer"):
            client.cenote.undelete_cluster(id)
        first.start()
        wait_until("it is back", SECONDS, lambda: "reason" not in listed(client))

        assert client.cenote.undelete_cluster(id)["changed"] == []
        after = online(client, id)
        assert after["connection"] == before["connection"]
        assert after["cenote"]["host"] == first.name
        assert rows(after["connection"]["uri"]) == 20
        assert trash_of(first) == set()
        assert trash_of(second) == former
        assert not list(second.data_dir.glob("clusters/*"))
