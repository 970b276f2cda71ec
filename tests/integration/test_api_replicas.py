"""Read replicas through the API, with a real store and hosts that report, without servers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from cenote.api import Settings
from cenote.controller.controller import Controller
from cenote.model.status_records import NodeStatus, Standby
from cenote.rules import major_upgrades
from tests.support.api import HOST, POOL, Api, Apis

OTHER = replace(HOST, id="there", name="there", address="127.0.1.7")
REPLICA = {"name": "reports", "size": "db-s-1vcpu-2gb", "region": "fra1", "tags": ["blue"]}
SOURCE = {"source": {"host": "db.example.com", "port": 5432, "username": "u", "password": "p"}}
AT_ONCE = Settings(wait_seconds=0, host_id="here", access_wait_seconds=0)


async def sourced(api: Api) -> str:
    """Return a cluster that is online, and larger than the smallest."""
    cluster = await api.add_cluster(size="db-s-1vcpu-2gb")
    await api.report(cluster)
    return cluster


async def replicated(api: Api, cluster: str, **changes: Any) -> Any:
    body = {**REPLICA, **changes}
    return (await api.call("POST", f"{cluster}/replicas", 201, json=body))["replica"]


async def works(api: Api, id: str, **fields: Any) -> None:
    """Have a replica's host report that it has all data, and follows."""
    stored = api.store.cluster(UUID(id))
    assert stored is not None
    good = NodeStatus(
        reached=stored.revision,
        tried=stored.revision,
        at=datetime.now(UTC),
        copy=1,
        standby=Standby(streaming=True, replayed=9, behind=2048, seconds=0.25),
    )
    await api.write_report(UUID(id), replace(good, **fields))


def test_a_replica_is_added_and_shown_with_its_sources_login_and_is_in_no_list_of_clusters(
    apis: Apis,
) -> None:
    async def scenario(api: Api) -> None:
        cluster = await sourced(api)
        rules = {"rules": [{"type": "ip_addr", "value": "192.0.2.1"}]}
        await api.call("PUT", f"{cluster}/firewall", 204, json=rules)
        made = await replicated(api, cluster, size="", region="", storage_size_mib=None)
        source = (await api.call("GET", cluster, 200))["database"]
        assert made["status"] == "creating"
        assert (made["size"], made["region"]) == (source["size"], source["region"])
        assert made["storage_size_mib"] == source["storage_size_mib"]
        assert made["private_network_uuid"] == source["private_network_uuid"]
        assert made["tags"] == ["blue"]
        assert made["cenote"]["host"] == "there"  # not beside its source, if there is another one
        assert "lag" not in made["cenote"]
        assert made["cenote"]["source"] == source["id"]
        for name in ("user", "password", "database"):
            assert made["connection"][name] == source["connection"][name]
        assert made["connection"]["host"] != source["connection"]["host"]

        await works(api, made["id"])
        assert [one["name"] for one in (await api.call("GET", f"{cluster}/replicas", 200))["replicas"]] == [
            "reports"
        ]
        found = (await api.call("GET", f"{cluster}/replicas/reports", 200))["replica"]
        assert (found["status"], found["cenote"]["lag"]) == ("online", {"bytes": 2048, "seconds": 0.25})
        assert [one["id"] for one in (await api.call("GET", "/v2/databases", 200))["databases"]] == [
            source["id"]
        ]

        own = f"/v2/databases/{made['id']}"
        shown = (await api.call("GET", own, 200))["database"]
        assert shown["cenote"]["replica_of"] == source["id"]
        assert shown["cenote"]["lag"] == {"bytes": 2048, "seconds": 0.25}
        assert shown["users"] == source["users"]
        assert shown["rules"][0]["value"] == "192.0.2.1"
        await works(api, made["id"], standby=Standby(streaming=False, replayed=9))
        assert "lag" not in (await api.call("GET", own, 200))["database"]["cenote"]  # it is not known

    apis.run(scenario, hosts=(HOST, OTHER))


def test_a_replica_has_pools_trusted_sources_and_settings_of_its_own_and_users_of_its_source(
    apis: Apis,
) -> None:
    async def scenario(api: Api) -> None:
        cluster = await sourced(api)
        id = (await replicated(api, cluster))["id"]
        await works(api, id)
        own = f"/v2/databases/{id}"
        await api.call("POST", f"{cluster}/users", 201, json={"name": "anna"})
        pool = (await api.call("POST", f"{own}/pools", 201, json={**POOL, "user": "anna"}))["pool"]
        anna = (await api.call("GET", f"{cluster}/users/anna", 200))["user"]
        assert pool["connection"]["password"] == anna["password"]
        assert (await api.call("GET", f"{cluster}/pools", 200))["pools"] == []
        rules = {"rules": [{"type": "ip_addr", "value": "192.0.2.9"}]}
        await api.call("PUT", f"{own}/firewall", 204, json=rules)
        assert (await api.call("GET", f"{cluster}/firewall", 200))["rules"] == []
        await api.call("PATCH", f"{own}/config", 200, json={"config": {"work_mem": 8}})
        stored = api.store.cluster(UUID(id))
        assert stored is not None
        assert stored.value.user("anna") is not None
        [(_, past), *_] = await api.store.past_records(UUID(id))
        assert (past.users, past.databases) == ((), ())  # they stand in one record
        for method, path, body in (
            ("POST", "users", {"name": "berta"}),
            ("PUT", "users/anna", {"settings": {}}),
            ("POST", "users/anna/reset_auth", {}),
            ("DELETE", "users/anna", None),
            ("POST", "dbs", {"name": "shop"}),
            ("DELETE", "dbs/defaultdb", None),
            ("PUT", "upgrade", {"version": "16"}),
            ("GET", "backups", None),
            ("POST", "backups", None),
            ("POST", "backups/drills", None),
            ("GET", "recover", None),
            ("POST", "recover", {}),
            ("PUT", "online-migration", SOURCE),
        ):
            message = await api.refusal(method, f"{own}/{path}", 422, json=body)
            assert message.startswith("reports is a read replica: this is done with its source, backend"), (
                path
            )
            assert cluster.rpartition("/")[2] in message
        followed = await api.refusal("PUT", f"{cluster}/online-migration", 422, json=SOURCE)
        assert "has read replicas, which could not follow it: reports" in followed
        moved = await api.refusal("POST", f"{own}/move", 422, json={})
        assert "add another one there, and delete this one" in moved
        twice = await api.refusal("POST", f"{own}/replicas", 422, json=REPLICA)
        assert "no replicas of its own" in twice
        fork = {"backup_restore": {"database_name": "reports"}}
        assert "fork its source" in await api.refusal(
            "POST", "/v2/databases", 422, json={**fork, **_cluster("copy")}
        )

    apis.run(scenario)


def test_sizes_names_and_the_state_of_the_source_are_looked_at(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        fresh = await api.add_cluster(size="db-s-1vcpu-2gb")
        assert "backend is creating" in await api.refusal("POST", f"{fresh}/replicas", 412, json=REPLICA)
        await api.report(fresh)
        for changes, words in (
            ({"name": "Reports"}, "name: "),
            ({"name": "backend"}, "replica name is not available"),
            ({"size": "db-s-1vcpu-1gb"}, "size: a read replica is at least as large as its source"),
            ({"size": "huge"}, "size: 'huge' is not a size"),
            ({"region": "mars1"}, "region: "),
            ({"storage_size_mib": 10240}, "storage_size_mib: 10240 "),
            ({"tags": ["a b"]}, "tags: "),
            ({"private_network_uuid": "x"}, "private_network_uuid: "),
            ({"cenote": {"host": "nowhere"}}, "cenote.host: "),
            ({"colour": "red"}, "Object contains unknown field `colour`"),
        ):
            message = await api.refusal("POST", f"{fresh}/replicas", 422, json={**REPLICA, **changes})
            assert message.startswith(words), changes
        id = (await replicated(api, fresh))["id"]
        await works(api, id)
        taken = await api.refusal("POST", f"{fresh}/replicas", 422, json=REPLICA)
        assert taken == "replica name is not available"
        # Its name is one of a cluster, too: it may become one.
        message = await api.refusal("POST", "/v2/databases", 422, json=_cluster("reports"))
        assert message == "cluster name is not available"
        larger = {"size": "db-s-2vcpu-4gb", "num_nodes": 1}
        message = await api.refusal("PUT", f"{fresh}/resize", 422, json=larger)
        assert message.startswith("Resize its read replica reports first")
        own = f"/v2/databases/{id}"
        message = await api.refusal("PUT", f"{own}/resize", 422, json={**larger, "num_nodes": 2})
        assert message == "num_nodes: a read replica has 1 node, not 2."
        smaller = {"size": "db-s-1vcpu-1gb", "num_nodes": 1}
        assert "at least as large" in await api.refusal("PUT", f"{own}/resize", 422, json=smaller)
        await api.call("PUT", f"{own}/resize", 202, json=larger)
        await works(api, id)
        await api.call("PUT", f"{fresh}/resize", 202, json=larger)

    apis.run(scenario)


def test_replicas_are_added_while_others_change_the_source(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await sourced(api)
        names = [f"copy-{number}" for number in range(4)]
        await asyncio.gather(
            *(replicated(api, cluster, name=name) for name in names),
            *(api.call("POST", f"{cluster}/users", 201, json={"name": name}) for name in names),
        )
        found = (await api.call("GET", f"{cluster}/replicas", 200))["replicas"]
        assert {one["name"] for one in found} == set(names)

    apis.run(scenario)


def test_a_replica_is_deleted_by_its_name_and_a_source_only_without_any(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await sourced(api)
        await replicated(api, cluster)
        message = await api.refusal("DELETE", cluster, 422)
        assert message == "backend has read replicas: reports. Delete or promote them first."
        await api.call("DELETE", f"{cluster}/replicas/reports", 204)
        await api.call("GET", f"{cluster}/replicas/reports", 404)
        again = await replicated(api, cluster)  # its name is free at once
        await api.call("PUT", f"{cluster}/replicas/reports/promote", 204)
        assert "reports is being promoted" in await api.refusal("DELETE", cluster, 412)
        await api.call("DELETE", f"/v2/databases/{again['id']}", 204)
        for method, path in (("GET", ""), ("DELETE", ""), ("PUT", "/promote")):
            await api.call(method, f"{cluster}/replicas/nothing{path}", 404)
        await api.call("GET", f"{cluster}/replicas/reports/pools", 404)
        await api.call("DELETE", cluster, 204)
        await api.call("GET", f"{cluster}/replicas", 404)

    apis.run(scenario, settings=AT_ONCE)


@pytest.mark.parametrize("reached", [0, 1], ids=["being made", "without its source"])
def test_a_replica_becomes_a_cluster_once_it_has_all_data(apis: Apis, reached: int) -> None:
    async def scenario(api: Api) -> None:
        cluster = await sourced(api)
        await api.call("POST", f"{cluster}/users", 201, json={"name": "anna"})
        id = (await replicated(api, cluster))["id"]
        await api.call("PUT", f"{cluster}/replicas/reports/promote", 204)
        await api.call("PUT", f"{cluster}/replicas/reports/promote", 204)  # a call that is sent again
        controller = Controller(api.store, api.sealer, "here", "a directory")
        found = api.store.cluster(UUID(id))
        assert found is not None
        assert controller._promoted(found.value) is found.value  # nothing is copied yet
        promoting = (await api.call("GET", f"{cluster}/replicas/reports", 200))["replica"]
        assert promoting["cenote"]["promoting"]
        streams = not reached
        await works(api, id, reached=reached, standby=Standby(streaming=streams, replayed=9))
        found = api.store.cluster(UUID(id))
        assert found is not None
        await api.store.update_cluster(found.value.id, controller._promoted)
        await api.call("GET", f"{cluster}/replicas/reports", 404)
        await works(api, id, copy=0, standby=None)
        named = {one["name"]: one for one in (await api.call("GET", "/v2/databases", 200))["databases"]}
        assert named.keys() == {"backend", "reports"}
        assert named["reports"]["id"] == id
        assert named["reports"]["users"] == named["backend"]["users"]
        assert named["reports"]["status"] == "online"
        assert "replica_of" not in named["reports"]["cenote"]
        await api.call("POST", f"/v2/databases/{id}/users", 201, json={"name": "berta"})
        await api.call("GET", f"{cluster}/users/berta", 404)
        await api.call("DELETE", cluster, 204)
        events = (await api.call("GET", f"/v2/databases/{id}/events", 200))["events"]
        told = [event["cenote"]["summary"] for event in events]
        assert "promotion: added (asked for)" in told
        assert any("read replica: added (of backend)" in words for words in told)

    apis.run(scenario, settings=AT_ONCE)


def test_what_a_replica_shows_and_refuses_while_its_source_is_upgraded_and_made_anew_after_it(
    apis: Apis,
) -> None:
    async def scenario(api: Api) -> None:
        cluster = await sourced(api)
        id = (await replicated(api, cluster))["id"]
        await works(api, id)
        own = f"/v2/databases/{id}"
        source_id = UUID(cluster.rpartition("/")[2])
        now = datetime.now(UTC).replace(microsecond=0)
        newer = "99"
        begun = await api.store.update_cluster(source_id, lambda one: major_upgrades.begun(one, newer, now))
        former = begun.value.major_upgrade.source if begun.value.major_upgrade is not None else ""
        shown = (await api.call("GET", own, 200))["database"]
        assert (shown["version"], shown["cenote"]["upgrading_from"]) == (newer, former)
        larger = {"size": "db-s-2vcpu-4gb", "num_nodes": 1}
        for method, path, body in (
            ("PUT", f"{cluster}/replicas/reports/promote", None),
            ("PUT", f"{own}/resize", larger),
        ):
            message = await api.refusal(method, path, 412, json=body)
            assert f"backend is being upgraded to PostgreSQL {newer}, and reports is made anew" in message
        assert "is being upgraded" in await api.refusal(
            "POST", f"{cluster}/replicas", 412, json={**REPLICA, "name": "more"}
        )

        await api.store.update_cluster(source_id, lambda one: replace(one, major_upgrade=None))
        controller = Controller(api.store, api.sealer, "here", "a directory")
        stored = api.store.cluster(source_id)
        assert stored is not None
        good = NodeStatus(reached=stored.revision, tried=stored.revision, at=now, data_version=newer)
        await api.write_report(source_id, replace(good, data_version=former))
        assert (await anew(api, controller, source_id, id)) == (former, 1)
        await api.write_report(source_id, good)
        assert (await anew(api, controller, source_id, id)) == (newer, 2)
        assert (await anew(api, controller, source_id, id)) == (newer, 2)
        shown = (await api.call("GET", own, 200))["database"]
        assert (shown["version"], shown["status"]) == (newer, "creating")
        assert "upgrading_from" not in shown["cenote"]
        assert "is creating" in await api.refusal("PUT", f"{own}/resize", 412, json=larger)
        await works(api, id, copy=2)
        assert (await api.call("GET", own, 200))["database"]["status"] == "online"
        await api.call("DELETE", f"{cluster}/replicas/reports", 204)

    apis.run(scenario, settings=AT_ONCE)


async def anew(api: Api, controller: Controller, source_id: UUID, id: str) -> tuple[str, int]:
    """Have the controller look at a source; return the version of a replica and the number of its copy."""
    source = api.store.living_cluster(source_id)
    assert source is not None
    changes = [(one.value, controller._of_upgraded(source)) for one in api.store.replicas(source_id)]
    for replica, change in changes:
        if change(replica) is not replica:
            await api.store.update_cluster(replica.id, change)
    found = api.store.cluster(UUID(id))
    assert found is not None
    return found.value.version, found.value.copies


def _cluster(name: str) -> dict[str, Any]:
    return {"name": name, "engine": "pg", "size": "db-s-1vcpu-1gb", "region": "nyc1", "num_nodes": 1}
