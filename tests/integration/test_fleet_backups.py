"""Backups of clusters with several nodes: across a failover, and what of the WAL is lost with a host."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cenote_client import BusyError, Client, InvalidError
from tests.integration.test_fleet_moves import get, told
from tests.integration.test_fleet_nodes import healthy, nodes, primary
from tests.integration.test_fleet_recovery import trashed
from tests.integration.test_fork import second
from tests.support.fleet import Fleet, FleetHost
from tests.support.pgbackrest import NEEDS_PGBACKREST
from tests.support.recovery import BackedUp, add, backed_up, backed_up_fleet, kept
from tests.support.service import SMALLEST
from tests.support.several_nodes import may_take_over
from tests.support.waiting import wait_until

SECONDS = 180
pytestmark = NEEDS_PGBACKREST


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Fleet, Path]]:
    with backed_up_fleet(4, joined=True) as found:  # the last one is no member of the store
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
        moments: Any = ((before, 1, [0, 1, 2, 3]), (after, 2, [0, 1, 2, 3, 4, 5]))
        for moment, count, expected in moments:  # the node that takes writes now has to look at the archive
            wait_until("it can be restored", SECONDS, functools.partial(restorable, client, id, moment))
            fork = forked(client, "backend", moment, num_nodes=count)
            assert (fork["num_nodes"], kept(fork["connection"]["uri"])) == (count, expected)
            if count > 1:  # the others copy the data once they are there
                assert kept(fork["standby_connection"]["uri"]) == expected
            client.databases.destroy_cluster(fork["id"])
        state = client.databases.list_backups(id)
        assert state["cenote"]["gap_at"] is None
        # A standby waits for no segment in which the former timeline has ended.
        others = [host.data_dir / "clusters" / id for host in hosts.hosts if host not in (lost, now)]
        [status] = [one for other in others for one in other.glob("pg*/pg_wal/archive_status")]
        wait_until("nothing waits", 60, lambda: not list(status.glob("00000001*.ready")))
        lost.start()
        healthy(client, id)
        client.databases.destroy_cluster(id)


def test_what_a_new_standby_does_not_have_of_the_wal_is_told_as_lost_with_the_primary(
    place: tuple[Fleet, Path],
) -> None:
    hosts, repository = place
    with told(hosts), hosts.hosts[0].client() as client:
        one = backed_up(client, repository, "late", cenote={"host": "host-4"})
        id = one.id
        lost = hosts.hosts[3]
        one.archive(lost)
        with away(repository, one):
            add(one.uri, [1])
            one.switch(lost)
            within = second()
            one.switch(lost)
            # What was written before is in the copy of the data, and its WAL on the first host alone.
            client.databases.update_cluster_size(id, {"size": str(SMALLEST["size"]), "num_nodes": 2})
            wait_until(
                "the standby may take over", SECONDS, lambda: may_take_over(hosts.hosts[0], {"id": id})
            )
            add(one.uri, [2])
            lost.lose()
            wait_until("another node takes writes", 60, lambda: primary(client, id) not in ("", "node-1"))
            uri = wait_until("it is there", 60, lambda: writable(client, id))

        def followed() -> Any:
            state = client.databases.list_backups(id)
            last = state["backups"][-1]["cenote"]
            gap_at = state["cenote"]["gap_at"]
            return state if gap_at and last["type"] == "full" and last["started_at"] >= gap_at else None

        state = wait_until("the gap is told, and a full backup made", SECONDS, followed)
        first, last = state["cenote"]["restorable"]
        assert first["until"] <= f"{within:%Y-%m-%dT%H:%M:%SZ}" < last["since"]
        with pytest.raises(InvalidError, match="cannot be restored"):
            forked(client, "late", within)
        add(uri, [3])
        fork = forked(client, "late", second())
        assert kept(fork["connection"]["uri"]) == [0, 1, 2, 3]
        client.databases.destroy_cluster(fork["id"])
        lost.start()
        healthy(client, id)
        client.databases.destroy_cluster(id)


def test_a_cluster_of_two_lost_hosts_comes_up_on_two_others_and_is_undeleted_with_two_nodes(
    place: tuple[Fleet, Path],
) -> None:
    hosts, repository = place
    [first, second_, third, fourth] = hosts.hosts
    with told(hosts), first.client() as client:
        for host in (first, second_):
            first.cenote("host", "drain", host.name)
        one = backed_up(client, repository, "twins", num_nodes=2, cenote={"host": fourth.name})
        id = one.id
        healthy(client, id)
        add(one.uri, [1])
        one.archive(fourth)
        for host in (first, second_):
            first.cenote("host", "undrain", host.name)
        fourth.lose()
        there = f"{third.name}, the host of the cluster, is up and has its data"
        wait_until("a standby that is there is told", SECONDS, lambda: there in hindrance(client, id))
        third.lose()
        wait_until("both hosts are down", SECONDS, lambda: not hindrance(client, id))
        first.cenote("cluster", "recover", "twins", "--yes")
        healthy(client, id)
        found = get(client, id)
        assert {node["host"] for node in found["cenote"]["nodes"]} == {first.name, second_.name}
        uri = found["connection"]["uri"]
        assert kept(uri) == kept(found["standby_connection"]["uri"]) == [0, 1]
        add(uri, [2])
        for host in (third, fourth):
            host.start()
        wait_until("their copies are put away", SECONDS, lambda: trashed(third) and trashed(fourth))
        now = host_of_primary(hosts, client, id)
        one.archive(now)
        client.databases.destroy_cluster(id)
        wait_until("it is in the trash", SECONDS, lambda: trashed(now))
        with next(host for host in (first, second_) if host is not now).client() as other:
            now.lose()

            def is_in_repository() -> bool:
                listed = other.cenote.list_deleted_clusters()["deleted"]
                return any(one["id"] == id and one["source"] == "repository" for one in listed)

            wait_until("that is noticed", SECONDS, is_in_repository)
            assert other.cenote.undelete_cluster(id)["database"]["num_nodes"] == 2
            healthy(other, id)
            found = get(other, id)
            assert kept(found["connection"]["uri"]) == kept(found["standby_connection"]["uri"]) == [0, 1, 2]
        now.start()


def restorable(client: Client, id: str, moment: datetime) -> bool:
    spans = client.databases.list_backups(id)["cenote"]["restorable"]
    return any(span["since"] <= f"{moment:%Y-%m-%dT%H:%M:%SZ}" <= span["until"] for span in spans)


def hindrance(client: Client, id: str) -> str:
    """Return why a cluster cannot be recovered, "" if it can."""
    try:
        client.databases.get_recovery(id)
    except BusyError as error:
        return error.message
    return ""


def writable(client: Client, id: str) -> str:
    uri = str(get(client, id)["connection"]["uri"])
    with contextlib.suppress(Exception):
        add(uri, [])
        return uri
    return ""


def numbers(segments: set[str]) -> list[int]:
    return sorted({int(name[8:], 16) for name in segments})
