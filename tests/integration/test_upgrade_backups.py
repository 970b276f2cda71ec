"""Servers of former versions under this one, with backups: restarted when it is time, and nothing is lost."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from cenote.host import programs
from cenote_client import BusyError, Client
from tests.support import old_version
from tests.support.console import base_of, visitor
from tests.support.folders import server_folder
from tests.support.held import committed, held_clients, lost, seen
from tests.support.service import (
    CENOTE,
    WITHOUT_LIMITS,
    Service,
    added_pool,
    answer_of,
    online,
    online_cluster,
    service,
)
from tests.support.waiting import wait_until

SECONDS = 120
FOUND = programs.find()
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        FOUND.pgbackrest is None
        or not any(programs.reads(FOUND.pgbackrest, major) for major in FOUND.postgres),
        reason="there is no pgBackRest that reads an installed PostgreSQL",
    ),
]
WAITS = "no backups before the next restart, which is made in the maintenance window"
ARCHIVING = "Restart PostgreSQL for archive_mode"


def version() -> str:
    assert FOUND.pgbackrest is not None
    return max((major for major in FOUND.postgres if programs.reads(FOUND.pgbackrest, major)), key=int)


def exchanged(running: Service) -> None:
    """Have this version go on where a former one was killed."""
    running.end(signal.SIGKILL)
    running.command = (CENOTE,)
    running.start()


def view(client: Client, cluster: Any) -> Any:
    return client.request("GET", f"/v2/databases/{cluster['id']}")["database"]


def health(client: Client, cluster: Any) -> str:
    return str(view(client, cluster)["cenote"]["health"])


def started(uri: str) -> Any:
    return answer_of(uri, "SELECT pg_postmaster_start_time()")


@pytest.fixture(scope="module")
def former() -> Iterator[tuple[Service, Client]]:
    """A service whose two clusters were made by a version that knows no backups, and keeps backups now."""
    with (
        server_folder() as folder,
        service(*WITHOUT_LIMITS, command=old_version.command(old_version.LAST), clusters=3) as running,
        running.client() as client,
    ):
        for name in ("button", "window"):
            cluster = online_cluster(client, name, version=version())
            added_pool(client, cluster["id"], "web")
            # Not open in the next hours, wherever the clock stands.
            day = (datetime.now(UTC) + timedelta(days=3)).strftime("%A").lower()
            window = {"day": day, "hour": "00:00"}
            client.request("PUT", f"/v2/databases/{cluster['id']}/maintenance", json=window)
        running.add_options(f"--backups=file://{folder}/repository")
        exchanged(running)
        yield running, client


def waiting(client: Client, name: str) -> Any:
    """Return a cluster, once it says that its backups wait for a restart."""
    [cluster] = client.request("GET", "/v2/databases", params={"name": name})["databases"]

    def says_so() -> Any:
        found = view(client, cluster)
        return found if found["cenote"]["reason"].startswith(WAITS) else None

    return wait_until("it waits for the restart", SECONDS, says_so)


def backed_up(client: Client, cluster: Any) -> bool:
    return bool(view(client, cluster)["cenote"]["backups"]["count"])


def test_a_restart_that_waits_says_so_and_a_button_makes_it_behind_held_pools(
    former: tuple[Service, Client],
) -> None:
    running, client = former
    cluster = waiting(client, "button")
    assert cluster["cenote"]["health"] == "degraded"
    assert cluster["maintenance_window"]["pending"]
    assert cluster["maintenance_window"]["description"] == [ARCHIVING]
    [line] = [line for line in cluster["cenote"]["not_in_force"] if line.startswith("archive_mode")]
    assert line == "archive_mode changes with a restart in the maintenance window"
    with pytest.raises(BusyError, match=f"{WAITS}; .cenote cluster install-update. makes it at once"):
        client.databases.list_backups(cluster["id"])
    direct = cluster["connection"]["uri"]
    pooled = client.request("GET", f"/v2/databases/{cluster['id']}/pools/web")["pool"]["connection"]["uri"]
    before = started(direct)
    with (
        psycopg.connect(pooled, autocommit=True) as held,
        psycopg.connect(direct) as ended,
        visitor(running) as somebody,
        visitor(running, "database:read") as reader,
    ):
        held.execute("SELECT 1")
        ended.execute("SELECT 1")
        base = base_of(cluster)
        for path in ("", "/backups"):
            assert "Restart now …" in somebody.open(base + path).text
            assert "Restart now …" not in reader.open(base + path).text
        assert WAITS in somebody.open(f"{base}/backups").text
        asked = somebody.open(f"{base}/settings/restart")
        assert f"{ARCHIVING}." in asked.text
        assert "Clients of transaction and statement pools stay connected." in asked.text
        assert "Clients of session pools and of the direct port are disconnected" in asked.text
        assert started(direct) == before  # nothing happens before the confirmation
        done = somebody.send(asked, "Restart now")
        assert "Restarted. No restart is pending." in done.text
        row = held.execute("SELECT current_setting('archive_mode')").fetchone()
        assert row == ("always",)
        with pytest.raises(psycopg.OperationalError):
            ended.execute("SELECT 1")
    assert started(direct) > before
    wait_until("the first backup is made", SECONDS, lambda: backed_up(client, cluster))
    wait_until("it is healthy", SECONDS, lambda: health(client, cluster) == "healthy")
    assert not view(client, cluster)["maintenance_window"]["pending"]


def test_the_maintenance_window_makes_it_and_clients_of_a_pool_see_no_error(
    former: tuple[Service, Client],
) -> None:
    _, client = former
    cluster = waiting(client, "window")
    direct = cluster["connection"]["uri"]
    pooled = client.request("GET", f"/v2/databases/{cluster['id']}/pools/web")["pool"]["connection"]["uri"]
    before, failed, done, over = started(direct), list[str](), list[float](), threading.Event()

    def work() -> None:
        with psycopg.connect(pooled, autocommit=True) as connection:
            connection.execute("CREATE TABLE written (value int)")
            while not over.is_set():
                try:
                    connection.execute("INSERT INTO written VALUES (%s)", (len(done),))
                except psycopg.Error as error:
                    failed.append(str(error))
                    return
                done.append(time.monotonic())
                over.wait(0.02)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        begins = datetime.now(UTC) + timedelta(minutes=1)
        window = {"day": begins.strftime("%A").lower(), "hour": begins.strftime("%H:%M")}
        client.request("PUT", f"/v2/databases/{cluster['id']}/maintenance", json=window)
        opened = begins.replace(second=0, microsecond=0)
        if datetime.now(UTC) < opened - timedelta(seconds=2):
            assert started(direct) == before  # the change of the window itself restarts nothing
        # Nothing but the clock wakes the agent; it looks every 20 seconds at a server with work to do.
        wait_until("it was restarted", SECONDS, lambda: health(client, cluster) == "healthy")
    finally:
        over.set()
        worker.join()
    again = started(direct)
    assert again > before
    assert again >= opened
    assert failed == []
    assert answer_of(direct, "SELECT count(*) FROM written") == len(done)
    assert answer_of(direct, "SHOW archive_mode") == "always"
    longest = max(later - earlier for earlier, later in pairwise(done))
    print(f"{len(done)} inserts through the pool, none failed, the longest wait {longest:.2f} s")
    wait_until("the first backup is made", SECONDS, lambda: backed_up(client, cluster))


def test_backups_and_a_deleted_cluster_of_a_former_version_are_taken_over() -> None:
    with (
        server_folder() as folder,
        service(
            *WITHOUT_LIMITS,
            f"--backups=file://{folder}/repository",
            command=old_version.command(old_version.HOSTS),
            clusters=4,
        ) as running,
        running.client() as client,
    ):
        kept = online_cluster(client, "kept", version=version(), tags=["one"])
        path = f"/v2/databases/{kept['id']}"
        for name in ("kept", "web"):
            added_pool(client, kept["id"], name, mode="session" if name == "kept" else "transaction")
        client.request("POST", f"{path}/users", json={"name": "app"})
        client.request("PATCH", f"{path}/config", json={"config": {"work_mem": 7}})
        gone = online_cluster(client, "gone", version=version())
        with psycopg.connect(gone["connection"]["uri"], autocommit=True) as connection:
            connection.execute("CREATE TABLE rescued AS SELECT generate_series(1, 100) AS value")
        listed = wait_until("the first backup is made", SECONDS, lambda: _listed(client, kept))
        client.request("DELETE", f"/v2/databases/{gone['id']}")
        wait_until(
            "it is put away", SECONDS, lambda: not (running.data_dir / "clusters" / gone["id"]).exists()
        )
        before = seen(client)
        deleted = client.request("GET", "/v2/cenote/deleted")["deleted"]
        with held_clients(client, [kept["id"]]) as held:
            exchanged(running)
            online(client, kept["id"])
            problems = [*lost(before, seen(client)), *(line for one in held for line in one.differences())]
            assert problems == []
            listed_now = client.request("GET", "/v2/cenote/deleted")["deleted"]
            assert listed_now == [one | {"source": "trash"} for one in deleted]
            assert [one["created_at"] for one in _listed(client, kept)] == [
                one["created_at"] for one in listed
            ]
            # The next one follows from those of the former version, instead of another first one.
            running.cenote("backup", "now", "kept", "--wait")
            types = [one["cenote"]["type"] for one in _listed(client, kept)]
            assert types == [*(one["cenote"]["type"] for one in listed), "diff"]
            assert view(client, kept)["cenote"]["backups"]["gap_at"] is None
            assert [line for one in held for line in one.differences()] == []
            assert committed(held) == []
        client.request("POST", f"/v2/cenote/deleted/{gone['id']}/undelete", json={})
        back = online(client, gone["id"])
        assert back["connection"] == gone["connection"]
        assert answer_of(back["connection"]["uri"], "SELECT count(*) FROM rescued") == 100


def times(backups: list[Any]) -> list[str]:
    return [backup["created_at"] for backup in backups]


def _listed(client: Client, cluster: Any) -> Any:
    try:
        return client.databases.list_backups(cluster["id"])["backups"]
    except BusyError:
        return None
