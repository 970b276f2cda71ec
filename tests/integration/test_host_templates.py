"""Templates and their copies on the real initdb: whole or not there, each with an identifier of its own."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from cenote.errors import CenoteError
from cenote.host import control_file, system_identifier, templates
from cenote.host.processes import Account
from tests.support.lab import Lab, Share
from tests.support.waiting import wait_until

COPY = (
    "import sys, pathlib; from cenote.host import templates;"
    " source, target, *owner = sys.argv[1:];"
    " templates.copy(pathlib.Path(source), pathlib.Path(target), tuple(map(int, owner)) or None)"
)


async def new_copy(lab: Lab, name: str) -> Path:
    lab.layout.clusters.mkdir(exist_ok=True)
    target = lab.layout.clusters / name
    await asyncio.to_thread(
        templates.copy, await lab.executor.template(lab.version), target, lab.account.owner
    )
    return target


def controldata(lab: Lab, data: Path) -> dict[str, str]:
    """What PostgreSQL's own tool reads of a data directory; it warns when the checksum is wrong."""
    program = lab.host.binaries[lab.version] / "pg_controldata"
    done = subprocess.run([program, data], capture_output=True, text=True, check=True)
    assert "WARNING" not in done.stdout + done.stderr, done
    pairs = (line.partition(":") for line in done.stdout.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def test_the_checksum_is_the_one_that_everybody_has() -> None:
    assert (
        system_identifier.crc32c(b"123456789") == 0xE3069283
    )  # the check value of the algorithm's catalogue
    assert system_identifier.crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def test_the_settings_that_a_standby_needs_are_those_that_postgresql_reads(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        data = await new_copy(lab, "control")
        found = control_file.least_settings(data)
        told = controldata(lab, data)
        names = {name: name.replace("_transactions", "_xacts") for name in found}
        names["max_locks_per_transaction"] = "max_locks_per_xact"
        assert found == {name: int(told[f"{shown} setting"]) for name, shown in names.items()}
        assert len(found) == 5
        assert control_file.least_settings(data.parent / "missing") == {}

    labs(scenario)


def test_every_copy_has_an_identifier_of_its_own_that_postgresql_finds_sound(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        copies = [await new_copy(lab, name) for name in ("one", "two", "three")]
        source = await lab.executor.template(lab.version)
        found = {system_identifier.read(data) for data in (source, *copies)}
        assert len(found) == 4
        for data in copies:
            told = controldata(lab, data)
            assert int(told["Database system identifier"]) == system_identifier.read(data)
            assert told["Database cluster state"] == "shut down"
            assert int(told["Data page checksum version"]) > 0
            for segment in (data / "pg_wal").glob("0*"):
                assert struct.unpack_from("<Q", segment.read_bytes(), 24)[0] == system_identifier.read(data)

    labs(scenario)


def test_servers_on_two_copies_say_that_they_are_two(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        asked = "SELECT system_identifier FROM pg_control_system()"
        clusters = [lab.new_cluster(), lab.new_cluster()]
        answers = []
        for cluster in clusters:
            await lab.converge(cluster)
            answers += await lab.rows(cluster, asked)
            data = lab.wanted(cluster).paths.data
            assert answers[-1] == (system_identifier.read(data),)
            assert await lab.rows(cluster, "SHOW data_checksums") == [("on",)]
        assert answers[0] != answers[1]

    labs(scenario)


def test_a_damaged_control_file_is_refused_and_left_as_it_is(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        data = await new_copy(lab, "damaged")
        control = data / "global" / "pg_control"
        damaged = bytearray(control.read_bytes())
        damaged[100] ^= 1
        control.write_bytes(damaged)
        with pytest.raises(CenoteError, match="pg_control"):
            system_identifier.change(data, system_identifier.new_identifier())
        assert control.read_bytes() == damaged

    labs(scenario)


def test_a_template_is_made_once_also_when_several_ask_at_once(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        paths = await asyncio.gather(*(lab.executor.template(lab.version) for _ in range(4)))
        assert len(set(paths)) == 1
        before = paths[0].stat().st_ino
        assert (await lab.executor.template(lab.version)).stat().st_ino == before
        assert [path.name for path in lab.layout.templates.glob(".draft-*")] == []

    labs(scenario)


def test_a_version_that_is_not_there_is_refused_with_what_mends_it(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        with pytest.raises(CenoteError, match="install postgresql-99"):
            await lab.executor.template("99")

    labs(scenario)


def test_a_spare_is_taken_by_a_rename_and_made_again(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        source = await lab.executor.prepare_template(lab.version)
        spare = source.with_name(f"{source.name}.spare")
        inode = spare.stat().st_ino
        await lab.executor.prepare_template(lab.version)
        assert spare.stat().st_ino == inode
        data = await new_copy(lab, "taken")
        assert data.stat().st_ino == inode
        assert not spare.exists()
        assert system_identifier.read(data) != system_identifier.read(source)
        assert (await new_copy(lab, "copied")).stat().st_ino != inode
        await lab.executor.prepare_template(lab.version)
        assert spare.exists()

    labs(scenario)


def test_tidying_keeps_the_templates_that_are_used_and_their_spares(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        source = await lab.executor.prepare_template(lab.version)
        (lab.layout.templates / "outdated" / "base").mkdir(parents=True)
        (lab.layout.templates / ".draft-half" / "data").mkdir(parents=True)
        (lab.layout.templates / "a file").write_text("x")
        await lab.executor.remove_outdated_templates([source])
        left = {path.name for path in lab.layout.templates.iterdir()}
        assert left == {source.name, f"{source.name}.spare"}

    labs(scenario)


def test_a_copy_that_is_killed_at_any_moment_leaves_all_or_nothing(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        source = await lab.executor.template(lab.version)
        spare = source.with_name(f"{source.name}.spare")
        lab.layout.clusters.mkdir(exist_ok=True)
        chance = random.Random()
        for number in range(10):
            if spare.exists():
                shutil.rmtree(spare)
            target = lab.layout.clusters / f"killed-{number}"
            draft = target.with_name(f".draft-{target.name}")
            kill_while_copying(source, target, lab.account.owner or (), draft, chance.uniform(0, 0.15))
            if target.exists():
                controldata(lab, target)
                # Killed between the rename and the removal of the draft's directory.
                assert not draft.exists() or not list(draft.iterdir())
            else:
                await new_copy(lab, target.name)
                controldata(lab, target)
                assert not draft.exists()

    labs(scenario)


def kill_while_copying(
    source: Path, target: Path, owner: tuple[int, ...], draft: Path, seconds: float
) -> None:
    command = [sys.executable, "-c", COPY, str(source), str(target), *map(str, owner)]
    with subprocess.Popen(command, start_new_session=True) as copying:
        wait_until("it copies", 30, lambda: draft.exists() or target.exists() or copying.poll() is not None)
        try:
            copying.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(copying.pid, signal.SIGKILL)


def test_a_copy_that_fails_leaves_nothing(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        lab.layout.clusters.mkdir(exist_ok=True)
        with pytest.raises(CenoteError, match="cannot copy the template"):
            templates.copy(lab.folder / "missing", lab.layout.clusters / "failed", lab.account.owner)
        assert list(lab.layout.clusters.iterdir()) == []

    labs(scenario)


def test_a_template_that_cannot_be_made_says_why_and_leaves_nothing(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        binaries = lab.folder / "bin"
        binaries.mkdir()
        (binaries / "postgres").symlink_to(lab.host.binaries[lab.version] / "postgres")
        failing = binaries / "initdb"
        failing.write_text("#!/bin/sh\necho 'initdb: error: the moon is in the wrong place' >&2\nexit 1\n")
        failing.chmod(0o755)
        elsewhere = lab.folder / "other-templates"
        with pytest.raises(CenoteError, match="the moon is in the wrong place"):
            templates.find_or_create(elsewhere, binaries, lab.account)
        assert list(elsewhere.iterdir()) == []

    labs(scenario)


@pytest.mark.parametrize("program", ["exit 1", "kill -9 $$"])
def test_a_program_that_is_broken_for_the_moment_is_an_error_in_words(tmp_path: Path, program: str) -> None:
    (tmp_path / "postgres").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "postgres").chmod(0o755)
    with pytest.raises(CenoteError, match="cannot get the version of PostgreSQL"):
        templates.find_or_create(tmp_path / "templates", tmp_path, Account("nobody"))
