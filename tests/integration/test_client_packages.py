"""The client packages in an environment of their own: installation, imports and type information."""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.built import installed, wheels


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module")
def python(built: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(tmp_path_factory.mktemp("installed") / "venv", built)


def answer_of(python: Path, script: str) -> Any:
    done = subprocess.run(
        [str(python), "-I", "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("number", "name"), [(0, "cenote_client"), (1, "pydo")])
def test_a_wheel_has_its_package_with_the_mark_of_types_and_nothing_else(
    built: list[Path], number: int, name: str
) -> None:
    files = zipfile.ZipFile(built[number]).namelist()
    assert f"{name}/py.typed" in files
    assert f"{name}/_sync/client.py" in files
    folders = {file.split("/")[0] for file in files}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {name}


def test_both_packages_can_be_used_where_nothing_else_is(python: Path) -> None:
    script = """
import json, pydo, pydo.aio, pydo.exceptions, cenote_client
kinds = cenote_client.Client, cenote_client.AsyncClient, pydo.Client, pydo.aio.Client
clients = [kind("token") for kind in kinds]
print(json.dumps([callable(client.databases.get_connection_pool) for client in clients]))
"""
    assert answer_of(python, script) == [True] * 4


def test_the_versions_agree_with_those_of_the_packages(python: Path) -> None:
    script = """
import json, pydo, cenote_client
from importlib.metadata import version
said = cenote_client.__version__, pydo.__version__
print(json.dumps([said, [version("cenote-client"), version("cenote-pydo")]]))
"""
    said, versions = answer_of(python, script)
    assert said == versions


def test_importing_the_client_imports_neither_httpx_nor_asyncio_nor_the_types(python: Path) -> None:
    script = """
import json, sys
import cenote_client, pydo
client = pydo.Client("token")
heavy = "httpx", "httpcore", "anyio", "asyncio", "ssl", "email", "http.client", "cenote_client.types"
print(json.dumps([name for name in heavy if name in sys.modules]))
"""
    assert answer_of(python, script) == []


@pytest.mark.parametrize(("proxy", "imported"), [("None", False), ("'http://proxy.example.com:3128'", True)])
def test_all_of_httpx_is_imported_for_a_proxy_only(python: Path, proxy: str, imported: bool) -> None:
    script = f"""
import json, sys
import cenote_client
with cenote_client.Client("token", proxy={proxy}) as client:
    client._open()
print(json.dumps(["httpcore" in sys.modules, "httpx" in sys.modules]))
"""
    assert answer_of(python, script) == [True, imported]
