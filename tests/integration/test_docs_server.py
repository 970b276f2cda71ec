"""docs/server.md, docs/upgrade.md, and the unit that they name: it allows what is needed, and no more."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.support import shell
from tests.support.folders import IN_MEMORY
from tests.support.pages import ROOT, blocks
from tests.support.service import CENOTE, added_pool, answer_of, online_cluster, run_cenote, service
from tests.support.waiting import wait_until

UNIT = ROOT / "packaging" / "cenote.service"
BLOCKS = {block.title: block for block in blocks("server.md") if block.title}
NOT_RUN = {
    "packages": "it installs packages on the machine",
    "account": "it makes an account on the machine",
    "unit": "it needs a machine that systemd has started",
    "stop": "the same",
}
UPGRADE = {block.title: block for block in blocks("upgrade.md")}
UPGRADE_NOT_RUN = {
    "before": "tests/integration/test_rolling_upgrade.py follows the order of several hosts",
    "restart": "it needs a machine that systemd has started; the test ends and starts the service",
    "stop": "tests/integration/test_upgrade.py follows the way back",
    "put the copy in place": "as above",
}


def setting(name: str) -> str:
    [value] = re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)
    return str(value)


def confined() -> list[str]:
    """Return `cenote` as a command with what the unit leaves it, as far as that goes without systemd.

    A file system that can be read only, but for memory, where the data directories of tests are, and the
    capabilities of the unit.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root, as the unit's service has it")
    if shutil.which("setpriv") is None or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("needs setpriv, and to be allowed a mount namespace")
    kept = setting("CapabilityBoundingSet").lower().replace("cap_", "+").split()
    read_only = 'mount --make-rprivate / && mount -o remount,bind,ro / && exec "$@"'
    privileges = ["setpriv", f"--bounding-set=-all,{','.join(kept)}", "--no-new-privs"]
    return ["unshare", "-m", "sh", "-c", read_only, "sh", *privileges, CENOTE]


def test_the_service_works_with_what_the_unit_leaves_it() -> None:
    command = confined()
    with service(command=command) as running:
        if not running.data_dir.is_relative_to(IN_MEMORY):
            pytest.skip("needs memory for the data directory, since the disk can be read only")
        with running.client() as client:
            id = online_cluster(client, "backend")["id"]
            uri = added_pool(client, id, "backend-pool")["connection"]["uri"]
        assert answer_of(uri) == 42
        before = running.servers()
        # systemd sends its signal to the service alone (KillMode=process), and starts it again.
        running.end()
        assert answer_of(uri) == 42
        running.start()
        assert running.servers() == before
        os.kill(before["PostgreSQL"], signal.SIGKILL)
        wait_until(
            "the server is back", 60, lambda: running.servers().get("PostgreSQL", 0) != before["PostgreSQL"]
        )
        with running.client() as client:
            client.request("POST", f"/v2/databases/{id}/users", json={"name": "app"})


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/cenote/bin/cenote", CENOTE))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_and_the_page_name_options_that_there_are() -> None:
    known = set(re.findall(r"--[a-z-]+", run_cenote("serve", "--help").stdout))
    [given] = re.findall(r'CENOTE_OPTIONS="(.*)"', BLOCKS["unit"].text)
    named = [*shlex.split(setting("ExecStart")), *shlex.split(given)]
    options = {word for word in named if word.startswith("--")}
    assert len(options) >= 5
    assert options <= known


def test_the_servers_outlive_the_service_and_a_crash_starts_it_again() -> None:
    assert setting("KillMode") == "process"
    assert setting("OOMPolicy") == "continue"
    assert setting("Restart") == "always"
    assert "PrivateTmp=" not in re.sub(r"(?m)^#.*", "", UNIT.read_text())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that the page makes."""
    folder = tmp_path_factory.mktemp("opt") / "cenote"
    install(
        BLOCKS["cenote"].text.replace("python3 -m venv", f"{shlex.quote(sys.executable)} -m venv"), folder
    )
    return folder


def install(script: str, folder: Path) -> None:
    lines = [line for line in script.splitlines() if not line.startswith("git ")]
    script = "\n".join(lines).replace("/opt/cenote", str(folder))
    done = subprocess.run(
        ["bash", "-ec", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
    )
    if "Could not find a version" in done.stderr + done.stdout:
        pytest.skip("no package index can be reached here")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_packages_are_installed_as_the_page_says(installed: Path) -> None:
    done = subprocess.run([installed / "bin" / "cenote", "--version"], capture_output=True, check=False)
    assert done.returncode == 0


def test_an_upgrade_leaves_the_servers_and_their_clients_alone(installed: Path) -> None:
    with service(command=[str(installed / "bin" / "cenote")]) as running, running.client() as client:
        id = online_cluster(client, "backend")["id"]
        uri = added_pool(client, id, "backend-pool")["connection"]["uri"]
        before = running.servers()
        with psycopg.connect(uri, autocommit=True) as session:
            [marked] = installed.glob("lib/python*/site-packages/cenote/__init__.py")
            marked.write_text("raise SystemExit('the version before')\n")
            install(UPGRADE["install"].text, installed)
            running.end()
            running.start()
            assert session.execute("SELECT 42").fetchone() == (42,)
        assert running.servers() == before


def test_tokens_are_made_as_the_page_says(tmp_path: Path) -> None:
    with service() as running:
        for block in blocks("server.md"):
            if block.language == "console":
                shell.type_in(block.text, tmp_path, **shell.at(running))


def test_every_block_of_the_page_is_run_or_has_a_reason_why_not() -> None:
    assert {block.language for block in blocks("server.md")} == {"sh", "console"}
    assert BLOCKS.keys() == {*NOT_RUN, "cenote"}
    assert UPGRADE.keys() == {*UPGRADE_NOT_RUN, "install"}
