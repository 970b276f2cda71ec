"""The tools that generate parts of the clients: the sync half, and the methods for other engines."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import other_engines
from tools.unasync import PAIRS, ROOT, sync_text

TOOL = Path("tools", "unasync.py")
ASYNC = '''\
"""Uses ``async with``."""

from .._sleep import async_sleep
from .resource import AsyncResource


class AsyncThings(AsyncResource):
    async def all(self, timeout: float) -> None:  # noqa: ASYNC109
        async with self as me:
            async for thing in me.iter():
                await async_sleep(thing)

    async def __aenter__(self) -> "AsyncThings":
        transport = await self.asynchronous.handle_async_request()
        await transport.aclose()
        return self
'''
SYNC = '''\
# Generated from _async/things.py by tools/unasync.py; edit that file.

"""Uses ``with``."""

from .._sleep import sleep
from .resource import Resource


class Things(Resource):
    def all(self, timeout: float) -> None:
        with self as me:
            for thing in me.iter():
                sleep(thing)

    def __enter__(self) -> "Things":
        transport = self.asynchronous.handle_request()
        transport.close()
        return self
'''


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the tool, its configuration and the packages that it works on."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / TOOL, tmp_path / TOOL)
    for folders in PAIRS:
        for folder in folders:
            target = tmp_path / folder.relative_to(ROOT)
            shutil.copytree(folder, target, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(copy: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(copy / TOOL), *arguments], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def sources(copy: Path) -> dict[Path, str]:
    return {path: path.read_text() for path in copy.rglob("*.py")}


def test_only_names_and_the_two_words_change() -> None:
    assert sync_text(ASYNC, PAIRS[0][0] / "things.py") == SYNC


def test_what_is_committed_is_up_to_date(copy: Path) -> None:
    before = sources(copy)
    assert run(copy, "--check") == (0, "")
    assert run(copy) == (0, "")
    assert sources(copy) == before


def test_a_stale_file_is_named_and_left_alone_by_the_check_then_written(copy: Path) -> None:
    source, target = (copy / folder.relative_to(ROOT) / "pools.py" for folder in PAIRS[0])
    source.write_text(source.read_text() + "\n\nasync def added() -> None:\n    pass\n")
    before = sources(copy)
    assert run(copy, "--check") == (1, f"stale: {target.relative_to(copy)}\n")
    assert sources(copy) == before
    assert run(copy) == (0, f"written: {target.relative_to(copy)}\n")
    assert target.read_text().endswith("\n\ndef added() -> None:\n    pass\n")
    assert run(copy, "--check") == (0, "")


def test_a_sync_file_that_was_changed_by_hand_is_stale(copy: Path) -> None:
    target = copy / PAIRS[1][1].relative_to(ROOT) / "client.py"
    target.write_text(target.read_text().replace("Response", "Anders"))
    assert run(copy, "--check") == (1, f"stale: {target.relative_to(copy)}\n")


def test_a_sync_file_without_a_source_is_removed(copy: Path) -> None:
    target = copy / PAIRS[0][1].relative_to(ROOT) / "gone.py"
    target.write_text("")
    assert run(copy, "--check") == (1, f"stale: {target.relative_to(copy)}\n")
    run(copy)
    assert not target.exists()


def test_no_sync_module_has_a_word_of_async_left() -> None:
    for _, folder in PAIRS:
        for path in folder.glob("*.py"):
            code = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
            assert not any(
                word in code for word in ("async ", "await ", "Async", "asyncio", "aread", "aclose")
            )


def test_the_methods_for_other_engines_are_those_of_the_table() -> None:
    assert other_engines.TARGET.read_text() == other_engines.module()


def test_the_check_of_the_methods_for_other_engines_names_a_stale_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copy(other_engines.TARGET, tmp_path))
    copy.write_text(copy.read_text() + "\n")
    monkeypatch.setattr(other_engines, "TARGET", copy)
    monkeypatch.setattr(other_engines, "ROOT", tmp_path)
    assert other_engines.main(["--check"]) == 1
    assert capsys.readouterr().out == f"stale: {copy.name}\n"
    assert other_engines.main([]) == 0
    assert other_engines.main(["--check"]) == 0
