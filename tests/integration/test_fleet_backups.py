"""Backups of clusters with several nodes: across a failover, and what of the WAL is lost with a host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cenote_client import Client
from tests.integration.test_fleet_moves import get, told
from tests.integration.test_fleet_nodes import healthy, nodes, primary
from tests.integration.test_fork import second
from tests.support.fleet import Fleet, FleetHost
from tests.support.pgbackrest import NEEDS_PGBACKREST
from tests.support.recovery import BackedUp, add, backed_up, backed_up_fleet, kept
from tests.support.service import SMALLEST
from tests.support.waiting import wait_until

SECONDS = 180
pytestmark = NEEDS_PGBACKREST


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Fleet, Path]]:
    with backed_up_fleet(3, joined=True) as found:
        yield found


@contextlib.contextmanager
def away(repository: Path, one: BackedUp) -> Iterator[None]:
    """Have the repository take no WAL of a cluster meanwhile."""
    [folder] = [path for path in (repository / "archive" / one.id).iterdir() if path.is_dir()]
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_text("in the way")
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


def host_of_primary(hosts: Fleet, client: Client, id: str) -> FleetHost:
    name = nodes(client, id)[primary(client, id)]["host"]
    return next(host for host in hosts.hosts if host.name == name)


def forked(client: Client, source: str, at: datetime | None, **fields: Any) -> Any:
    """Fork a cluster as of a moment; return the fork when it is online, with all of its nodes."""
    restore = {"database_name": source}
    restore |= {} if at is None else {"backup_created_at": at.isoformat().replace("+00:00", "Z")}
    name = f"fork-{datetime.now(UTC):%H%M%S%f}"
    body = SMALLEST | {"name": name, "backup_restore": restore} | fields
    id = client.request("POST", "/v2/databases", json=body)["database"]["id"]

    def online() -> Any:
        found = get(client, id)
        return found if found["status"] == "online" else None

    return wait_until(f"the fork {name} is online", SECONDS, online)


def test_a_moment_before_and_one_after_the_loss_of_the_primary_can_be_restored(
    place: tuple[Fleet, Path],
) -> None:
    hosts, repository = place
    observer = hosts.hosts[0]
    with told(hosts), observer.client() as client:
        one = backed_up(client, repository, "backend", num_nodes=3, cenote={"host": hosts.hosts[1].name})
        id = one.id
        healthy(client, id)
        lost = host_of_primary(hosts, client, id)
        assert lost is hosts.hosts[1]
        assert len(list((repository / "backup" / id).glob("*F"))) == 1  # one for all nodes
        with away(repository, one):
            for number in (1, 2, 3):
                add(one.uri, [number])
                one.switch(lost)
            before = second()
            add(one.uri, [4])
            lost.lose()
            wait_until("another node takes writes", 60, lambda: primary(client, id) not in ("", "node-1"))
            uri = wait_until("it is there", 60, lambda: writable(client, id))
        add(uri, [5])
        after = second()
        add(uri, [6])
        now = host_of_primary(hosts, client, id)
        last = one.archive(now)
        assert last[:8] == "00000002"
        assert numbers(one.archived()) == list(range(min(numbers(one.archived())), int(last[8:], 16) + 1))
        for moment, expected in ((before, [0, 1, 2, 3]), (after, [0, 1, 2, 3, 4, 5])):
            fork = forked(client, "backend", moment)
            assert kept(fork["connection"]["uri"]) == expected
            client.databases.destroy_cluster(fork["id"])
        state = client.databases.list_backups(id)
        assert state["cenote"]["gap_at"] is None
        # A standby waits for no segment in which the former timeline has ended.
        other = next(host for host in hosts.hosts if host not in (lost, now))
        waiting = other.data_dir / "clusters" / id
        wait_until("nothing waits", 60, lambda: not list(waiting.glob("pg*/pg_wal/archive_status/*1*.ready")))
        lost.start()
        healthy(client, id)
        client.databases.destroy_cluster(id)


def writable(client: Client, id: str) -> str:
    uri = str(get(client, id)["connection"]["uri"])
    with contextlib.suppress(Exception):
        add(uri, [])
        return uri
    return ""


def numbers(segments: set[str]) -> list[int]:
    return sorted({int(name[8:], 16) for name in segments})
