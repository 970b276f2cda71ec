"""docs/uninstall.md: nothing is left running, and no file."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from cenote.host import processes
from tests.support.folders import server_folder
from tests.support.pages import blocks
from tests.support.service import CENOTE, Service, clean_environment, online_cluster, service

BLOCKS = {block.title: block.text for block in blocks("uninstall.md")}


def run(script: str, home: Path, **environment: str) -> None:
    """Run a block; the parts of systemd and of the clone's make are the test's."""
    lines = [line.replace("make stop", "cenote stop") for line in script.splitlines()]
    script = "\n".join(line for line in lines if not line.startswith(("systemctl", "make")))
    assert not any(word in script for word in (" /var", " /opt", " /etc")), script
    done = subprocess.run(
        ["bash", "-ec", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=clean_environment()
        | {"HOME": str(home), "PATH": f"{Path(CENOTE).parent}:{os.environ['PATH']}"}
        | environment,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def placed(script: str, root: Path, running: Service) -> str:
    """Return a script of the page with the folders of the test in place of the machine's."""
    script = script.replace("/var/lib/cenote", str(running.data_dir))
    for folder in ("/opt", "/etc"):
        script = script.replace(f" {folder}/", f" {root}{folder}/").replace(
            f"\n{folder}/", f"\n{root}{folder}/"
        )
    return script


def test_nothing_is_left_on_a_server() -> None:
    with service() as running, server_folder() as root:
        with running.client() as client:
            online_cluster(client, "backend")
        for path in (root / "opt/cenote/bin", root / "etc/cenote", root / "etc/systemd/system"):
            path.mkdir(parents=True)
        (root / "opt/cenote/bin/cenote").symlink_to(CENOTE)
        (root / "etc/systemd/system/cenote.service").touch()
        running.end()
        assert processes.below(running.data_dir) != []
        run(placed(BLOCKS["stop"], root, running), root)
        assert processes.below(running.data_dir) == []
        for title in ("remove the programs", "remove the data"):
            run(placed(BLOCKS[title], root, running), root)
        assert not running.data_dir.exists()
        assert list(root.rglob("*cenote*")) == []
        running.data_dir.mkdir()  # where the service's own end looks


def test_nothing_is_left_on_a_laptop() -> None:
    with server_folder() as home:
        running = Service(home / ".local" / "share" / "cenote")
        running.data_dir.mkdir(parents=True)
        (home / ".local").chmod(0o711)
        at = {"CENOTE_DATA_DIR": str(running.data_dir)}
        try:
            running.start()
            with running.client() as client:
                online_cluster(client, "backend")
            run("cenote psql backend -- -c 'SELECT 1'", home, **at)
            assert (home / ".cache" / "cenote").exists()
            run(BLOCKS["laptop"], home, **at)
            assert running.end() == 0  # it has ended already
        finally:
            for process in processes.below(home):
                os.kill(process.pid, 9)
        assert list(home.rglob("*cenote*")) == []


def test_every_block_of_the_page_is_run() -> None:
    assert BLOCKS.keys() == {"stop", "remove the programs", "remove the data", "laptop"}
