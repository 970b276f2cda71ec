"""A repository that is damaged, another's, or full, and a disk of the data that is nearly full.

Each costs backups and no query, has its reason in words, and is over when it is mended.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cenote.host import repository_disk
from cenote.rules import repository_space
from tests.support.backups import SECONDS, Kept, as_servers
from tests.support.folders import server_folder
from tests.support.pgbackrest import FOUND, NEEDS_PGBACKREST, version
from tests.support.service import online_cluster, service
from tests.support.waiting import wait_until

pytestmark = NEEDS_PGBACKREST


@pytest.fixture(scope="module")
def kept() -> Iterator[Kept]:
    with server_folder() as folder:
        options = (f"--backups=file://{folder}/repository",)
        with service(*options, clusters=8) as running, running.client() as client:
            cluster: Any = online_cluster(client, "one", version=version())
            yield Kept(running, folder / "repository", client, cluster)


def write(kept: Kept) -> None:
    with psycopg.connect(kept.uri, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS written (n int)")
        connection.execute("INSERT INTO written VALUES (1)")


def infos(kept: Kept) -> list[Path]:
    """The files that say what is in the stanza, with their copies."""
    found = [
        kept.repository / part / kept.id / f"{part}.info{copy}"
        for part in ("archive", "backup")
        for copy in ("", ".copy")
    ]
    assert all(path.is_file() for path in found)
    return found


def damage_by_zeros(kept: Kept, _: Kept) -> None:
    for path in infos(kept):
        path.write_bytes(b"\0" * 64)


def damage_by_cutting(kept: Kept, _: Kept) -> None:
    for path in infos(kept):
        path.write_bytes(path.read_bytes()[:100])


def replace_by_another_passphrase(kept: Kept, other: Kept) -> None:
    """What another service may have put there: it is encrypted by a passphrase of its own."""
    for path, found in zip(infos(kept), infos(other), strict=True):
        path.write_bytes(found.read_bytes())


def replace_by_another_database(kept: Kept, other: Kept) -> None:
    """The stanza of another database, with the right passphrase, as of a restored copy that was started."""
    for part in ("archive", "backup"):
        shutil.rmtree(kept.repository / part / kept.id)
    assert FOUND.pgbackrest is not None
    configuration = kept.paths.root.parent / "other.conf"
    text = kept.paths.backup_configuration.read_text()
    for name in ("pg1-path", "pg1-port", "pg1-socket-path"):
        text = text.replace(_line(text, name), _line(other.paths.backup_configuration.read_text(), name))
    configuration.write_text(text)
    configuration.chmod(0o600)
    owner = kept.paths.backup_configuration.stat()
    os.chown(configuration, owner.st_uid, owner.st_gid)
    try:
        done = as_servers(
            *(FOUND.pgbackrest.path, f"--config={configuration}", f"--stanza={kept.id}"),
            *("--no-online", "stanza-create"),
            cwd=kept.repository,
        )
        assert done.returncode == 0, done.stderr
    finally:
        configuration.unlink()


def _line(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"{name}="))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (damage_by_zeros, "archive.info"),
        (damage_by_cutting, "archive.info"),
        (replace_by_another_passphrase, "archive.info"),
        (replace_by_another_database, "system-id"),
    ],
)
def test_a_stanza_that_is_damaged_or_anothers_costs_backups_alone(
    kept: Kept, spoil: Callable[[Kept, Kept], None], words: str
) -> None:
    own = kept.with_cluster(spoil.__name__.replace("_", "-"))
    wait_until("the other one is backed up", SECONDS, kept.backups)
    aside = kept.repository.with_name("aside")
    for part in ("archive", "backup"):
        subprocess.run(["cp", "-a", kept.repository / part / own.id, f"{aside}-{part}"], check=True)
    own_wal = own.paths.root / "pg"
    spoil(own, kept)
    try:
        segment = own.switch()
        wait_until("it is degraded", SECONDS, lambda: own.health()[0] == "degraded")
        assert own.health()[1].startswith("not archived since 20")
        assert words in own.health()[1]
        assert not own.health()[1].endswith(":")
        own.client.databases.create_backup(own.id)
        failure = wait_until("the failure is told", SECONDS, lambda: own.backups()["cenote"]["failure"])
        assert failure
        assert not failure.endswith(":")
        assert own.types() == ["full"]  # what is known of it is not forgotten
        write(own)
        assert (own_wal / "pg_wal" / segment).exists()
        assert kept.health() == ("healthy", "")  # the others are backed up
    finally:
        for part in ("archive", "backup"):
            shutil.rmtree(kept.repository / part / own.id)
            Path(f"{aside}-{part}").rename(kept.repository / part / own.id)
    own.switch()
    wait_until("it is healthy", SECONDS, lambda: own.health() == ("healthy", ""))
    wait_until("it is archived after all", SECONDS, lambda: own.has(segment))
    wait_until("the backup is made after all", SECONDS, lambda: own.types() == ["full", "diff"])
    assert own.backups()["cenote"]["failure"] == ""
    assert own.backups()["cenote"]["gap_at"] is None


@contextlib.contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[Path]:
    """A disk of so many MiB, mounted where the servers' account may write."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0777", "none", folder],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip("this root may not mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False)


def fill(path: Path, free_mib: int) -> None:
    """Fill the disk of a file up to so much free space; 0: to the last byte."""
    path.unlink(missing_ok=True)
    more = (repository_disk.use(path.parent).free_mib - free_mib) * 2**20
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while free_mib == 0 or file.tell() < more:
            file.write(bytes(2**16))
    if free_mib == 0:
        with contextlib.suppress(OSError), path.with_suffix(".rest").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(512))


def test_a_repository_that_is_full_costs_backups_alone_and_goes_on_when_there_is_room() -> None:
    with server_folder() as folder, small_disk(folder / "disk", 64) as disk:
        options = (f"--backups=file://{disk}/repository",)
        with service(*options, clusters=1) as running, running.client() as client:
            own = Kept(running, disk / "repository", client, {}).with_cluster("one")
            ballast = disk / "ballast"
            fill(ballast, 0)
            segment = own.switch()
            wait_until("it is degraded", SECONDS, lambda: own.health()[0] == "degraded")
            assert "No space left on device" in own.health()[1]
            write(own)
            client.databases.create_backup(own.id)
            failure = wait_until("the failure is told", SECONDS, lambda: own.backups()["cenote"]["failure"])
            assert not failure.endswith(":")
            assert own.types() == ["full"]
            assert "error    the repository for backups cannot be used: " in running.run("doctor").stdout
            ballast.unlink()
            ballast.with_suffix(".rest").unlink()
            wait_until("it is archived after all", SECONDS, lambda: own.has(segment))
            wait_until("it is healthy", SECONDS, lambda: own.health() == ("healthy", ""))
            wait_until("the backup is made after all", SECONDS, lambda: own.types() == ["full", "diff"])


def test_on_the_disk_of_the_data_backups_pause_and_then_the_archive_before_writes_are_refused() -> None:
    with server_folder() as folder, small_disk(folder / "disk", 2048) as disk:
        data = disk / "data"
        with service(f"--data-dir={data}", backups_by_default=True, clusters=1) as running:
            running.data_dir = data
            with running.client() as client:
                own = Kept(running, data / "backups", client, {}).with_cluster("one")
                use = repository_disk.use(data)
                reserve = repository_space.least_free_mib(use) // 2
                ballast = disk / "ballast"
                fill(ballast, 4 * reserve - 5)
                client.databases.create_backup(own.id)
                wait_until(
                    "backups pause", SECONDS, lambda: "backups pause" in own.backups()["cenote"]["failure"]
                )
                segment = own.switch()
                wait_until("WAL is archived", SECONDS, lambda: own.has(segment))
                assert own.health() == ("healthy", "")
                fill(ballast, 2 * reserve - 3)
                segment = own.switch()
                wait_until("it is degraded", SECONDS, lambda: own.health()[0] == "degraded")
                assert "the disk, which is that of the data, has" in own.health()[1]
                assert not own.has(segment)
                write(own)
                ballast.unlink()
                wait_until("it is archived after all", SECONDS, lambda: own.has(segment))
                wait_until("it is healthy", SECONDS, lambda: own.health() == ("healthy", ""))
                wait_until("the backup is made", SECONDS, lambda: own.types() == ["full", "diff"])
                assert own.backups()["cenote"]["failure"] == ""
