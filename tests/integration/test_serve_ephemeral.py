"""``--ephemeral``: whenever it is told to end, also while it starts, nothing of it is left."""

from __future__ import annotations

import os
import random
import signal
import socket
import stat
import time
from pathlib import Path

import pytest

from cenote.host import processes
from cenote_client import Client
from tests.support.folders import server_folder
from tests.support.service import added_pool, answer_of, ephemeral, exports_of, online_cluster
from tests.support.waiting import wait_until

LONGEST = 0.6  # seconds of a start


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_ephemeral_service_leaves_nothing_behind(how: signal.Signals) -> None:
    with server_folder() as folder, ephemeral(folder) as process:
        env_file = folder / "env"
        wait_until("the exports are written", 60, env_file.exists)
        assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
        variables = exports_of(env_file.read_text())
        with Client(
            variables["DIGITALOCEAN_TOKEN"],
            endpoint=variables["DIGITALOCEAN_API_URL"],
            verify=variables["SSL_CERT_FILE"],
        ) as client:
            cluster = online_cluster(client, "ephemeral")
            assert answer_of(cluster["connection"]["uri"], "SHOW fsync") == "off"
            pool = added_pool(client, cluster["id"], "pool")
            assert answer_of(pool["connection"]["uri"]) == 42
            ports = [cluster["connection"]["port"], pool["connection"]["port"]]
            ports.append(int(variables["DIGITALOCEAN_API_URL"].rpartition(":")[2]))
            assert len(processes.below(folder)) >= 3

            process.send_signal(how)
            assert process.wait(timeout=60) == 0

        assert left_in(folder) == []
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_is_told_to_end_leaves_nothing_behind_either(how: signal.Signals) -> None:
    seed = os.environ.get("CENOTE_TEST_SEED") or os.urandom(4).hex()
    print(f"to wait as long again: CENOTE_TEST_SEED={seed}")
    chance = random.Random(seed)
    for _ in range(3):
        with server_folder() as folder, ephemeral(folder) as process:
            wait_until("the data directory is made", 60, lambda: left_in(folder))
            time.sleep(chance.uniform(0, LONGEST))  # the moment is the random point
            process.send_signal(how)
            process.send_signal(how)
            assert process.wait(timeout=60) == 0, (folder / "log").read_text()
            assert left_in(folder) == []


def left_in(folder: Path) -> list[str]:
    """Return the processes and the data directories that are there."""
    return [
        *(f"process {process.pid}" for process in processes.below(folder)),
        *(path.name for path in folder.iterdir() if path.name.startswith("cenote-")),
    ]
