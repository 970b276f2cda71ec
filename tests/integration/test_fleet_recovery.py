"""Clusters of a host that was lost or cut off come up on another one, from the repository."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import psycopg
import pytest

from cenote.host import trash
from cenote.model.paths import Layout
from cenote.rules import lineages
from cenote_client import BusyError, Client, InvalidError
from tests.integration.test_fleet_moves import get, told
from tests.support.fleet import FleetHost
from tests.support.pgbackrest import NEEDS_PGBACKREST
from tests.support.recovery import (
    SECONDS,
    add,
    backed_up,
    backed_up_fleet,
    cut_off,
    go_on,
    kept,
)
from tests.support.waiting import wait_until

pytestmark = NEEDS_PGBACKREST


def plan(client: Client, id: str) -> Any:
    """Return what a recovery would be, None while there may be none."""
    with contextlib.suppress(BusyError):
        return client.databases.get_recovery(id)["recovery"]
    return None


def works(client: Client, id: str) -> bool:
    found = get(client, id)
    return bool(found["status"] == "online" and found["cenote"]["health"] == "healthy")


def trashed(host: FleetHost) -> list[str]:
    return [entry.note.why for entry in trash.entries(Layout(host.data_dir)) if entry.note is not None]


def of_host(uri: str, former: FleetHost, now: FleetHost) -> str:
    """Return a URI with another address."""
    assert former.address in uri
    return uri.replace(former.address, now.address)


def test_a_cluster_of_a_lost_host_comes_up_on_another_without_what_was_not_archived() -> None:
    with backed_up_fleet() as (hosts, repository), told(hosts), hosts.hosts[1].client() as client:
        [first, second] = hosts.hosts
        one = backed_up(client, repository, "backend", cenote={"host": first.name})
        id = one.id
        with pytest.raises(BusyError, match=f"{first.name}, the host of the cluster, is up and has its data"):
            client.databases.recover_cluster(id)
        add(one.uri, [1, 2, 3])
        last = one.archive(first)
        add(one.uri, [4, 5])
        first.lose()

        found = wait_until("the host is down", SECONDS, lambda: plan(client, id))
        assert (found["host"], found["former_host"], found["loss"]) == (second.name, first.name, "down")
        assert found["repository"] == f"file://{repository}"
        assert found["archived_at"] <= found["lost_at"]
        assert found["missing_seconds"] >= 0
        assert found["changed"] == []
        with pytest.raises(InvalidError, match="no host named"):
            client.databases.get_recovery(id, host="nowhere")
        with pytest.raises(BusyError, match=f"{first.name} is the host that the cluster is to be recovered"):
            client.databases.recover_cluster(id, {"host": first.name})
        said = second.run("cluster", "recover", "backend", "--yes")
        assert said.returncode == 0, said.stderr
        assert f"What was committed after {found['archived_at']} is missing" in said.stderr
        after = get(client, id)
        assert (after["status"], after["cenote"]["host"]) == ("online", second.name)

        uri = after["connection"]["uri"]
        assert uri == of_host(one.uri, first, second), "user, password, port and database are the same"
        assert kept(uri) == [0, 1, 2, 3], "what was not archived is missing, and nothing else"
        pool = client.databases.get_connection_pool(id, "web")["pool"]["connection"]
        assert pool["uri"] == of_host(one.pool["connection"]["uri"], first, second)
        assert kept(pool["uri"]) == [0, 1, 2, 3]
        assert after["connection"]["port"] == one.cluster["connection"]["port"]
        marks = [path.name for path in repository.glob(f"{lineages.folder(id)}/*")]
        assert len(marks) == 1

        add(uri, [6])
        segment = one.archive(second)
        assert (last[:8], segment[:8]) == ("00000001", "00000002")
        wait_until("it is healthy", SECONDS, lambda: works(client, id))
        events = json.loads(second.cenote("audit", "backend", "-o", "json"))
        assert any(f"recovers it from its backups on {second.name}" in str(one) for one in events)

        before = {name for name in one.archived() if name.startswith("00000001")}
        first.start()
        wait_until("its copy is put away", SECONDS, lambda: trashed(first))
        assert "recovered" in trashed(first)[0]
        assert not list(first.data_dir.glob("clusters/*"))
        assert {name for name in one.archived() if name.startswith("00000001")} == before
        assert kept(uri) == [0, 1, 2, 3, 6]

        # Once more, and back: what is in the archive leads across the first recovery.
        second.lose()
        with first.client() as other:
            wait_until("the other host is down", SECONDS, lambda: plan(other, id))
            other.databases.recover_cluster(id)
            wait_until("it is back", SECONDS, lambda: works(other, id))
            uri = get(other, id)["connection"]["uri"]
            assert uri == one.uri
            assert kept(uri) == [0, 1, 2, 3, 6]
            assert one.archive(first)[:8] == "00000003"


def test_a_host_that_was_only_cut_off_archives_nothing_more_and_gives_its_copy_up() -> None:
    with backed_up_fleet() as (hosts, repository), told(hosts), hosts.hosts[1].client() as client:
        [first, second] = hosts.hosts
        one = backed_up(client, repository, "backend", cenote={"host": first.name})
        id = one.id
        add(one.uri, [1])
        one.archive(first)
        frozen = cut_off(first)
        try:
            add(one.uri, [2])
            late = one.archive(first)  # its server goes on, and archives as long as nobody has taken over
            wait_until("the host is down", SECONDS, lambda: plan(client, id))
            client.databases.recover_cluster(id)
            wait_until("it is back", SECONDS, lambda: works(client, id))
            uri = get(client, id)["connection"]["uri"]
            assert kept(uri) == [0, 1, 2]
            add(one.uri, [100])  # the former server still takes what comes to its address
            refused = one.switch(first)
            state = one.paths(first).backup_state
            wait_until("its archiving is refused", SECONDS, lambda: lineages.SUPERSEDED in failure(state))
            add(uri, [3])
            segment = one.archive(second)
            assert segment[:8] == "00000002"
            assert refused not in one.archived()
            assert late in one.archived()
        finally:
            go_on(frozen)
        wait_until("its copy is put away", SECONDS, lambda: trashed(first))
        with pytest.raises(psycopg.OperationalError):
            kept(one.uri)
        assert kept(uri) == [0, 1, 2, 3]
        assert refused not in one.archived()
        wait_until("it is removed there", SECONDS, lambda: not list(first.data_dir.glob("clusters/*")))
        client.databases.create_backup(id)
        wait_until("it is healthy", SECONDS, lambda: works(client, id))


def failure(state: Any) -> str:
    path = state / "archive-failure"
    return path.read_text() if path.exists() else ""


def test_a_deleted_cluster_of_a_lost_host_is_undeleted_from_the_repository() -> None:
    with backed_up_fleet() as (hosts, repository), told(hosts), hosts.hosts[1].client() as client:
        [first, second] = hosts.hosts
        one = backed_up(client, repository, "backend", cenote={"host": first.name})
        id = one.id
        add(one.uri, [1, 2])
        client.databases.destroy_cluster(id)

        def listed() -> Any:
            [found] = client.cenote.list_deleted_clusters()["deleted"]
            return found

        wait_until("it is in the trash", SECONDS, lambda: trashed(first))
        assert listed()["source"] == "trash"
        first.lose()
        wait_until("that is noticed", SECONDS, lambda: listed()["source"] == "repository")
        assert "reason" not in listed()
        with pytest.raises(BusyError, match="host-1"):
            client.cenote.undelete_cluster(id, {"host": first.name})
        assert client.cenote.undelete_cluster(id, {"host": second.name})["changed"] == []
        wait_until("it is back", SECONDS, lambda: works(client, id))
        after = get(client, id)
        assert after["connection"]["uri"] == of_host(one.uri, first, second)
        assert kept(after["connection"]["uri"]) == [0, 1, 2], "a server that is stopped archives all it has"
        first.start()
        wait_until("it is there", SECONDS, lambda: works(client, id))
        assert not list(first.data_dir.glob("clusters/*"))
        assert kept(after["connection"]["uri"]) == [0, 1, 2]
