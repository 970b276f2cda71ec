"""``cenote keys``: rotation of the sealing keys of a real service, while it serves and when it is killed."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from pathlib import Path

import psycopg

from bench.records import fill
from cenote.model.paths import Layout
from cenote.model.records import Cluster
from cenote.model.topology import writer_or_first
from cenote.security.sealing import Sealer
from cenote.store import Store, Stored
from cenote.store.process import PrivateEtcd
from tests.support.etcd import etcd_program, opened_store
from tests.support.service import WITHOUT_LIMITS, Service, added_pool, calling, online_cluster, service
from tests.support.waiting import wait_until

RECORDS = 150  # as many clusters as a rotation takes a second or so for
KILLS = 5


async def read(running: Service) -> tuple[list[Stored[Cluster]], bool]:
    """Return all clusters as etcd has them, and whether the agent is done with those of this host."""

    def is_done(store: Store, stored: Stored[Cluster]) -> bool:
        node = writer_or_first(stored.value)
        status = store.status(stored.value.id, node.name)
        return node.host == "elsewhere" or (status is not None and status.reached >= stored.revision)

    etcd = PrivateEtcd(Layout(running.data_dir).etcd, etcd_program())
    async with opened_store(etcd) as store:
        found = store.clusters()
        return found, all(is_done(store, stored) for stored in found)


def passwords(running: Service) -> dict[str, str]:
    """Open every password and private key with the ring that is on disk."""
    sealer = Sealer(Layout(running.data_dir).sealing_key)
    opened = {}
    for stored in asyncio.run(read(running))[0]:
        cluster = stored.value
        opened[f"{cluster.name} CA"] = sealer.open(cluster.authority.sealed_key).reveal()
        for user in cluster.users:
            opened[f"{cluster.name} {user.name}"] = sealer.open(user.sealed_password).reveal()
    return opened


def mtimes(data_dir: Path) -> dict[str, int]:
    """When each configuration file and certificate of the servers was written."""
    return {
        str(path): path.stat().st_mtime_ns
        for pattern in ("*.conf", "*.ini", "*.txt", "*.pem", "*.crt")
        for path in (data_dir / "clusters").rglob(pattern)
    }


def test_a_rotation_changes_no_password_and_touches_no_server() -> None:
    with service() as running, running.client() as client:
        cluster = online_cluster(client, "backend")
        pool = added_pool(client, cluster["id"], "web", mode="session")
        uri = pool["connection"]["uri"]
        with psycopg.connect(uri, autocommit=True) as session:
            loaded = "SELECT pg_conf_load_time(), pg_postmaster_start_time(), pg_backend_pid()"
            wait_until("the agent is done", 60, lambda: asyncio.run(read(running))[1])
            before, opened = session.execute(loaded).fetchone(), passwords(running)
            servers, files = running.servers(), mtimes(running.data_dir)
            changes = running.log().count("cluster backend: ")
            assert files
            assert changes
            [old] = client.cenote.list_keys()["keys"]

            said = running.cenote("keys", "rotate")
            assert "1 records re-sealed" in said
            assert f"the old keys are removed: {old['id']}" in said
            wait_until("the agent has seen the record", 60, lambda: asyncio.run(read(running))[1])

            assert passwords(running) == opened
            assert session.execute(loaded).fetchone() == before
            assert running.log().count("cluster backend: ") == changes
            assert (running.servers(), mtimes(running.data_dir)) == (servers, files)
        [new] = client.cenote.list_keys()["keys"]
        assert (new["seals"], new["records"], new["id"] == old["id"]) == (True, 1, False)
        pool_after = client.databases.get_connection_pool(cluster["id"], "web")["pool"]
        assert pool_after["connection"]["uri"] == uri
        with psycopg.connect(pool_after["connection"]["uri"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        running.end()
        running.start()
        assert client.databases.get_connection_pool(cluster["id"], "web")["pool"] == pool_after
        by_request = [entry["what"] for entry in client.cenote.list_audit()["entries"]]
        assert "POST /v2/cenote/keys/rotate" in by_request


def test_a_service_killed_during_rotations_loses_no_secret_and_the_next_rotation_ends() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with service() as running:
        asyncio.run(fill(Layout(running.data_dir), RECORDS))
        opened = passwords(running)
        assert len(opened) == 2 * RECORDS
        for _ in range(KILLS):
            with calling(running) as http:
                assert http.post("/v2/cenote/keys/rotate").status_code == 202
                time.sleep(chance.uniform(0, 1.5))
                running.end(signal.SIGKILL)
            assert passwords(running) == opened
            print(f"{len(Sealer(Layout(running.data_dir).sealing_key).keys)} keys after the kill")
            running.start()
        running.cenote("keys", "rotate")
        assert len(Sealer(Layout(running.data_dir).sealing_key).keys) == 1
        assert passwords(running) == opened


def test_the_api_answers_during_a_rotation_and_refuses_a_second_one() -> None:
    with service(*WITHOUT_LIMITS) as running, calling(running) as http:
        paths = asyncio.run(fill(Layout(running.data_dir), RECORDS))
        wait_until("the records are seen", 60, lambda: http.get(paths[-1]).status_code == 200)
        shown = {path: http.get(path).json()["pool"]["connection"]["password"] for path in paths[::50]}
        assert http.post("/v2/cenote/keys/rotate").status_code == 202
        refused = http.post("/v2/cenote/keys/rotate")
        assert (refused.status_code, "already" in refused.json()["message"]) == (412, True)
        rounds = 0
        while (rotation := http.get("/v2/cenote/keys").json()["rotation"])["state"] == "running":
            rounds += 1
            for path, password in shown.items():
                assert http.get(path).json()["pool"]["connection"]["password"] == password
        assert rounds
        assert (rotation["state"], rotation["resealed"]) == ("done", RECORDS)
        for path, password in shown.items():
            assert http.get(path).json()["pool"]["connection"]["password"] == password
