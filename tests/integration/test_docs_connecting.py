"""The programs of docs/connecting.md, each with the driver itself, through a pool in transaction mode.

``-> text`` behind a line says what the last line that is printed says.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import environments, npm, shell
from tests.support.pages import ROOT, Block, blocks
from tests.support.service import Service, added_pool, clean_environment, online_cluster

BLOCKS = blocks("connecting.md")
PINS = Path(__file__).parents[1] / "support" / "drivers.txt"
FORMATS = {"SQLAlchemy": "sqlalchemy", "SQLAlchemy with asyncpg": "sqlalchemy"}
PACKAGES = {"node-postgres": ("pg", "8.23.1"), "Prisma's adapter": ("@prisma/adapter-pg", "7.10.1")}
NOT_RUN = {
    "pgx": "there is no Go among what the tests install",
    "Rails, config/database.yml": "there is no Ruby among what the tests install",
    "PDO": "there is no PHP among what the tests install",
}
DRIVER = ROOT / "build" / "programs" / "usr" / "share" / "java" / "postgresql.jar"
RUN_SECONDS = 120


@pytest.fixture(scope="module")
def running(running: Service) -> Service:
    """The service, with the cluster and the pool that the page names."""
    with running.client() as client:
        added_pool(client, online_cluster(client, "backend")["id"], "backend-pool")
    return running


def ours(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language and block.title not in NOT_RUN]


def url(running: Service, form: str) -> str:
    return running.cenote("uri", "backend", "--pool", "backend-pool", "--format", form).rstrip("\n")


def last_line(command: list[str], folder: Path, url: str) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder,
        env=clean_environment() | {"DATABASE_URL": url},
        check=False,
        timeout=RUN_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def said(block: Block) -> str:
    """Return what the page says of the last line."""
    return str(re.findall(r"(?:#|//) -> (.+)$", block.text, re.MULTILINE)[-1])


@pytest.mark.parametrize("block", ours("console"), ids=str)
def test_psql_connects_as_the_page_says(running: Service, block: Block, tmp_path: Path) -> None:
    shell.type_in(block.text, tmp_path, **shell.at(running))


@pytest.mark.parametrize("block", ours("python"), ids=str)
def test_a_python_driver_works_through_the_pool(running: Service, block: Block, tmp_path: Path) -> None:
    python = environments.python_of("drivers", PINS)
    (tmp_path / "program.py").write_text(block.text)
    (tmp_path / "database.py").write_text(url(running, "django"))
    address = url(running, FORMATS.get(block.title, "libpq"))
    assert last_line([str(python), "-W", "error", "program.py"], tmp_path, address) == said(block)


@pytest.mark.parametrize("block", ours("js"), ids=str)
def test_a_javascript_driver_works_through_the_pool(running: Service, block: Block, tmp_path: Path) -> None:
    name, version = PACKAGES[block.title]
    folder = npm.package(name, version)
    (tmp_path / "node_modules").symlink_to(next(up for up in folder.parents if up.name == "node_modules"))
    (tmp_path / "program.mjs").write_text(block.text)
    assert last_line([npm.node(), "program.mjs"], tmp_path, url(running, "node")) == said(block)


@pytest.mark.parametrize("block", ours("java"), ids=str)
def test_jdbc_works_through_the_pool(running: Service, block: Block, tmp_path: Path) -> None:
    java = shutil.which("java")
    if java is None or shutil.which("javac") is None:
        pytest.skip("needs a JDK: apt-get install default-jdk-headless")
    if not DRIVER.exists():
        pytest.skip("needs the driver libpostgresql-jdbc-java, which make setup-tests fetches")
    (tmp_path / "Answer.java").write_text(block.text)
    command = [java, "-cp", str(DRIVER), "Answer.java"]
    assert last_line(command, tmp_path, url(running, "jdbc")) == said(block)


def test_every_block_of_the_page_is_run_or_has_a_reason_why_not() -> None:
    assert {block.language for block in BLOCKS if block.title not in NOT_RUN} == {
        "console",
        "python",
        "js",
        "java",
    }
    assert NOT_RUN.keys() <= {block.title for block in BLOCKS}
