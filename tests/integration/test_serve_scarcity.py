"""A service that lacks something for a while: it goes on with what it has, and is whole again afterwards."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import resource
import socket
import subprocess
from pathlib import Path

import psycopg
import pytest

from cenote_client import CenoteError, Client
from tests.support.folders import server_folder
from tests.support.service import (
    CENOTE,
    WITHOUT_LIMITS,
    Service,
    added_pool,
    answer_of,
    calling,
    online_cluster,
    service,
)
from tests.support.waiting import wait_until

FEW = 180  # file descriptors


def test_clients_that_take_every_file_descriptor_do_not_end_the_service() -> None:
    few = ("sh", "-c", f'ulimit -n {FEW}; exec "$0" "$@"', CENOTE)
    with (
        service("--connections=1000", command=few) as running,
        running.client() as client,
        contextlib.ExitStack() as stack,
    ):
        wait_until("a template is ready", 60, lambda: any(running.data_dir.glob("templates/*.spare")))
        api = running.processes()["api"]

        def is_short() -> bool:
            connection = stack.enter_context(socket.socket())
            connection.settimeout(0.2)
            with contextlib.suppress(OSError):
                connection.connect(("127.0.0.1", running.api_port))
            return len(os.listdir(f"/proc/{api}/fd")) >= FEW

        wait_until("the service is short of descriptors", 60, is_short)
        stack.close()
        wait_until("it answers as before", 60, lambda: bool(client.databases.list_options()))


def test_silent_clients_leave_a_reserve_of_file_descriptors() -> None:
    few = ("sh", "-c", f'ulimit -n {FEW}; exec "$0" "$@"', CENOTE)
    with service(command=few) as running, running.client() as client, contextlib.ExitStack() as stack:

        def is_refused() -> bool:
            connection = stack.enter_context(socket.socket())
            connection.settimeout(0.2)
            with contextlib.suppress(OSError):
                connection.connect(("127.0.0.1", running.api_port))
            return "connections are refused, as there are too many" in running.log()

        wait_until("what is too many is refused", 60, is_refused)
        assert len(os.listdir(f"/proc/{running.processes()['api']}/fd")) < FEW
        # The clients keep their connections open; the service does not.
        wait_until("others are served", 60, lambda: answers(client))


def answers(client: Client) -> bool:
    with contextlib.suppress(CenoteError):
        return bool(client.databases.list_options())
    return False


def test_the_service_takes_as_many_file_descriptors_as_it_may() -> None:
    few = ("sh", "-c", 'ulimit -S -n 256; exec "$0" "$@"', CENOTE)
    with service(command=few) as running:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        assert resource.prlimit(running.pid, resource.RLIMIT_NOFILE)[0] == min(most, 65_536)


def test_few_file_descriptors_are_told_and_the_pooler_keeps_some_for_its_servers() -> None:
    few = ("sh", "-c", 'ulimit -n 400; exec "$0" "$@"', CENOTE)
    with service(command=few) as running, running.client() as client:
        cluster = online_cluster(client, "modest")
        pool = added_pool(client, cluster["id"], "pool")
        [settings] = running.data_dir.glob("clusters/*/pgbouncer/pgbouncer.ini")
        found = re.search(r"max_client_conn = (\d+)", settings.read_text())
        assert found is not None
        admitted = int(found[1])
        assert 200 < admitted < 400
        assert "each process may open 400 files at most" in running.log()
        assert "notice   each process may open 400 files at most" in running.cenote("doctor")
        with contextlib.ExitStack() as stack:
            clients = [
                stack.enter_context(psycopg.connect(pool["connection"]["uri"], connect_timeout=30))
                for _ in range(admitted // 2)
            ]
            assert len(clients) == admitted // 2
            assert answer_of(pool["connection"]["uri"]) == 42


def test_backends_are_killed_first_when_memory_runs_out() -> None:
    with service() as running, running.client() as client:
        cluster = online_cluster(client, "greedy")
        with psycopg.connect(cluster["connection"]["uri"]) as connection:
            servers = running.servers()
            scores = {name: score_of(pid) for name, pid in (servers | running.processes()).items()}
            backend = score_of(connection.info.backend_pid)
        assert backend > max(scores.values())
        assert scores["PgBouncer"] > scores["api"] > scores["agent"]
        assert scores["etcd"] == scores["PostgreSQL"] == scores["supervisor"] == scores["agent"]


def score_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def test_a_full_disk_is_told_in_words_and_changes_go_on_once_there_is_room() -> None:
    with server_folder() as folder:
        data = folder / "data"
        data.mkdir()
        options = ["-t", "tmpfs", "-o", "size=400m,mode=711", "cenote-test", str(data)]
        mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
        running = Service(data, *WITHOUT_LIMITS)
        try:
            running.start()
            spares = data / "templates"
            wait_until("a template is ready", 60, lambda: any(spares.glob("*.spare")))
            with calling(running) as http:
                names = (f"tag-{number}" for number in itertools.count())

                def told() -> str:
                    return http.post("/v2/tags", json={"name": next(names)}).text

                def is_told() -> bool:
                    with (data / "ballast").open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
                        while True:
                            ballast.write(bytes(2**16))
                    return f"the disk of {data} is full" in told()

                wait_until("a change is refused in words", 120, is_told)
                (data / "ballast").unlink()
                wait_until("changes are taken again", 60, lambda: '"tag":' in told())
        finally:
            running.clean_up()
            subprocess.run(["umount", "--lazy", data], check=True)
