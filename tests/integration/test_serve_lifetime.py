"""From the first start to ``cenote stop``: what is made, what outlives the process, what brings it back."""

from __future__ import annotations

import signal
import stat
from pathlib import Path

import psycopg
import pytest

from cenote.host import processes
from tests.support.folders import server_folder
from tests.support.service import (
    Service,
    added_pool,
    answer_of,
    online,
    online_cluster,
    run_cenote,
    service,
    tried,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.long


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    "name",
    ["admin-token", "ca.key", "api.pem", "api/sealing.key", "api/host.key", "keys/host.key", "serve.lock"],
)
def test_the_first_start_makes_what_is_secret_for_its_owner_alone(running: Service, name: str) -> None:
    path = running.data_dir / name
    assert path.stat().st_size > 0
    assert mode_of(path) == 0o600


def test_the_first_start_makes_an_authority_that_clients_can_be_pointed_at(running: Service) -> None:
    authority = (running.data_dir / "ca.crt").read_text()
    assert authority.startswith("-----BEGIN CERTIFICATE-----")
    assert authority in (running.data_dir / "ca-bundle.crt").read_text()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_session_through_a_pool_outlives_the_service(running: Service, how: signal.Signals) -> None:
    with running.client() as client:
        cluster = online_cluster(client, f"outlives-{how.name.lower()}")
        uri = added_pool(client, cluster["id"], "kept", mode="session")["connection"]["uri"]
        with psycopg.connect(uri, autocommit=True) as session:
            session.execute("CREATE TEMP TABLE mine AS SELECT 7 AS seven")
            before = running.servers()
            assert set(before) == {"PostgreSQL", "PgBouncer", "etcd"}

            code = running.end(how)
            assert session.execute("SELECT seven FROM mine").fetchone() == (7,)
            running.start()

            assert code == (0 if how is not signal.SIGKILL else -signal.SIGKILL)
            assert session.execute("SELECT seven FROM mine").fetchone() == (7,)
            assert running.servers() == before
        assert online(client, cluster["id"])["connection"] == cluster["connection"]
        assert answer_of(uri) == 42
        client.databases.destroy_cluster(cluster["id"])
    wait_until("nothing is left of the cluster", 30, lambda: not running.remains())


def test_the_token_and_the_authority_stay_the_same_over_a_restart(running: Service) -> None:
    files = [
        running.data_dir / name
        for name in ("admin-token", "ca.crt", "api.pem", "api/sealing.key", "keys/host.key")
    ]
    before = [path.read_bytes() for path in files]
    running.end()
    running.start()
    assert [path.read_bytes() for path in files] == before


def test_an_idle_connection_does_not_hold_up_the_end(running: Service) -> None:
    with running.client() as client:
        client.databases.list_clusters()
        length = len(running.log())
        assert running.end() == 0
        assert "exceeded" not in running.log()[length:]
        running.start()
        assert client.databases.list_clusters()["databases"] == []


def test_a_second_service_on_the_same_folder_is_refused(running: Service) -> None:
    second = run_cenote("serve", f"--data-dir={running.data_dir}", "--port=0")
    assert second.returncode == 1
    assert f"another Cenote serves from {running.data_dir} (pid {running.pid})" in second.stderr
    assert f"at https://localhost:{running.api_port}" in second.stderr
    assert "stop" not in second.stderr  # it would end the databases
    assert len(second.stderr.splitlines()) == 1
    with running.client() as client:
        assert client.databases.list_clusters()["databases"] == []


def test_a_port_that_is_taken_is_named(running: Service) -> None:
    with server_folder() as folder:
        refused = run_cenote("serve", f"--data-dir={folder}", f"--port={running.api_port}")
        assert refused.returncode == 1
        assert f"cannot listen on 127.0.0.1 port {running.api_port}" in refused.stderr
        assert "--port" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        assert processes.below(folder) == []


def test_stop_ends_everything_and_the_next_start_brings_it_back_with_the_data() -> None:
    with service() as stopped, stopped.client() as client:
        cluster = online_cluster(client, "comes-back")
        uri = added_pool(client, cluster["id"], "kept")["connection"]["uri"]
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 11 AS eleven")
        pids = [*stopped.servers().values(), stopped.pid]

        stopped.stop()
        assert stopped.servers() == {}
        assert [pid for pid in pids if is_alive(pid)] == []
        with pytest.raises(psycopg.OperationalError):
            answer_of(uri)

        stopped.start()
        assert online(client, cluster["id"])["connection"] == cluster["connection"]
        wait_until("the pool answers", 30, lambda: tried(uri, "SELECT eleven FROM kept") == 11)


def test_stopping_what_does_not_run_is_no_error() -> None:
    with service() as stopped:
        stopped.stop()
        assert "stopped; data kept" in stopped.cenote("stop")


def test_a_first_start_that_is_killed_is_made_good_by_the_next() -> None:
    with service() as killed:
        killed.end(signal.SIGKILL)
        (killed.data_dir / "api.pem").unlink()
        (killed.data_dir / "address").unlink()
        killed.start()
        with killed.client() as client:
            assert client.databases.list_clusters()["databases"] == []


def is_alive(pid: int) -> bool:
    return processes.identify(pid) is not None
