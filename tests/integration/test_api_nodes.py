"""Clusters of several nodes through the API, with a real store and hosts that report, without servers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from cenote.model.status_records import NodeStatus, PendingRestart, Standby
from cenote.store import etcd_messages
from tests.support.api import HOST, Api, Apis

A, B, C = (
    replace(
        HOST,
        id=f"host-{letter}",
        name=f"db-{letter}",
        address=f"127.0.1.{number}",
        fleet_address=f"127.0.1.{number}",
        patroni="4.1.5",
    )
    for number, letter in enumerate("abc", 1)
)
BARE = replace(HOST, id="host-d", name="db-d")


def id_of(path: str) -> UUID:
    return UUID(path.rpartition("/")[2])


async def shown(api: Api, path: str) -> Any:
    return (await api.call("GET", path, 200))["database"]


async def works(api: Api, path: str) -> None:
    """Have each node report that it works, and Patroni's key name the first one."""
    id = id_of(path)
    stored = api.store.cluster(id)
    assert stored is not None
    [primary, *others] = stored.value.nodes
    good = NodeStatus(
        reached=10**9,
        tried=10**9,
        at=datetime.now(UTC),
        size=stored.value.size,
        storage_mib=stored.value.storage_mib,
        region=stored.value.region,
    )
    names = tuple(node.name for node in others)
    leader = etcd_messages.put(f"{api.store.keys.failover_of(id)}leader", primary.name.encode())
    await api.store.client.transact(etcd_messages.TransactionRequest([], [leader], []))
    await api.hosts[primary.host].report(id, primary.name, replace(good, followers=names, quorum=names))
    for node in others:
        standby = Standby(streaming=True, replayed=1, behind=3, seconds=0.5)
        await api.hosts[node.host].report(id, node.name, replace(good, standby=standby))

    def all_work() -> bool | None:
        seen = api.store.reports(id)
        has_leader = len(stored.value.nodes) == 1 or api.store.leader(stored.value) is not None
        have_worked = all(one.name in seen and seen[one.name].reached for one in stored.value.nodes)
        return (has_leader and have_worked) or None

    assert await api.store.wait(all_work, 10)


def test_a_cluster_is_created_until_all_nodes_work_and_shows_them(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await api.add_cluster(num_nodes=2)
        found = await shown(api, path)
        assert (found["status"], found["num_nodes"]) == ("creating", 2)
        await works(api, path)
        found = await shown(api, path)
        assert found["status"] == "online"
        [first, second] = found["cenote"]["nodes"]
        assert (first["role"], second["role"]) == ("primary", "standby")
        assert (second["lag_bytes"], second["lag_seconds"], second["sync"]) == (3, 0.5, True)
        assert found["connection"]["host"] != found["standby_connection"]["host"]
        assert found["connection"]["port"] == found["standby_connection"]["port"]

    apis.run(scenario, hosts=(A, B))


def test_what_no_hosts_can_take_is_refused_in_words(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        body = {"name": "several", "engine": "pg", "size": "db-s-1vcpu-1gb", "region": "nyc1", "num_nodes": 3}
        apart = body | {"cenote": {"distinct_hosts": True}}
        refusal = await api.refusal("POST", "/v2/databases", 412, json=apart)
        assert "3 nodes on different hosts need 3 hosts" in str(refusal)
        await api.refusal("POST", "/v2/databases", 422, json=body | {"num_nodes": 4})
        options = (await api.call("GET", "/v2/databases/options", 200))["options"]["pg"]
        assert [layout["num_nodes"] for layout in options["layouts"]] == [1, 2, 3]

    apis.run(scenario, hosts=(A, B))


def test_what_waits_for_a_restart_is_told_of_each_node(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await api.add_cluster(num_nodes=2)
        await works(api, path)
        id = id_of(path)
        known = dict(api.store.reports(id))
        stored = api.store.cluster(id)
        assert stored is not None
        [primary, standby] = stored.value.nodes
        due = PendingRestart(settings=("max_connections",), grows=("max_connections",))
        waits = {"max_connections": "now", "listen_addresses": "window"}
        for node in (primary, standby):
            seen = replace(known[node.name], restart=due, not_in_force=waits, outdated=("PostgreSQL",))
            await api.hosts[node.host].report(id, node.name, seen)

        def both() -> bool | None:
            return all(one.restart for one in api.store.reports(id).values()) or None

        assert await api.store.wait(both, 10)
        found = await shown(api, path)
        now, window, progress = found["cenote"]["not_in_force"]
        assert now == "max_connections changes with a restart at once (node-1, node-2)"
        assert window.endswith("in the maintenance window (node-1, node-2)")
        assert progress.startswith("nodes are restarted one at a time: ")
        assert found["maintenance_window"]["description"] == [
            "Restart PostgreSQL with the program that is installed now",
            "Restart PostgreSQL for listen_addresses",
        ]

    apis.run(scenario, hosts=(A, B))


def test_a_cluster_grows_and_shrinks_by_a_resize(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await api.add_cluster(num_nodes=1)
        await works(api, path)
        size = {"size": "db-s-1vcpu-1gb"}
        await api.call("PUT", f"{path}/resize", 202, json=size | {"num_nodes": 3})
        found = await shown(api, path)
        assert (found["status"], found["num_nodes"]) == ("resizing", 3)
        assert {node["host"] for node in found["cenote"]["nodes"]} == {"db-a", "db-b", "db-c"}
        await works(api, path)
        assert (await shown(api, path))["status"] == "online"
        await api.call("PUT", f"{path}/resize", 202, json=size | {"num_nodes": 1})
        found = await shown(api, path)
        assert found["num_nodes"] == 1
        assert "standby_connection" not in found

    apis.run(scenario, hosts=(A, B, C))


def test_a_switch_is_begun_shown_and_given_up(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await api.add_cluster(num_nodes=2)
        await api.refusal("POST", f"{path}/switchover", 412, json={})
        await works(api, path)
        await api.refusal("POST", f"{path}/switchover", 422, json={"candidate": "node-9"})
        wish = {"candidate": "node-2", "cut": True}
        answer = await api.call("POST", f"{path}/switchover", 202, json=wish)
        assert (answer["primary"], answer["switchover"]["cut"]) == ("node-1", True)
        assert (answer["switchover"]["to"], answer["switchover"]["stage"]) == ("node-2", "preparing")
        assert (await shown(api, path))["cenote"]["switchover"] == answer["switchover"]
        await api.refusal("POST", f"{path}/switchover", 412, json={})
        await api.call("DELETE", f"{path}/switchover", 204)
        assert "switchover" not in (await shown(api, path))["cenote"]
        await api.refusal("DELETE", f"{path}/switchover", 422)

    apis.run(scenario, hosts=(A, B))


def test_a_host_without_patroni_takes_one_node_only(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.add_cluster(num_nodes=1)
        body = {"name": "two", "engine": "pg", "size": "db-s-1vcpu-1gb", "region": "nyc1", "num_nodes": 2}
        assert "No host has Patroni" in str(await api.refusal("POST", "/v2/databases", 412, json=body))

    apis.run(scenario, hosts=(BARE,))
