"""What is removed from the repository: the backups of clusters that are gone for good, and no others."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.backups import SECONDS, Kept
from tests.support.folders import server_folder
from tests.support.pgbackrest import NEEDS_PGBACKREST, version
from tests.support.service import Service, online_cluster, service
from tests.support.waiting import wait_until

pytestmark = NEEDS_PGBACKREST


@dataclass
class Place:
    """A service, and the directory that it keeps backups in."""

    running: Service
    repository: Path
    client: Any

    def parts(self, id: str) -> set[str]:
        return {part for part in ("archive", "backup") if (self.repository / part / id).exists()}

    def backed_up(self, name: str) -> Kept:
        cluster: Any = online_cluster(self.client, name, version=version())
        made = Kept(self.running, self.repository, self.client, cluster)
        wait_until("it is backed up", SECONDS, made.backups)
        return made

    def foreign(self, id: str) -> None:
        """Put a folder there as another service's cluster has it."""
        for part in ("archive", "backup"):
            shutil.copytree(next((self.repository / part).iterdir()), self.repository / part / id)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with server_folder() as folder:
        options = (f"--backups=file://{folder}/repository",)
        with service(*options, clusters=6) as running, running.client() as client:
            yield Place(running, folder / "repository", client)


def test_the_backups_of_a_cluster_go_when_it_cannot_be_undeleted_any_more_and_those_of_others_stay(
    place: Place,
) -> None:
    living, kept = place.backed_up("living"), place.backed_up("deleted")
    stranger = str(uuid4())
    place.foreign(stranger)
    (place.repository / "backup" / "notes").mkdir()
    place.client.databases.destroy_cluster(kept.id)
    wait_until("it is put away", SECONDS, lambda: not kept.paths.root.exists())
    again = place.backed_up("again")  # a sweep of the repository has time meanwhile
    assert place.parts(kept.id) == {"archive", "backup"}
    place.running.cenote("cluster", "delete", kept.id, "--purge", "--yes")
    wait_until("its backups are removed", SECONDS, lambda: not place.parts(kept.id))
    for other in (living.id, again.id, stranger):
        assert place.parts(other) == {"archive", "backup"}
    assert (place.repository / "backup" / "notes").is_dir()
    assert living.backups() is not None
    segment = living.switch()
    wait_until("WAL is archived", SECONDS, lambda: living.has(segment))


def test_what_a_killed_agent_has_left_is_removed_by_the_next_one(place: Place) -> None:
    kept = place.backed_up("killed")
    many = place.repository / "backup" / kept.id / "many"
    many.mkdir()
    for number in range(20_000):
        (many / str(number)).touch()
    shutil.chown(many, *_owner(many.parent))
    place.running.cenote("cluster", "delete", kept.id, "--purge", "--yes")
    wait_until("the removal has begun", SECONDS, lambda: "it is gone for good" in _of(place, kept.id))
    place.running.end(signal.SIGKILL)
    place.running.start()
    wait_until("its backups are removed", SECONDS, lambda: not place.parts(kept.id))


def test_backups_that_come_back_from_elsewhere_are_removed_again_while_the_deletion_is_known(
    place: Place,
) -> None:
    kept = place.backed_up("restored")
    aside = place.repository.with_name("aside")
    subprocess.run(["cp", "-a", place.repository / "archive" / kept.id, aside], check=True)
    place.running.cenote("cluster", "delete", kept.id, "--purge", "--yes")
    wait_until("its backups are removed", SECONDS, lambda: not place.parts(kept.id))
    subprocess.run(["cp", "-a", aside, place.repository / "archive" / kept.id], check=True)
    place.running.end()
    place.running.start()
    wait_until("they are removed", SECONDS, lambda: not place.parts(kept.id))


def _owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid


def _of(place: Place, id: str) -> str:
    return "\n".join(line for line in place.running.log().splitlines() if str(UUID(id)) in line)
