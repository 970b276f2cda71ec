"""mypy and pyright on a program that uses the clients: they accept correct lines and report wrong ones."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.built import installed, wheels
from tests.support.pyright import pyright

PROGRAM = Path(__file__).with_name("typing") / "program.py"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the clients installed from wheels."""
    built = wheels(tmp_path_factory.mktemp("wheels"))
    return installed(tmp_path_factory.mktemp("installed") / "venv", built)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program in a folder outside this project's configuration."""
    return Path(shutil.copy(PROGRAM, tmp_path))


def expected() -> set[int]:
    lines = enumerate(PROGRAM.read_text().splitlines(), 1)
    return {number for number, line in lines if line.endswith("# wrong")}


def told(reports: list[tuple[int, str]]) -> str:
    """Return the unexpected reports, and the lines that lack one."""
    unexpected = [f"{line}: {message}" for line, message in reports if line not in expected()]
    missing = sorted(expected() - {line for line, _ in reports})
    return "\n".join([*unexpected, *(f"{line}: accepted, although it is wrong" for line in missing)])


def test_mypy_strict_accepts_what_is_right_and_reports_what_is_wrong(program: Path, python: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", f"--python-executable={python}"),
            *("--config-file=", f"--cache-dir={os.devnull}", program.name),
        ],
        cwd=program.parent,
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "MYPYPATH"},
    )
    assert done.stderr == ""
    reports = re.findall(r"^program\.py:(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    assert reports, done.stdout
    assert not told([(int(line), message) for line, message in reports])


def test_pyright_strict_accepts_what_is_right_and_reports_what_is_wrong(program: Path, python: Path) -> None:
    settings = {"include": [program.name], "typeCheckingMode": "strict", "reportUnusedExpression": False}
    (program.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    answer = pyright_answer(program.parent, python)
    assert answer["summary"]["filesAnalyzed"] == 1
    reports = [
        (each["range"]["start"]["line"] + 1, each["message"])
        for each in answer["generalDiagnostics"]
        if each["severity"] == "error"
    ]
    assert not told(reports)


@pytest.mark.parametrize("package", ["cenote_client", "pydo"])
def test_pyright_knows_the_type_of_every_public_part(tmp_path: Path, python: Path, package: str) -> None:
    found = pyright_answer(tmp_path, python, "--ignoreexternal", "--verifytypes", package)["typeCompleteness"]
    assert found.get("pyTypedPath"), found
    unknown = [
        f"{symbol['name']}: {each['message']}"
        for symbol in found["symbols"]
        if symbol["isExported"] and not symbol["isTypeKnown"]
        for each in symbol["diagnostics"]
    ]
    assert found["exportedSymbolCounts"]["withKnownType"] > 10
    assert not "\n".join(unknown)


def pyright_answer(folder: Path, python: Path, *options: str) -> Any:
    """Run pyright in a folder with the packages of an interpreter, and return its JSON output."""
    # It takes the interpreter from the PATH, since --verifytypes does not look at --pythonpath.
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*pyright(), "--outputjson", *options],
        env=os.environ | {"PATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)
