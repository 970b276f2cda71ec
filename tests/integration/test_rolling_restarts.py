"""What needs a restart costs clients of the pools of a cluster with several nodes no error."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from cenote.errors import CenoteError
from cenote.host import patroni_rest, processes, programs
from cenote.model.changes import RestartByPatroni
from cenote.model.paths import Layout
from cenote.model.topology import SHARED
from cenote_client import Client
from tests.support.folders import server_folder
from tests.support.service import Service, added_pool, service, tried
from tests.support.several_nodes import SECONDS, node, several, writing
from tests.support.waiting import wait_until

NUMBERS = (1, 2, 3)


@pytest.fixture(scope="module")
def binaries() -> Iterator[Path]:
    """A copy of PostgreSQL's programs, as an update can replace them."""
    found = programs.find().postgres
    installed = found[max(found, key=int)].bin
    with server_folder() as folder:
        (folder / "lib").symlink_to(installed.parent / "lib")  # where a server looks beside its programs
        yield Path(shutil.copytree(installed, folder / "bin"))


@pytest.fixture(scope="module")
def running(binaries: Path) -> Iterator[Service]:
    with service(f"--postgres-dir={binaries}") as started:
        yield started


@pytest.fixture(scope="module")
def client(running: Service) -> Iterator[Client]:
    with running.client() as created:
        yield created


def get(client: Client, id: str) -> Any:
    return client.databases.get_cluster(id)["database"]


def in_force(client: Client, id: str) -> None:
    """Wait until all nodes have been restarted for what was asked for, and follow."""

    def ready() -> bool:
        found = get(client, id)
        is_done = not found["cenote"].get("not_in_force") and not found["maintenance_window"]["pending"]
        return is_done and found["status"] == "online" and found["cenote"]["reason"] == SHARED

    try:
        wait_until("all nodes are restarted", 2 * SECONDS, ready)
    except AssertionError:
        print(get(client, id))
        raise


def on_all(client: Client, id: str, query: LiteralString) -> set[Any]:
    """Return what the servers of all nodes answer."""
    found = get(client, id)
    parts = urlsplit(found["connection"]["uri"])
    login, _, _ = parts.netloc.rpartition("@")
    hosts = (f"{login}@{parts.hostname}:{one['port']}" for one in found["cenote"]["nodes"])
    return {tried(parts._replace(netloc=netloc).geturl(), query) for netloc in hosts}


def under_way(client: Client, id: str) -> str:
    """Wait until a node is being restarted, and return what is said of it."""

    def lines() -> str:
        found = get(client, id)["cenote"].get("not_in_force", ())
        return next((line for line in found if "is being restarted" in line or "is restarted" in line), "")

    return wait_until("a node is being restarted", SECONDS, lines)


def killed(running: Service, name: str) -> None:
    pid = running.child(name)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_settings_a_size_and_an_update_come_into_force_on_all_nodes_and_no_query_of_a_pool_fails(
    running: Service, client: Client, binaries: Path
) -> None:
    id = several(client, "rolling", 3)["id"]
    uri = added_pool(client, id, "app")["connection"]["uri"]
    [buffers] = on_all(client, id, "SHOW shared_buffers")
    [connections] = on_all(client, id, "SHOW max_connections")
    with writing(uri) as ledger:
        wanted = {"max_connections": 40, "shared_buffers_percentage": 30}
        client.request("PATCH", f"/v2/databases/{id}/config", json={"config": wanted})
        assert "one at a time" in under_way(client, id)
        killed(running, "agent")
        in_force(client, id)
        [more] = on_all(client, id, "SHOW max_connections")
        [others] = on_all(client, id, "SHOW shared_buffers")
        assert int(more) > int(connections)
        assert others != buffers

        wanted = {"max_connections": 25}
        client.request("PATCH", f"/v2/databases/{id}/config", json={"config": wanted})
        under_way(client, id)
        killed(running, "api")
        in_force(client, id)
        assert on_all(client, id, "SHOW max_connections") == {connections}

        body = {"size": "db-s-1vcpu-2gb", "num_nodes": 3}
        client.request("PUT", f"/v2/databases/{id}/resize", json=body)
        assert get(client, id)["status"] == "resizing"
        in_force(client, id)
        [resized] = on_all(client, id, "SHOW shared_buffers")
        assert resized != others

        shutil.copy(binaries / "postgres", binaries / "new")
        (binaries / "new").rename(binaries / "postgres")
        outdated = {number: server(running, get(client, id), number) for number in NUMBERS}
        wait_until("the update is seen", SECONDS, lambda: get(client, id)["maintenance_window"]["pending"])
        client.request("PUT", f"/v2/databases/{id}/install_update")
        wait_until(
            "all servers are replaced",
            2 * SECONDS,
            lambda: all(server(running, get(client, id), one) != outdated[one] for one in NUMBERS),
        )
        in_force(client, id)
        ledger.goes_on()
        refused = patroni_refuses(running, get(client, id))
        assert "restart conditions are not satisfied" in refused
        ledger.goes_on()
    assert not ledger.failed, ledger.failed
    ledger.check(uri)
    events = client.databases.list_events_logs(id)["events"]
    assert any(one["event_type"] == "cluster_master_promotion" for one in events)


def server(running: Service, cluster: Any, number: int) -> Any:
    return processes.find(node(running, cluster, number).server(Path()))


def patroni_refuses(running: Service, cluster: Any) -> str:
    """Return what is said when a node that stands by is to be restarted as one that takes writes."""
    [number, *_] = [
        int(one["name"].rpartition("-")[2]) for one in cluster["cenote"]["nodes"] if one["role"] == "standby"
    ]
    paths = Layout(running.data_dir).cluster(UUID(cluster["id"]))
    wish = RestartByPatroni(
        node(running, cluster, number).failover_agent(Path()),
        "127.0.0.1",
        paths.certificate,
        writes=True,
        node=f"node-{number}",
        why="a test",
    )
    with pytest.raises(CenoteError) as refusal:
        asyncio.run(patroni_rest.restart(wish))
    return str(refusal.value)
