"""The backups of clusters that move to other hosts."""

from __future__ import annotations

import contextlib
from typing import Any

from cenote_client import BusyError
from tests.support.backups import SECONDS
from tests.support.fleet import fleet
from tests.support.folders import server_folder
from tests.support.pgbackrest import NEEDS_PGBACKREST, version
from tests.support.service import online_cluster
from tests.support.waiting import wait_until

pytestmark = NEEDS_PGBACKREST


def test_a_cluster_that_moves_takes_its_backups_along_where_the_repository_is_shared() -> None:
    with (
        server_folder() as folder,
        fleet(2, f"--backups=file://{folder}/repository") as hosts,
        hosts.hosts[0].client() as client,
    ):
        [first, second] = hosts.hosts
        id = online_cluster(client, "one", version=version(), cenote={"host": first.name})["id"]

        def labels() -> list[str]:
            with contextlib.suppress(BusyError):
                found: Any = client.databases.list_backups(id)
                return [backup["cenote"]["label"] for backup in found["backups"]]
            return []

        def seen() -> Any:
            return client.request("GET", f"/v2/databases/{id}")["database"]["cenote"]

        [label] = wait_until("it is backed up", SECONDS, labels)
        client.databases.move_cluster(id, {"host": second.name})
        wait_until("it has moved", SECONDS, lambda: seen()["host"] == second.name and "move" not in seen())
        wait_until("the new host has seen the backup", SECONDS, lambda: labels() == [label])
        client.databases.create_backup(id)
        wait_until("it is backed up there", SECONDS, lambda: len(labels()) == 2)
        wait_until("it is healthy", SECONDS, lambda: seen()["health"] == "healthy")
        archived = folder.glob(f"repository/archive/{id}/*/00000002*/*")
        assert any(archived)  # WAL of the time after the promotion


def test_a_cluster_that_moves_between_hosts_with_directories_of_their_own_begins_anew_on_each() -> None:
    with (
        fleet(2, backups_by_default=True) as hosts,
        hosts.hosts[0].client() as client,
    ):
        [first, second] = hosts.hosts
        id = online_cluster(client, "one", version=version(), cenote={"host": first.name})["id"]

        def seen() -> Any:
            return client.request("GET", f"/v2/databases/{id}")["database"]["cenote"]

        def moved_to(host: Any) -> bool:
            return seen()["host"] == host.name and "move" not in seen()

        def found() -> Any:
            with contextlib.suppress(BusyError):
                return client.databases.list_backups(id)
            return None

        def types() -> list[str]:
            answer = found()
            return [] if answer is None else [one["cenote"]["type"] for one in answer["backups"]]

        wait_until("it is backed up", SECONDS, lambda: types() == ["full"])
        client.databases.move_cluster(id, {"host": second.name})
        wait_until("it has moved", SECONDS, lambda: moved_to(second))
        own = second.data_dir / "backups" / "backup" / id / "latest"
        wait_until("it is backed up there", SECONDS, own.is_symlink)
        wait_until("it is healthy", SECONDS, lambda: seen()["health"] == "healthy")
        wait_until("that is shown", SECONDS, lambda: types() == ["full"])
        assert found()["cenote"]["gap_at"] is None  # what is listed there is all from after the move
        client.databases.move_cluster(id, {"host": first.name})
        wait_until("it is back", SECONDS, lambda: moved_to(first))
        wait_until("a full one follows the gap", SECONDS, lambda: types() == ["full", "full"])
        gap_at = found()["cenote"]["gap_at"]
        assert gap_at is not None
        assert found()["backups"][0]["created_at"] < gap_at <= found()["backups"][1]["created_at"]
        wait_until("it is healthy", SECONDS, lambda: seen()["health"] == "healthy")
        client.request("DELETE", f"/v2/databases/{id}")
        first.cenote("cluster", "delete", id, "--purge", "--yes")
        left = [host.data_dir / "backups" / "backup" / id for host in hosts.hosts]
        wait_until("its backups are removed", SECONDS, lambda: not any(path.exists() for path in left))
