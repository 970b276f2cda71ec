"""A service whose clock is set while it runs: far ahead, back, and an hour back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from cenote_client import CenoteError, Client
from tests.support.clocks import Clock
from tests.support.folders import server_folder
from tests.support.service import Service, added_pool, answer_of, ca_file, online_cluster, service
from tests.support.waiting import wait_until

RENEWED_SECONDS = 150  # the API's certificate is looked at each minute


@pytest.fixture
def clock() -> Iterator[Clock]:
    with server_folder() as folder:
        folder.chmod(0o755)
        yield Clock(folder)


def trusting(running: Service) -> Client:
    """A client that takes any certificate."""
    variables = running.environment()
    return Client(variables["DIGITALOCEAN_TOKEN"], endpoint=variables["DIGITALOCEAN_API_URL"], verify=False)


def is_verified(uri: str, authority: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        return bool(answer_of(uri, sslmode="verify-full", sslrootcert=authority) == 42)
    return False


def is_trusted(running: Service) -> bool:
    with contextlib.suppress(CenoteError, OSError), running.client() as client:
        client.request("GET", "/v2/databases")
        return True
    return False


def test_what_was_made_with_a_clock_far_ahead_works_once_it_is_right(clock: Clock) -> None:
    clock.set(timedelta(days=400))
    with service("--requests-per-minute=0", environment=clock.environment) as running:
        with trusting(running) as client:
            cluster: Any = online_cluster(client, "ahead")
            authority = ca_file(client, cluster["id"], running.data_dir)
            uri = cluster["connection"]["uri"]
            assert answer_of(uri) == 42
            assert not is_verified(uri, authority)  # by the true clock, not valid yet
            assert not is_trusted(running)

            clock.set(timedelta(0))
            wait_until("clients verify the servers", RENEWED_SECONDS, lambda: is_verified(uri, authority))
            wait_until("clients verify the API", RENEWED_SECONDS, lambda: is_trusted(running))
        with running.client() as client:
            pool = added_pool(client, cluster["id"], "web")
            assert is_verified(pool["connection"]["uri"], authority)
            found = client.request("GET", f"/v2/databases/{cluster['id']}")["database"]
            assert found["status"] == "online"
            assert found["cenote"]["reason"] == ""


def test_an_hour_back_locks_nobody_out_and_holds_no_change_up(clock: Clock) -> None:
    with service("--requests-per-minute=100", environment=clock.environment) as running:
        with running.client() as client:
            cluster = online_cluster(client, "back")
            path = f"/v2/databases/{cluster['id']}"
            clock.set(timedelta(hours=-1))
            for megabytes in (5, 6):  # each takes a reload
                config = {"config": {"work_mem": megabytes}}
                client.request("PATCH", f"{path}/config", json=config)
                assert client.request("GET", f"{path}/config")["config"]["work_mem"] == megabytes
            found = client.request("GET", path)["database"]
            assert found["cenote"]["reason"] == ""
            events = client.request("GET", f"{path}/events")["events"]
            assert len(events) >= 3
        assert "did not reload" not in running.log()
