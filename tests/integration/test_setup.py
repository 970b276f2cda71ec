"""The set-up: what it installs, that it is silent when up to date, and its errors."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cenote.host import programs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp())
    yield made
    shutil.rmtree(made)


def test_every_program_is_here_and_new_enough() -> None:
    found = programs.find()
    assert programs.problems(found) == []
    assert found.pgbouncer is not None
    assert found.etcd is not None
    for install in found.postgres.values():
        said = subprocess.run(
            [install.bin / "initdb", "--version"], capture_output=True, text=True, check=True
        )
        assert install.version in said.stdout


def test_a_program_that_fails_has_no_version(folder: Path) -> None:
    broken = folder / "pgbouncer"
    broken.write_text("#!/bin/sh\necho PgBouncer 9.9.9\nexit 127\n")
    broken.chmod(0o755)
    assert programs.find(pgbouncer=broken).unusable == (broken,)


def test_a_file_that_is_no_program_has_no_version(folder: Path) -> None:
    broken = folder / "pgbouncer"
    broken.write_bytes(b"\x7fELF not really")
    broken.chmod(0o755)
    assert programs.find(pgbouncer=broken).unusable == (broken,)


def test_the_setup_is_silent_when_nothing_is_to_be_done() -> None:
    done = subprocess.run([ROOT / "scripts/setup.sh"], capture_output=True, text=True, check=False, cwd="/")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def clone(folder: Path) -> Path:
    """A copy of what the set-up reads, without an environment."""
    for part in ("scripts", "packages", "pyproject.toml", "constraints.txt"):
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__", "tests"))
        else:
            shutil.copy(source, folder / part)
    return folder


def set_up(clone: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / "scripts/setup.sh"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **settings},
    )


def test_an_old_python_is_refused_with_the_way_out(clone: Path) -> None:
    python = clone / "python3.9"
    python.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 1\n')
    python.chmod(0o755)
    done = set_up(clone, PYTHON=str(python))
    assert done.returncode == 1
    assert f"Python 3.11 or newer is required; {python} is Python 3.9.2" in done.stderr
    assert "make setup PYTHON=" in done.stderr


def test_a_python_that_is_not_there_is_named(clone: Path) -> None:
    done = set_up(clone, PYTHON="python3.999")
    assert (done.returncode, done.stderr) == (1, "setup: python3.999 not found\n")


def test_without_apt_the_packages_are_named(clone: Path) -> None:
    """A machine of another family, whose Python comes without its venv module."""
    tools = clone / "tools"
    tools.mkdir()
    for name in ("bash", "cat", "cut", "dirname", "env", "flock", "grep", "id", "mkdir", "sed", "sha256sum"):
        found = shutil.which(name)
        assert found is not None, name
        (tools / name).symlink_to(found)
    python = tools / "python3"
    python.write_text(
        f'#!{tools}/bash\n[ "$2" = "import ensurepip, venv" ] && exit 1\nexec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    done = set_up(clone, PATH=str(tools))
    assert done.returncode == 1
    assert done.stderr == (
        "setup: apt-get not found; install these packages or their equivalents: python3-venv\n"
    )


@pytest.mark.parametrize(
    "script", sorted({*ROOT.glob("scripts/*.sh"), *ROOT.glob("tools/*.sh")}), ids=lambda path: path.name
)
def test_no_pipeline_ends_before_all_is_written(script: Path) -> None:
    """With pipefail, ``grep -q`` makes a pipeline fail when its writer is not done yet."""
    assert not re.search(r"\|\s*(?:grep -\w*q|head )", script.read_text())
