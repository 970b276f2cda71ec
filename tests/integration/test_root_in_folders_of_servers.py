"""Root works beside an account that has been broken into: it is led to no file and no process of its own.

Each test lets the servers' account do what it can, and then looks at what is root's.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from cenote.engine import look as looks
from cenote.errors import CenoteError, Misconfigured
from cenote.host import files, pauses, processes, stopping, system, takeover, templates
from cenote.host.inspector import Inspector
from cenote.model import pauses as model
from cenote.model.changes import CopyTemplate, EndProcesses, Remove, ShortenLog, Start, Stop, WriteFile
from cenote.model.paths import Layout
from cenote.model.records import Cluster
from tests.support.agent import ask
from tests.support.intruder import as_account, repeating
from tests.support.lab import Lab, Share
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that its servers do not")

FOLDERS = 4  # changes after which a new cluster has its folders and nothing in them
SEGMENT = "0000000100000000000000FF"
SLEEP = "import time; time.sleep(600)"
WAL = bytes((0, 0, 2, 0)) + b"of root alone".ljust(
    60, b"."
)  # looks like a segment to write an identifier into


@pytest.fixture
def secret(tmp_path: Path) -> Iterator[Path]:
    """A file of root, in a folder of root; nothing of the two may change."""
    path = tmp_path / "roots" / "file"
    path.parent.mkdir(mode=0o700)
    path.write_bytes(WAL)
    path.chmod(0o600)
    before = state(path.parent)
    yield path
    assert state(path.parent) == before


def state(folder: Path) -> list[Any]:
    """What must not change: names, owners, modes and contents."""
    found = []
    for path in (folder, *sorted(folder.rglob("*"))):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found.append((path, status.st_uid, status.st_gid, status.st_mode, content))
    return found


@contextmanager
def roots_process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of root that works in this folder; it lives on."""
    with subprocess.Popen([sys.executable, "-c", SLEEP], cwd=folder, start_new_session=True) as process:
        try:
            yield process
            assert process.poll() is None, "root has ended a process of its own"
        finally:
            process.kill()


async def with_folders(lab: Lab) -> Cluster:
    cluster = lab.new_cluster()
    await lab.converge(cluster, stop_after=FOLDERS)
    return cluster


def as_a_former_version_left_it(lab: Lab, cluster: Cluster) -> None:
    """Give the whole folder of a cluster to the servers' account."""
    paths = lab.layout.cluster(cluster.id)
    for path in (paths.root, *paths.root.glob("*"), *paths.certificate.parent.glob("*")):
        os.chown(path, *(lab.account.owner or (-1, -1)), follow_symlinks=False)
    for folder in (paths.root, paths.certificate.parent):
        folder.chmod(0o700)


# -- Templates and spares


@pytest.mark.parametrize("which", ["template", "spare"])
def test_a_link_that_is_named_like_a_wal_segment_is_not_written_through(
    labs: Share, secret: Path, which: str
) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_folders(lab)
        source = await lab.executor.prepare_template(lab.version)
        spare = source.with_name(f"{source.name}.spare")
        if which == "template":
            shutil.rmtree(spare)
        attacked = source if which == "template" else spare
        as_account(lab.account, "os.symlink(*sys.argv[1:])", secret, attacked / "pg_wal" / SEGMENT)
        await lab.executor.do(CopyTemplate(lab.version, lab.wanted(cluster).paths.data), lab.session(cluster))

    labs(scenario)


def test_a_spare_that_is_exchanged_for_a_link_is_not_worked_in(labs: Share, secret: Path) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_folders(lab)
        source = await lab.executor.prepare_template(lab.version)
        spare = source.with_name(f"{source.name}.spare")
        shutil.copytree(source, secret.parent / "data")
        before = state(secret.parent / "data")
        exchange = "os.rename(sys.argv[1], sys.argv[1] + '.away'); os.symlink(sys.argv[2], sys.argv[1])"
        as_account(lab.account, exchange, spare, secret.parent / "data")
        try:
            data = lab.wanted(cluster).paths.data
            await lab.executor.do(CopyTemplate(lab.version, data), lab.session(cluster))
            assert state(secret.parent / "data") == before
        finally:
            shutil.rmtree(secret.parent / "data")

    labs(scenario)


def test_a_link_that_appears_while_root_copies_leads_into_no_folder_of_root(
    labs: Share, secret: Path
) -> None:
    async def scenario(lab: Lab) -> None:
        source = await lab.executor.template(lab.version)
        for _ in range(3):
            spare = source.with_name(f"{source.name}.spare")
            if spare.exists():
                shutil.rmtree(spare)
            cluster = await with_folders(lab)
            data = lab.wanted(cluster).paths.data
            draft = data.with_name(f".draft-{data.name}")
            with (
                repeating(lab.account, "os.symlink(*sys.argv[1:])", secret.parent, draft),
                suppress(OSError, CenoteError),
            ):
                await lab.executor.do(CopyTemplate(lab.version, data), lab.session(cluster))
            left = [path.name for path in secret.parent.iterdir()]
            assert left == [secret.name], "root has put files into a folder of its own"

    labs(scenario)


def test_a_link_between_the_making_of_a_folder_and_its_change_of_owner_gives_nothing_away(
    labs: Share, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account acts at the worst moment, which it might meet if it only tried often enough."""
    make = tempfile.mkdtemp

    async def scenario(lab: Lab) -> None:
        exchange = "os.rename(sys.argv[1], sys.argv[1] + '.away'); os.symlink(sys.argv[2], sys.argv[1])"

        def make_and_lose(*arguments: Any, **how: Any) -> str:
            made: str = make(*arguments, **how)
            as_account(lab.account, exchange, made, secret)
            return made

        monkeypatch.setattr(tempfile, "mkdtemp", make_and_lose)
        elsewhere = lab.folder / "other" / "templates"
        with suppress(OSError, CenoteError):
            templates.find_or_create(elsewhere, lab.host.binaries[lab.version], lab.account)

    labs(scenario)


@pytest.mark.parametrize(
    "leaves",
    [
        f'ln -s "$SECRET" "$DATA/pg_wal/{SEGMENT}"',
        'mv "$DATA/global" "$DATA/../away"; ln -s "$(dirname "$SECRET")" "$DATA/global"',
        'mkfifo "$DATA/pg_wal/a-pipe"',
        'ln "$DATA/PG_VERSION" "$DATA/again"',
        'truncate -s 2G "$DATA/huge"',
        'cd "$DATA"; for n in $(seq 20); do mkdir d; cd d; done',
    ],
    ids=["link", "folder", "pipe", "second name", "huge", "deep"],
)
def test_what_initdb_leaves_is_no_template_unless_it_is_a_data_directory(
    labs: Share, secret: Path, leaves: str
) -> None:
    """Other processes of the account can change what ``initdb`` makes, as this one does."""

    async def scenario(lab: Lab) -> None:
        binaries = lab.host.binaries[lab.version]
        changed = lab.folder / f"bin-{len(leaves)}"
        changed.mkdir()
        (changed / "initdb").symlink_to(binaries / "initdb")
        wrapper = changed / "postgres"
        wrapper.write_text(
            f'#!/bin/bash\n"{binaries}/postgres" "$@" || exit 1\n[ "$1" = --single ] || exit 0\n'
            f'[ "$4" = postgres ] || exit 0\nDATA="$3" SECRET="{secret}"\n{leaves}\nexit 0\n'
        )
        wrapper.chmod(0o755)
        elsewhere = lab.folder / "more" / "templates"
        with pytest.raises(CenoteError, match="a new data directory"):
            templates.find_or_create(elsewhere, changed, lab.account)
        assert list(elsewhere.iterdir()) == []

    labs(scenario)


def test_the_account_reaches_neither_templates_nor_spares(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        source = await lab.executor.prepare_template(lab.version)
        for path in (source.parent, source, source.with_name(f"{source.name}.spare")):
            assert not as_account(lab.account, "os.listdir(sys.argv[1])", path)
            assert not as_account(lab.account, "os.open(sys.argv[1], os.O_PATH)", path / "PG_VERSION")

    labs(scenario)


# -- Processes


@pytest.mark.parametrize("when", ["now", "before the upgrade"])
def test_a_forged_stamp_ends_no_process_of_root(labs: Share, tmp_path: Path, when: str) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_folders(lab)
        server = lab.wanted(cluster).server
        if when == "before the upgrade":
            as_a_former_version_left_it(lab, cluster)
        with roots_process(tmp_path) as process:
            forge = "os.symlink(*sys.argv[1:3]); open(sys.argv[3], 'w').write(sys.argv[4])"
            forged = as_account(
                lab.account, forge, tmp_path, server.directory, server.stamp, f"{process.pid} 1 x"
            )
            assert forged == (when == "before the upgrade")
            takeover.take_over(lab.layout, lab.account)
            assert processes.find(server) is None
            await lab.executor.do(Stop(server), lab.session(cluster))

    labs(scenario)


def test_a_pid_file_that_names_a_process_of_root_there_is_not_believed(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = lab.new_cluster()
        await lab.converge(cluster)
        server = lab.wanted(cluster).server
        with roots_process(server.directory) as process:
            await lab.executor.do(Stop(server), lab.session(cluster))
            write = "open(sys.argv[1], 'w').write(sys.argv[2])"
            assert as_account(lab.account, write, server.pid_file, process.pid)
            assert processes.find(server) is None
            await lab.executor.do(Stop(server), lab.session(cluster))
            await lab.executor.do(EndProcesses(server.directory), lab.session(cluster))
            await lab.executor.do(EndProcesses(lab.layout.cluster(cluster.id).root), lab.session(cluster))

    labs(scenario)


def test_a_pid_that_has_become_another_users_process_gets_no_signal(labs: Share, tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        with roots_process(tmp_path) as process:
            found = processes.identify(process.pid)
            assert found is not None
            with pytest.raises(CenoteError, match="belongs to another user"):
                await stopping.stop(found, signal.SIGKILL, 0, user=lab.account.user_id)

    labs(scenario)


# -- Files


def plant(lab: Lab, code: str, path: Path, *arguments: object) -> None:
    """Have the account put something in the place of a file of its own folders."""
    assert as_account(
        lab.account, f"os.path.lexists(sys.argv[1]) and os.unlink(sys.argv[1])\n{code}", path, *arguments
    )


IN_FOLDERS_OF_THE_ACCOUNT = (
    *("pg/postgresql.conf", "pg/pg_hba.conf", "pg/pg_ident.conf", "pg/postmaster.pid", "pg/PG_VERSION"),
    *("pgbouncer/pgbouncer.ini", "pgbouncer/userlist.txt", "pgbouncer/hba.conf", "pgbouncer/pgbouncer.pid"),
)


@pytest.mark.parametrize(
    "code",
    [
        "os.symlink(sys.argv[2], sys.argv[1])",
        "os.mkfifo(sys.argv[1])",
        "os.truncate(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), 1 << 40)",
        "os.mkdir(sys.argv[1])",
    ],
    ids=["link", "pipe", "huge file", "folder"],
)
def test_whatever_stands_in_the_place_of_a_file_is_neither_followed_nor_waited_for(
    labs: Share, secret: Path, code: str
) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = lab.new_cluster()
        await lab.converge(cluster)
        root, before = lab.layout.cluster(cluster.id).root, lab.wanted(cluster).programs
        for program in before:
            await lab.executor.do(Stop(program), lab.session(cluster))
        for name in IN_FOLDERS_OF_THE_ACCOUNT:
            plant(lab, code, root / name, secret)
        session = lab.session(cluster)
        async with asyncio.timeout(30):
            # What is needed before the first question to the servers, which are down.
            for look in (looks.postgresql.look, looks.pooler.look, looks.log_space.look, looks.folders.look):
                await look(Inspector(), lab.wanted(cluster), session)
        for name in IN_FOLDERS_OF_THE_ACCOUNT:
            assert files.read(root / name) is None
            with suppress(IsADirectoryError):
                await lab.executor.do(WriteFile(root / name, b"x"), lab.session(cluster))
        assert await lab.remove(cluster)
        assert lab.remains(cluster) == []

    labs(scenario)


@pytest.mark.parametrize("name", ["pgbouncer.log", "pgbouncer.loaded", "pause.json", "tls/server.pem"])
@pytest.mark.parametrize(
    "code", ["os.symlink(sys.argv[2], sys.argv[1])", "os.mkfifo(sys.argv[1])"], ids=["link", "pipe"]
)
def test_what_stands_beside_them_since_before_the_upgrade_is_not_followed_either(
    labs: Share, secret: Path, name: str, code: str
) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = lab.new_cluster()
        await lab.converge(cluster)
        paths, bouncer = lab.layout.cluster(cluster.id), lab.wanted(cluster).bouncer
        await lab.executor.do(Stop(bouncer), lab.session(cluster))
        as_a_former_version_left_it(lab, cluster)
        plant(lab, code, paths.root / name, secret)
        takeover.take_over(lab.layout, lab.account)
        assert not as_account(lab.account, code, paths.root / f"{name}-again", secret)
        async with asyncio.timeout(30):
            assert await lab.plan(cluster)
            assert pauses.read(paths.root) is None
            with suppress(OSError):
                await lab.executor.do(Start(bouncer, "x"), lab.session(cluster))
            with suppress(OSError):
                await lab.executor.do(ShortenLog(bouncer.log, 4096, 0), lab.session(cluster))
            await pauses.remove(paths.root, model.AGENT)

    labs(scenario)


def test_a_log_that_is_another_files_second_name_is_left_alone(labs: Share, secret: Path) -> None:
    """Kernels without ``fs.protected_hardlinks`` let everybody make one."""

    async def scenario(lab: Lab) -> None:
        cluster = await with_folders(lab)
        bouncer = lab.wanted(cluster).bouncer
        beside = lab.folder / "roots-file"
        beside.write_bytes(WAL)
        beside.chmod(0o600)
        os.link(beside, bouncer.log)
        before = state(beside)
        with pytest.raises(OSError, match="second name"):
            await lab.executor.do(Start(bouncer, "x"), lab.session(cluster))
        with pytest.raises(OSError, match="second name"):
            await lab.executor.do(ShortenLog(bouncer.log, 4096, 0), lab.session(cluster))
        assert state(beside) == before

    labs(scenario)


def test_the_account_exchanges_no_folder_that_root_goes_through(labs: Share, secret: Path) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = lab.new_cluster()
        await lab.converge(cluster)
        paths = lab.layout.cluster(cluster.id)
        exchange = "os.rename(sys.argv[1], sys.argv[1] + '.away'); os.symlink(sys.argv[2], sys.argv[1])"
        for folder in (
            *(lab.layout.clusters, lab.layout.sockets, paths.root, paths.sockets),
            *(paths.pooler, paths.certificate.parent, lab.wanted(cluster).paths.data),
        ):
            assert not as_account(lab.account, exchange, folder, secret.parent), folder
        assert not as_account(lab.account, "os.listdir(sys.argv[1])", paths.root)
        for name in ("postgresql.loaded", "pause.json", "postgresql.log.1", ".draft-pg"):
            assert not as_account(lab.account, "open(sys.argv[1], 'w')", paths.root / name), name

    labs(scenario)


def test_a_folder_is_measured_and_not_what_a_link_in_it_points_to(labs: Share, tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_folders(lab)
        pooler = lab.layout.cluster(cluster.id).pooler
        (tmp_path / "large").write_bytes(bytes(8 << 20))
        (pooler / "link").symlink_to(tmp_path)
        assert system.disk_use(pooler).used_mib == 0
        with pytest.raises(OSError, match=r"Not a directory|symbolic link"):
            system.disk_use(pooler / "link")
        swap = (
            "folder, link = sys.argv[1] + '/a', sys.argv[1] + '/b'\n"
            "os.path.lexists(folder) or os.mkdir(folder)\n"
            "os.path.lexists(link) or os.symlink(sys.argv[2], link)\n"
            "os.rename(folder, folder + '.x'); os.rename(link, folder)\n"
            "os.unlink(folder); os.rmdir(folder + '.x')"
        )
        with repeating(lab.account, swap, pooler, tmp_path):
            for _ in range(2000):
                assert system.disk_use(pooler).used_mib == 0

    labs(scenario)


def test_a_removal_takes_nothing_that_a_link_points_to(labs: Share, secret: Path) -> None:
    async def scenario(lab: Lab) -> None:
        swap = (
            "folder = sys.argv[1] + '/a'\n"
            "os.makedirs(folder + '/inside', exist_ok=True)\n"
            "os.rename(folder, folder + '.x'); os.symlink(sys.argv[2], folder); os.unlink(folder)"
        )
        for _ in range(10):
            cluster = await with_folders(lab)
            paths = lab.layout.cluster(cluster.id)
            removed = paths.root.with_name(f".removing-{cluster.id}") / "pgbouncer"
            with (
                repeating(lab.account, swap, paths.pooler, secret.parent),
                repeating(lab.account, swap, removed, secret.parent),
                suppress(OSError),
            ):
                await lab.executor.do(Remove(paths.root), lab.session(cluster))
            await lab.executor.do(Remove(paths.root), lab.session(cluster))
            assert not files.needs_removal(paths.root)

    labs(scenario)


def test_a_folder_of_any_depth_is_removed(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_folders(lab)
        paths = lab.layout.cluster(cluster.id)
        deep = "os.chdir(sys.argv[1])\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')"
        assert as_account(lab.account, deep, paths.pooler)
        await lab.executor.do(Remove(paths.root), lab.session(cluster))
        assert not files.needs_removal(paths.root)

    labs(scenario)


def test_a_data_directory_behind_somebody_elses_link_is_refused_in_words(labs: Share, tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        link = tmp_path / "data"
        link.symlink_to(lab.folder)
        takeover.take_over(Layout(link), lab.account)
        os.chown(link, *(lab.account.owner or (-1, -1)), follow_symlinks=False)
        with pytest.raises(Misconfigured, match="a symbolic link that another account can change"):
            takeover.take_over(Layout(link), lab.account)

    labs(scenario)


# -- What a former version left


def test_folders_of_a_former_version_are_taken_over_beside_running_servers(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = lab.new_cluster()
        await lab.converge(cluster)
        wanted, paths = lab.wanted(cluster), lab.layout.cluster(cluster.id)
        before = [processes.find(program) for program in wanted.programs]
        as_a_former_version_left_it(lab, cluster)
        for folder in (lab.layout.clusters, lab.layout.templates):
            os.chown(folder, *(lab.account.owner or (-1, -1)))
        takeover.take_over(lab.layout, lab.account)
        assert await lab.plan(cluster) == []
        for folder in (paths.root, paths.certificate.parent, lab.layout.clusters, lab.layout.templates):
            assert folder.stat().st_uid == 0, folder
        for program in wanted.programs:
            program.stamp.unlink()  # so that both servers read their files again, in these folders
        await lab.converge(cluster)
        assert [processes.find(program) for program in wanted.programs] == before
        assert await ask(cluster, pool=None) == 42
        os.kill(before[0].pid, signal.SIGKILL)  # type: ignore[union-attr]
        wait_until("it has ended", 10, lambda: processes.find(wanted.server) is None)
        await lab.converge(cluster)
        assert await ask(cluster, pool=None) == 42

    labs(scenario)
