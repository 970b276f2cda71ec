"""The commands of the pages that one begins with: docs/quickstart.md and docs/ci.md."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from cenote.host import processes
from tests.support import shell
from tests.support.folders import server_folder
from tests.support.pages import ROOT, Block, blocks
from tests.support.service import CENOTE, Service, added_pool, clean_environment, online_cluster

pytestmark = pytest.mark.long

QUICK, CI = blocks("quickstart.md"), blocks("ci.md")
RUN_SECONDS = 120


@pytest.fixture(scope="module")
def running(running: Service) -> Service:
    """The service, with what ``make run`` makes (see test_cli_quickstart.py)."""
    with running.client() as client:
        added_pool(client, online_cluster(client, "backend")["id"], "backend-pool", size=10)
    return running


@pytest.mark.parametrize("block", [block for block in QUICK if block.language == "console"], ids=str)
def test_a_command_of_the_quick_start_prints_what_the_page_says(
    running: Service, block: Block, tmp_path: Path
) -> None:
    shell.type_in(block.text, tmp_path, **shell.at(running), **running.environment())


def script_of(block: Block) -> str:
    """Return the commands of a block in the language of a shell or of a CI service."""
    if block.language == "sh":
        return block.text
    return "\n".join(
        _commands(yaml.safe_load(block.text)["test"] if "gitlab" in block.title else _job(block))
    )


def _job(block: Block) -> Any:
    return yaml.safe_load(block.text)["jobs"]["test"]


def _commands(job: dict[str, Any]) -> list[str]:
    """Return what a job runs, other than what fetches Cenote onto a machine of the CI service."""
    found = [*job.get("before_script", ()), *job.get("script", ())]
    found += [step["run"] for step in job.get("steps", ()) if "run" in step]
    return [command for command in found if not command.startswith(("apt-get", "git clone"))]


@contextmanager
def checkout() -> Iterator[Path]:
    """A folder with Cenote's clone in it, and room for what a temporary service puts down."""
    with server_folder() as folder:
        (folder / "cenote").symlink_to(ROOT)
        try:
            yield folder
        finally:
            for left in processes.below(folder):
                os.kill(left.pid, signal.SIGKILL)


def finished(started: subprocess.Popen[str]) -> str:
    """Wait for the end of a job, which is to be a success; return what it printed."""
    printed, said = started.communicate(timeout=RUN_SECONDS)
    assert started.returncode == 0, said
    return printed


@pytest.mark.parametrize("name", ["dash", "bash"])
@pytest.mark.parametrize("block", CI, ids=str)
def test_the_commands_of_a_ci_job_end_with_an_answer_and_leave_nothing(block: Block, name: str) -> None:
    """As CI services run them: by ``sh``, a second time in the same folder, and beside another job."""
    script = script_of(block)
    assert "cenote run " in script
    with checkout() as folder:

        def start() -> subprocess.Popen[str]:
            return subprocess.Popen(
                [name, "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=folder,
                env=clean_environment()
                | {"TMPDIR": str(folder), "PATH": f"{Path(CENOTE).parent}:{os.environ['PATH']}"},
            )

        printed = [finished(start()), *map(finished, [start(), start()])]
        assert ["42" in text.splitlines() for text in printed] == [True] * 3
        assert not processes.below(folder)
        assert {path.name for path in folder.iterdir()} == {"cenote"}


def readme(title: str) -> str:
    (found,) = (block.text for block in blocks("../README.md") if block.title == title)
    return found


def test_the_commands_of_the_second_terminal_of_the_readme_reach_the_database(running: Service) -> None:
    with checkout() as folder:
        done = subprocess.run(
            ["bash", "-e", "-c", readme("terminal 2")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=folder,
            env=clean_environment() | shell.at(running),
            check=False,
            timeout=RUN_SECONDS,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "42"


def test_every_block_of_these_pages_is_run() -> None:
    assert {block.language for block in QUICK} == {"console"}
    assert [block.title for block in CI] == ["ci.sh", ".github/workflows/test.yml", ".gitlab-ci.yml"]
