"""Storage that gets full, on a real server, and how it grows, through the API."""

from __future__ import annotations

import psycopg
import pytest
from msgspec.structs import replace

from cenote.engine.plan import postgresql
from cenote.host import files, processes, system
from cenote.model.changes import Reload
from cenote.model.records import Cluster, Pool, StorageAutoscale
from cenote.model.topology import writer_or_first
from tests.support import records
from tests.support.agent import Agents, AtWork, ask, refusal
from tests.support.api import Api, Apis
from tests.support.lab import Lab, Share

pytestmark = pytest.mark.timing(
    resync_interval=0.2,
    resync_interval_nearly_full=0.2,
    disk_use_max_age=0.2,
    disk_use_max_age_nearly_full=0.2,
)


def uri(cluster: Cluster) -> str:
    port = writer_or_first(cluster).pool_port
    return f"postgres://doadmin:{records.PASSWORD}@127.0.0.1:{port}/backend-pool?sslmode=require"


def test_what_a_folder_takes_is_measured(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = place.new_cluster()
        await place.converge(cluster)
        data = place.wanted(cluster).paths.data
        before = system.disk_use(data).used_mib
        (data / "base" / "more").write_bytes(bytes(8 * 2**20))
        assert system.disk_use(data).used_mib == before + 8
        (data / "base" / "more").unlink()

    labs(scenario)


def test_full_storage_refuses_writes_lets_room_be_made_and_takes_writes_again(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        pool = Pool(name="backend-pool", database="defaultdb", size=2, user="doadmin")
        cluster = replace(place.new_cluster(), pools=(pool,), storage_mib=1_000)
        await place.converge(cluster)
        wanted = place.wanted(cluster)
        process = processes.find(wanted.server)
        used = system.disk_use(wanted.paths.data).used_mib

        with psycopg.connect(uri(cluster), autocommit=True) as client:
            client.execute("CREATE TABLE things AS SELECT 1 AS id")
            full = replace(cluster, storage_mib=used // 2)  # whichever of the last numbers is looked at
            done = await place.converge(full)
            assert [change for change in done if isinstance(change, Reload)]
            assert await place.plan(full) == []
            assert postgresql.refuses_writes(files.read(postgresql.configuration_file(wanted)))
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                client.execute("INSERT INTO things VALUES (2)")
            assert client.execute("SELECT id FROM things").fetchone() == (1,)
            with client.transaction():
                client.execute("SET TRANSACTION READ WRITE")
                client.execute("DELETE FROM things")

            # Users are set up all the same.
            more = replace(full, users=(*full.users, records.user("app")))
            await place.converge(more)
            assert await place.rows(more, "SELECT 1 FROM pg_roles WHERE rolname = 'app'") == [(1,)]

            await place.converge(replace(more, storage_mib=1_000))
            client.execute("INSERT INTO things VALUES (2)")
        assert processes.find(wanted.server) == process

    labs(scenario)


def test_the_agent_says_that_writes_are_refused_until_there_is_room_again(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        data = at.lab.wanted(cluster).paths.data
        assert at.status(cluster).used_mib > 0
        cluster = await at.change(cluster, storage_mib=system.disk_use(data).used_mib + 100)
        await at.settled(cluster)
        (data / "ballast").write_bytes(bytes(100 * 2**20))
        said = await at.reason(
            cluster, "MiB of storage are used; writes are refused until there is room again"
        )
        assert said.failing
        assert "cannot execute CREATE TABLE in a read-only transaction" in await refusal(
            cluster, "CREATE TABLE things (id int)"
        )
        (data / "ballast").unlink()
        await at.settled(cluster)
        await ask(cluster, "CREATE TABLE things (id int)")

    agents.run(scenario)


def test_storage_that_grows_by_itself_never_refuses_a_write(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        rule = StorageAutoscale(enabled=True, threshold_percent=80, increment_gib=10)
        cluster = await at.cluster(storage_mib=50, autoscale=rule)
        cluster = await at.settled(cluster)
        assert cluster.storage_mib == 50 + 10 * 1024
        await ask(cluster, "CREATE TABLE things (id int)")

    agents.run(scenario)


def test_how_storage_grows_is_chosen_and_shown_under_both_keys(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        grows = {"enabled": True, "threshold_percent": 70, "increment_gib": 20}
        for sent, expected in (
            (grows, grows),
            ({"enabled": False, "threshold_percent": 0, "increment_gib": 0}, {"enabled": False}),
            ({"enabled": True}, {"enabled": True, "threshold_percent": 80, "increment_gib": 10}),
        ):
            await api.call("PUT", f"{cluster}/autoscale", 204, json={"storage": sent})
            found = await api.call("GET", f"{cluster}/autoscale", 200)
            assert found == {"autoscale": {"storage": expected}, "storage": expected}
            shown = (await api.call("GET", cluster, 200))["database"]
            assert shown["autoscale"]["storage"] == shown["storage_autoscale"] == expected

    apis.run(scenario)


@pytest.mark.parametrize("key", ["autoscale", "storage_autoscale"])
def test_a_cluster_can_be_created_with_storage_that_grows(apis: Apis, key: str) -> None:
    async def scenario(api: Api) -> None:
        grows = {"enabled": True, "threshold_percent": 70, "increment_gib": 20}
        cluster = await api.add_cluster(**{key: {"storage": grows} if key == "autoscale" else grows})
        assert (await api.call("GET", f"{cluster}/autoscale", 200))["storage"] == grows

    apis.run(scenario)


def test_how_storage_may_not_grow_is_refused(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        body = {"storage": {"enabled": True, "threshold_percent": 10}}
        message = await api.refusal("PUT", f"{cluster}/autoscale", 422, json=body)
        assert message == "threshold_percent: 10 is out of range: 15 to 95."
        assert (await api.call("GET", f"{cluster}/autoscale", 200))["storage"] == {"enabled": False}

    apis.run(scenario)


def test_storage_is_not_shrunk_below_what_is_in_it(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster(storage_size_mib=102_400)
        await api.report(cluster)
        [stored] = api.store.clusters()
        status = api.store.status(stored.value.id, "node-1")
        assert status is not None
        await api.write_report(stored.value.id, replace(status, used_mib=50_000))
        body = {"size": "db-s-1vcpu-1gb", "num_nodes": 1, "storage_size_mib": 60_000}
        message = await api.refusal("PUT", f"{cluster}/resize", 422, json=body)
        assert message.startswith("storage_size_mib: 60000 is too small: 50000 MiB are used")
        await api.call("PUT", f"{cluster}/resize", 202, json=body | {"storage_size_mib": 62_500})

    apis.run(scenario)
