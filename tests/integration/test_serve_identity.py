"""Who a service is: the name and id of its host, in its data directory and in the store."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.integration.test_serve_etcd import options, with_outside
from tests.support.folders import server_folder
from tests.support.outside import PASSWORD, Outside
from tests.support.service import Service, run_cenote, service
from tests.support.waiting import wait_until

# Whoever waits for a predecessor's lease does not get ready within a test's patience.
LONG_LEASE = (
    sys.executable,
    "-c",
    "from cenote.store import host_store\n"
    "host_store.PRESENCE_SECONDS = 600\n"
    "from cenote.cli import main\n"
    "main()",
)


def hosts(running: Service) -> list[Any]:
    with running.client() as client:
        return list(client.request("GET", "/v2/cenote/hosts")["hosts"])


def identity(running: Service) -> dict[str, str]:
    found: dict[str, str] = json.loads((running.data_dir / "host.json").read_text())
    return found


def refusal(folder: Path, outside: Outside, *more: str) -> str:
    """Start a service that is to be refused, and return what it says."""
    arguments = ("serve", f"--data-dir={folder}", "--port=0", *options(outside), *more)
    done = run_cenote(*arguments, CENOTE_ETCD_PASSWORD=PASSWORD)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_a_host_keeps_its_id_when_it_is_renamed_and_appears_at_once_after_a_kill() -> None:
    with service("--name=db-1", command=LONG_LEASE) as running:
        first = identity(running)
        assert UUID(first["id"])
        assert UUID(first["store"])
        assert [(host["id"], host["name"]) for host in hosts(running)] == [(first["id"], "db-1")]

        running.end(signal.SIGKILL)
        running.start()
        assert [host["id"] for host in hosts(running)] == [first["id"]]

        running.end()
        running._options = ("--name=db-2",)
        running.start()
        assert identity(running) == first | {"name": "db-2"}
        assert [(host["id"], host["name"]) for host in hosts(running)] == [(first["id"], "db-2")]


def test_a_second_service_with_the_name_or_id_of_another_in_its_store_is_refused() -> None:
    def scenario(outside: Outside) -> None:
        environment = {"CENOTE_ETCD_PASSWORD": PASSWORD}
        named = (*options(outside), "--name=db-1")
        with server_folder() as folder, service(*named, environment=environment) as running:
            assert "another host of this store is named db-1" in refusal(
                folder / "other", outside, "--name=db-1"
            )

            (folder / "copy").mkdir()
            shutil.copy(running.data_dir / "host.json", folder / "copy")
            assert "its data directory is a copy of this one" in refusal(folder / "copy", outside)
            assert [host["name"] for host in hosts(running)] == ["db-1"], "it works on undisturbed"
            assert "the records are in an etcd of your own" in running.cenote("doctor")

            with service(*options(outside), "--name=db-2", environment=environment) as second:
                wait_until(
                    "both are there", 20, lambda: [host["name"] for host in hosts(second)] == ["db-1", "db-2"]
                )

    with_outside(scenario)


def test_a_data_directory_of_another_store_is_refused() -> None:
    def scenario(outside: Outside) -> None:
        environment = {"CENOTE_ETCD_PASSWORD": PASSWORD}
        with service(*options(outside), environment=environment) as running:
            running.stop()
            said = refusal(running.data_dir, outside, "--etcd-prefix=/elsewhere/")
            assert "belongs to the store" in said

    with_outside(scenario)
