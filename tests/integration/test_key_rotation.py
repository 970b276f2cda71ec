"""``cenote keys``: rotation of the sealing keys of a real service, while it serves and when it is killed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from bench.records import fill
from cenote.errors import Misconfigured
from cenote.model.paths import Layout
from cenote.model.records import Cluster
from cenote.model.topology import writer_or_first
from cenote.security.sealing import Sealer
from cenote.server import logins
from cenote.store import Store, Stored
from cenote.store.process import PrivateEtcd
from tests.support.service import WITHOUT_LIMITS, Service, added_pool, calling, online_cluster, service
from tests.support.waiting import wait_until

RECORDS = 150  # as many clusters as a rotation takes a second or so for
KILLS = 5


@contextlib.asynccontextmanager
async def stored(running: Service) -> AsyncIterator[Store]:
    """The store of a service, as its API opens it."""
    layout = Layout(running.data_dir)
    client = logins.api_client(layout, PrivateEtcd(layout.etcd, clients=layout.etcd_client).socket)
    store = Store(client)
    try:
        await store.open()
        yield store
    finally:
        await store.close()
        await client.close()


async def read(running: Service) -> tuple[list[Stored[Cluster]], bool]:
    """Return all clusters as etcd has them, and whether the agent is done with those of this host."""

    def is_done(store: Store, stored: Stored[Cluster]) -> bool:
        node = writer_or_first(stored.value)
        status = store.status(stored.value.id, node.name)
        return node.host == "elsewhere" or (status is not None and status.reached >= stored.revision)

    async with stored(running) as store:
        found = store.clusters()
        return found, all(is_done(store, stored) for stored in found)


async def host_keys(running: Service) -> tuple[str, ...]:
    """Return the ids of the keys that the agent reports."""
    async with stored(running) as store:
        return store.known_hosts()[0].host_keys


def passwords(running: Service) -> dict[str, str]:
    """Open every password and private key with the ring that is on disk."""
    sealer = Sealer(Layout(running.data_dir).api_sealing_key)
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
            old, old_host = client.cenote.list_keys()["keys"]
            assert (old["ring"], old_host["ring"]) == ("api", "host")

            said = running.cenote("keys", "rotate")
            assert "2 records re-sealed" in said  # the cluster, and the record from before its pool
            assert f"the old keys are removed: {old['id']}" in said
            assert f"the old keys are removed: {old_host['id']}" in said
            wait_until("the agent has seen the record", 60, lambda: asyncio.run(read(running))[1])

            assert passwords(running) == opened
            assert session.execute(loaded).fetchone() == before
            assert running.log().count("cluster backend: ") == changes
            assert (running.servers(), mtimes(running.data_dir)) == (servers, files)
        new, new_host = client.cenote.list_keys()["keys"]
        assert (new_host["seals"], new_host["id"] == old_host["id"]) == (True, False)
        assert (new["seals"], new["records"], new["id"] == old["id"]) == (True, 2, False)
        pool_after = client.databases.get_connection_pool(cluster["id"], "web")["pool"]
        assert pool_after["connection"]["uri"] == uri
        with psycopg.connect(pool_after["connection"]["uri"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        running.end()
        running.start()
        assert client.databases.get_connection_pool(cluster["id"], "web")["pool"] == pool_after
        entries = client.cenote.list_audit(search="POST /v2/cenote/keys/rotate")["entries"]
        assert f"sealing key of ring api: from {old['id']} to {new['id']}" in [
            entry["summary"] for entry in entries
        ]


def test_log_sinks_open_after_a_rotation_of_their_ring_and_with_the_agents_ring_alone() -> None:
    with service() as running, running.client() as client:
        cluster = online_cluster(client, "backend")
        path = f"/v2/databases/{cluster['id']}/logsink"
        config = {"server": "192.0.2.1", "port": 514, "tls": False, "format": "rfc5424"}
        body = {"sink_name": "away", "sink_type": "rsyslog", "config": config}
        sink = client.request("POST", path, json=body)["sink"]
        layout = Layout(running.data_dir)
        before = [key.id for key in Sealer(layout.api_sealing_key).keys]

        said = running.cenote("keys", "rotate", "--ring", "host")
        assert "ring host: " in said
        assert " 1 records re-sealed" in said
        assert [key.id for key in Sealer(layout.api_sealing_key).keys] == before
        assert layout.host_keys.read_bytes() == layout.api_host_keys.read_bytes()
        [key] = Sealer(layout.host_keys).keys
        wait_until("the agent reports the ring", 30, lambda: asyncio.run(host_keys(running)) == (key.id,))
        record = asyncio.run(read(running))[0][0].value

        agent = Sealer(layout.host_keys)
        assert "192.0.2.1" in agent.open(record.sinks[0].sealed_config).reveal()
        for text in (record.authority.sealed_key, record.users[0].sealed_password):
            with pytest.raises(Misconfigured, match="another key"):
                agent.open(text)
        with pytest.raises(Misconfigured, match="another key"):
            Sealer(layout.api_sealing_key).open(record.sinks[0].sealed_config)

        for _ in range(2):
            shown = client.request("GET", f"{path}/{sink['sink_id']}")
            assert shown["config"] == sink["config"]
            running.end()
            running.start()
        assert "another key" not in running.log()


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
                ring = chance.choice(["api", "host"])
                assert http.post("/v2/cenote/keys/rotate", params={"ring": ring}).status_code == 202
                time.sleep(chance.uniform(0, 1.5))
                running.end(signal.SIGKILL)
            assert passwords(running) == opened
            print(f"{len(Sealer(Layout(running.data_dir).api_sealing_key).keys)} keys after the kill")
            running.start()
        running.cenote("keys", "rotate")
        layout = Layout(running.data_dir)
        assert layout.host_keys.read_bytes() == layout.api_host_keys.read_bytes()
        assert len(Sealer(layout.host_keys).keys) == 1
        assert len(Sealer(Layout(running.data_dir).api_sealing_key).keys) == 1
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
