"""Clusters of one host come back from the repository: after the loss of data, and of the whole machine."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from cenote.host import trash
from cenote.model.paths import Layout
from cenote_client import BusyError, Client, InvalidError
from tests.support.folders import server_folder
from tests.support.pgbackrest import NEEDS_PGBACKREST
from tests.support.recovery import SECONDS, BackedUp, add, backed_up, kept, lose
from tests.support.service import Service, online_cluster, run_cenote, service
from tests.support.waiting import wait_until

pytestmark = NEEDS_PGBACKREST


@dataclass
class Place:
    folder: Path

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def passphrase(self) -> Path:
        return self.folder / "passphrase"

    @property
    def options(self) -> tuple[str, str]:
        return (
            f"--backups=file://{self.repository}",
            f"--service-backup-passphrase-file={self.passphrase}",
        )

    def copies(self) -> list[Path]:
        return sorted(self.repository.glob("cenote/service/*.cenote"))


@pytest.fixture
def place() -> Iterator[Place]:
    with server_folder() as folder:
        made = Place(folder)
        made.passphrase.write_text("correct horse battery\n")
        made.passphrase.chmod(0o600)
        yield made


def get(client: Client, id: str) -> Any:
    return client.databases.get_cluster(id)["database"]


def works(client: Client, id: str) -> bool:
    found = get(client, id)
    return bool(found["status"] == "online" and found["cenote"]["health"] == "healthy")


def listed(client: Client) -> Any:
    [found] = client.cenote.list_deleted_clusters()["deleted"]
    return found


def in_trash(running: Service) -> list[Path]:
    return [entry.path for entry in trash.entries(Layout(running.data_dir))]


def purge_trash(running: Service, client: Client) -> None:
    """Remove what is in the trash, as an agent does on a disk that is nearly full."""
    for path in wait_until("it is in the trash", SECONDS, lambda: in_trash(running)):
        shutil.rmtree(path)
    wait_until("that is noticed", SECONDS, lambda: listed(client)["source"] == "repository")


def test_a_bare_machine_gets_everything_back_with_the_same_ports_and_passwords(place: Place) -> None:
    with service(*place.options, clusters=3) as running:
        with running.client() as client:
            one = backed_up(client, place.repository, "backend")
            before = get(client, one.id)
            client.databases.add_user(one.id, {"name": "app"})
            user = client.databases.get_user(one.id, "app")["user"]
            add(one.uri, [1, 2, 3])
            one.archive(running)
            add(one.uri, [4])  # is lost with the machine
        running.end()  # the next backup of the service comes at its next look, and has the user
        for path in place.copies():
            path.unlink()
        running.start()
        [copy] = wait_until("the service is backed up", SECONDS, place.copies)
        assert copy.stat().st_mode & 0o007 == 0
        ports = (f"--ports={running.first_port}-{running.api_port - 1}", f"--port={running.api_port}")
        lose(running)
        shutil.rmtree(running.data_dir / "clusters")
        with server_folder() as machine:
            data_dir = machine / "data"
            restored = run_cenote(
                *("service", "restore", place.options[0]),
                *(f"--passphrase-file={place.passphrase}", f"--data-dir={data_dir}"),
            )
            assert restored.returncode == 0, restored.stderr
            assert "cenote cluster recover --all" in restored.stderr
            fresh = Service(data_dir, *place.options, *ports, clusters=3)
            try:
                fresh.start()
                with fresh.client() as client:
                    assert_recovered(fresh, client, one, before, user)
            finally:
                fresh.clean_up()


def assert_recovered(fresh: Service, client: Client, one: BackedUp, before: Any, user: Any) -> None:
    def why() -> str:
        return str(get(client, one.id)["cenote"]["reason"])

    wait_until("its data are missing", SECONDS, lambda: "its data directory is missing" in why())
    assert "'cenote cluster recover' restores it from its backups" in why()
    said = fresh.run("cluster", "recover", "--all", "--yes")
    assert said.returncode == 0, said.stderr
    assert "its data directory on" in said.stderr
    after = get(client, one.id)
    assert after["status"] == "online"
    assert after["connection"] == before["connection"]
    assert kept(after["connection"]["uri"]) == [0, 1, 2, 3]
    pool = client.databases.get_connection_pool(one.id, "web")["pool"]
    assert pool["connection"]["uri"] == one.pool["connection"]["uri"]
    assert kept(pool["connection"]["uri"]) == [0, 1, 2, 3]
    assert client.databases.get_user(one.id, "app")["user"] == user
    assert client.databases.get_ca(one.id)["ca"]
    wait_until("it works", SECONDS, lambda: works(client, one.id))
    add(after["connection"]["uri"], [5])
    assert one.archive(fresh)[:8] == "00000002"
    again = fresh.run("cluster", "recover", "--all", "--yes")
    assert "No cluster is down that could be recovered" in again.stderr


def test_a_deleted_cluster_is_undeleted_from_the_repository_when_the_trash_is_empty(place: Place) -> None:
    with service(*place.options, clusters=4) as running, running.client() as client:
        one = backed_up(client, place.repository, "backend")
        before = get(client, one.id)
        add(one.uri, [1, 2])
        client.databases.destroy_cluster(one.id)
        wait_until("it is in the trash", SECONDS, lambda: in_trash(running))
        assert listed(client)["source"] == "trash"
        purge_trash(running, client)
        assert "reason" not in listed(client)
        assert "repository" in running.cenote("cluster", "deleted")

        running.end()
        running.start()
        assert listed(client)["source"] == "repository", "also after a restart"
        other = online_cluster(client, "backend")  # the name is taken again
        with pytest.raises(InvalidError, match="is the name of"):
            client.cenote.undelete_cluster(one.id)
        found = client.cenote.undelete_cluster(one.id, {"name": "again"})
        assert any("Its name is again" in line for line in found["changed"])
        wait_until("it is back", SECONDS, lambda: works(client, one.id))
        after = get(client, one.id)
        assert after["name"] == "again"
        assert kept(after["connection"]["uri"]) == [0, 1, 2]
        assert after["connection"]["password"] == before["connection"]["password"]
        assert after["connection"]["port"] == before["connection"]["port"]
        assert get(client, other["id"])["status"] == "online"

        client.databases.destroy_cluster(one.id)
        wait_until("it is in the trash again", SECONDS, lambda: in_trash(running))
        assert listed(client)["source"] == "trash"
        client.cenote.undelete_cluster(one.id)
        wait_until("it is back", SECONDS, lambda: works(client, one.id))
        assert kept(get(client, one.id)["connection"]["uri"]) == [0, 1, 2]


def test_one_that_is_purged_or_was_never_backed_up_is_forgotten_with_its_data(place: Place) -> None:
    with service(*place.options, clusters=4) as running, running.client() as client:
        one = backed_up(client, place.repository, "backend")
        client.databases.destroy_cluster(one.id)
        purge_trash(running, client)
        client.cenote.purge_cluster(one.id)

        def none() -> bool:
            return client.cenote.list_deleted_clusters()["deleted"] == []

        wait_until("it is gone", SECONDS, none)
        tombstone = Layout(running.data_dir).cluster(UUID(one.id)).root
        assert not tombstone.exists()


def test_data_that_are_lost_on_a_host_that_is_up_are_recovered_in_place(place: Place) -> None:
    with service(*place.options, clusters=3) as running, running.client() as client:
        one = backed_up(client, place.repository, "backend")
        with pytest.raises(BusyError, match="is up and has its data"):
            client.databases.recover_cluster(one.id)
        add(one.uri, [1])
        one.archive(running)
        running.stop()
        data = one.paths(running).root / "pg"
        shutil.rmtree(data)
        running.start()
        wait_until("it is missing", SECONDS, lambda: get(client, one.id)["cenote"]["health"] == "down")

        def begun() -> Any:
            with contextlib.suppress(BusyError):
                return client.databases.recover_cluster(one.id)["recovery"]
            return None

        found = wait_until("it may be recovered", SECONDS, begun)
        assert (found["loss"], found["changed"], found["host"]) == ("missing", [], found["former_host"])
        wait_until("it is back", SECONDS, lambda: works(client, one.id))
        assert kept(one.uri) == [0, 1]
        assert not data.exists()
        with psycopg.connect(one.uri) as connection:
            assert connection.execute("SELECT 42").fetchone() == (42,)
