"""Undelete through the API, with a real store and hosts whose reports the tests write."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from cenote.api.service import Settings
from cenote.errors import Conflict
from cenote.model.records import Cluster
from cenote.model.status_records import NodeStatus
from cenote.rules import deletions
from cenote.rules.record_formats import WITH_MOVES
from tests.integration.test_api_hosts import lose
from tests.support.api import HOST, Api, Apis, running_apis

DELETED = "/v2/cenote/deleted"
A, B = (replace(HOST, id=id, name=f"db-{id}", memory_mib=4096, disk_mib=100_000) for id in ("a", "b"))
SEVEN_DAYS = Settings(wait_seconds=0, host_id="a", undelete_days=7)


@pytest.fixture(scope="module")
def apis() -> Iterator[Apis]:
    yield from running_apis()


def record(api: Api, path: str) -> Cluster:
    stored = api.store.cluster(UUID(path.rpartition("/")[2]))
    assert stored is not None
    return stored.value


def deleted_path(path: str) -> str:
    return f"{DELETED}/{path.rpartition('/')[2]}"


async def deleted(api: Api, *, kept: bool = True, **fields: Any) -> str:
    """Create and delete a cluster that its host has stopped then; return its former path."""
    path = await api.add_cluster(**fields)
    await api.report(path)
    await api.call("DELETE", path, 204)
    await stopped(api, path, kept=kept)
    if kept:
        await api.store.update_cluster(
            record(api, path).id,
            lambda one: deletions.put_away(one, api.store.reports(one.id)),
            deleted=True,
        )
        assert record(api, path).is_put_away
    return path


async def stopped(api: Api, path: str, *, kept: bool) -> None:
    """Report, as the agent would, that the cluster is stopped; ``kept``: its data is in the trash."""
    cluster = record(api, path)
    status = NodeStatus(
        reached=1,
        at=datetime.now(UTC),
        removed=True,
        removed_for=cluster.deleted_at,
        kept=kept,
        used_mib=40,
    )
    await api.write_report(cluster.id, status)


def test_a_deleted_cluster_is_listed_and_there_for_nothing_else(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await deleted(api, tags=["web"])
        await api.refusal("GET", path, 404)
        await api.refusal("DELETE", path, 404)
        await api.refusal("GET", f"{path}/pools", 404)
        assert (await api.call("GET", "/v2/databases?name=backend", 200))["databases"] == []
        found = await api.call("GET", DELETED, 200)
        [one] = found["deleted"]
        assert found["meta"] == {"total": 1}
        assert (one["name"], one["host"], one["used_mib"]) == ("backend", "db-a", 40)
        [host] = (await api.call("GET", "/v2/cenote/hosts", 200))["hosts"]
        assert (host["clusters"], host["promised_memory_mib"], host["ports"]["claimed"]) == (0, 0, 0)
        assert (host["deleted_clusters"], host["deleted_mib"]) == (1, 40)

    apis.run(scenario, SEVEN_DAYS, (A,))


def test_an_undeleted_cluster_is_what_it_was(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await api.add_cluster(tags=["web"])
        before = (await api.call("GET", path, 200))["database"]
        await api.call("DELETE", path, 204)
        await stopped(api, path, kept=True)  # its ports are not free yet
        answer = await api.call("POST", f"{deleted_path(path)}/undelete", 200, json={})
        assert answer["changed"] == []
        now = (await api.call("GET", path, 200))["database"]
        for field in ("id", "name", "connection", "users", "tags", "project_id", "created_at"):
            assert now[field] == before[field], field
        await api.refusal("POST", f"{deleted_path(path)}/undelete", 404, json={})
        await api.refusal("DELETE", deleted_path(path), 404)
        assert (await api.call("GET", DELETED, 200))["deleted"] == []

    apis.run(scenario, SEVEN_DAYS, (A,))


def test_new_clusters_leave_the_former_ports_alone_while_there_are_others(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await deleted(api)
        other = record(api, await api.add_cluster())
        assert not other.nodes[0].ports & record(api, path).nodes[0].ports
        words = await api.refusal("POST", f"{deleted_path(path)}/undelete", 422, json={})
        assert f"backend is the name of the cluster {other.id}" in words
        assert "--name NAME" in words
        for name in ("B", "no good", "-a-"):
            await api.refusal("POST", f"{deleted_path(path)}/undelete", 422, json={"name": name})
        answer = await api.call("POST", f"{deleted_path(path)}/undelete", 200, json={"name": "again"})
        assert answer["changed"] == ["Its name is again, and was backend."]

    apis.run(scenario, SEVEN_DAYS, (A,))


def test_a_project_and_a_vpc_that_are_gone_are_replaced_and_that_is_told(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        project = (await api.call("POST", "/v2/projects", 201, json={"name": "shop"}))["project"]["id"]
        vpc = {"name": "inner", "region": "nyc1"}
        network = (await api.call("POST", "/v2/vpcs", 201, json=vpc))["vpc"]["id"]
        path = await deleted(api, project_id=project, private_network_uuid=network)
        await api.call("DELETE", f"/v2/projects/{project}", 204)
        await api.call("DELETE", f"/v2/vpcs/{network}", 204)
        answer = await api.call("POST", f"{deleted_path(path)}/undelete", 200, json={})
        assert [line.split(":")[0] for line in answer["changed"]] == [
            "It is in the default project",
            "It is in the default VPC of its region",
        ]

    apis.run(scenario, SEVEN_DAYS, (A,))


def test_what_cannot_be_undeleted_now_says_why(apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(api: Api) -> None:
        emptied = await deleted(api, kept=False, name="emptied", cenote={"host": "a"})
        words = await api.refusal("POST", f"{deleted_path(emptied)}/undelete", 409, json={})
        assert words == "Its data is not in the trash of db-a any more."
        path = await deleted(api, cenote={"host": "b"})
        refused = await api.refusal("DELETE", "/v2/cenote/hosts/b", 412)
        assert "db-b has the data of deleted clusters that can be undeleted: backend." in refused
        await lose(api, "b", monkeypatch)
        words = await api.refusal("POST", f"{deleted_path(path)}/undelete", 503, json={})
        assert words == "The host db-b, which has its data, does not answer. Try again when it is back."
        [told] = [
            one["reason"]
            for one in (await api.call("GET", DELETED, 200))["deleted"]
            if one["name"] == "backend"
        ]
        assert told == words
        await api.call("DELETE", "/v2/cenote/hosts/b?lost=true", 204)
        words = await api.refusal("POST", f"{deleted_path(path)}/undelete", 409, json={})
        assert words == "Its host was removed, with its data."

    apis.run(scenario, SEVEN_DAYS, (A, B))


def test_what_is_not_put_away_yet_is_so_before_it_can_be_undeleted(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await api.add_cluster()
        await api.report(path)
        await api.call("DELETE", path, 204)
        words = await api.refusal("POST", f"{deleted_path(path)}/undelete", 409, json={})
        assert words == "It is being stopped and put away on db-a; try again."
        await stopped(api, path, kept=True)
        await api.call("POST", f"{deleted_path(path)}/undelete", 200, json={})
        await api.call("DELETE", path, 204)
        await api.refusal("POST", f"{deleted_path(path)}/undelete", 409, json={})  # that was the first one
        assert record(api, path).undeletion is not None
        await stopped(api, path, kept=True)
        await api.call("POST", f"{deleted_path(path)}/undelete", 200, json={})

    apis.run(scenario, SEVEN_DAYS, (A,))


def test_an_undelete_has_its_project_and_vpc_there(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        vpc = {"name": "inner", "region": "nyc1"}
        network = (await api.call("POST", "/v2/vpcs", 201, json=vpc))["vpc"]["id"]
        path = await deleted(api, private_network_uuid=network)
        cluster = record(api, path)

        def back(current: Cluster) -> Cluster:
            return deletions.undeleted(current, current.name, current.nodes)

        # As if the watch were behind the deletion of the VPC: the record rests on it all the same.
        [known] = api.store.groups.networks()
        await api.call("DELETE", f"/v2/vpcs/{network}", 204)
        api.store._tables.networks[known.id] = known
        with pytest.raises(Conflict, match="was removed meanwhile"):
            await api.store.update_cluster(cluster.id, back, deleted=True)
        del api.store._tables.networks[known.id]
        purged = await api.store.update_cluster(cluster.id, deletions.purged, deleted=True)
        assert purged.value.keep is not None, "what is only removed needs neither"

    apis.run(scenario, SEVEN_DAYS, (A,))


@pytest.mark.parametrize("days", [0, 3, 30])
def test_a_cluster_may_say_itself_for_how_long_it_can_be_undeleted(apis: Apis, days: int) -> None:
    async def scenario(api: Api) -> None:
        first = await api.add_cluster(name="first", cenote={"undelete_days": days})
        second = await api.add_cluster(name="second")
        assert (await api.call("GET", first, 200))["database"]["cenote"]["undelete_days"] == days
        assert "undelete_days" not in (await api.call("GET", second, 200))["database"]["cenote"]
        for body in ({}, {"days": -1}, {"days": 3651}, {"days": "3"}):
            await api.refusal("PUT", f"{second}/undelete_days", 422, json=body)
        await api.call("PUT", f"{second}/undelete_days", 204, json={"days": days})
        for path in (first, second):
            await api.call("DELETE", path, 204)
            cluster = record(api, path)
            assert cluster.deleted_at is not None
            until = None if cluster.keep is None else cluster.keep.until - cluster.deleted_at
            assert until == (timedelta(days=days) if days else None)
        third = await api.add_cluster(name="third", cenote={"undelete_days": days})
        await api.call("PUT", f"{third}/undelete_days", 204, json={"days": None})
        assert "undelete_days" not in (await api.call("GET", third, 200))["database"]["cenote"]

    apis.run(scenario, SEVEN_DAYS, (A,))


def test_each_operation_needs_its_scope(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = deleted_path(await deleted(api))
        reader = await api.token("database:read", "database:update")
        await api.call("GET", DELETED, 200, headers=reader)
        await api.refusal("POST", f"{path}/undelete", 403, json={}, headers=reader)
        await api.refusal("DELETE", path, 403, headers=reader)
        await api.call("DELETE", path, 204, headers=await api.token("database:delete"))
        await api.refusal("POST", f"{path}/undelete", 404, json={})
        await api.refusal("POST", f"{DELETED}/none/undelete", 404, json={})

    apis.run(scenario, SEVEN_DAYS, (A,))


def test_beside_a_former_version_a_cluster_is_removed_at_once(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await api.add_cluster(cenote={"host": "a"})
        await api.call("DELETE", path, 204)
        assert record(api, path).keep is None
        assert (await api.call("GET", DELETED, 200))["deleted"] == []
        words = await api.refusal(
            "POST",
            "/v2/databases",
            412,
            json={
                "name": "backend",
                "engine": "pg",
                "size": "db-s-1vcpu-1gb",
                "region": "nyc1",
                "num_nodes": 1,
                "cenote": {"delete_protection": True},
            },
        )
        assert "or of clusters that are protected from deletion" in words

    apis.run(scenario, SEVEN_DAYS, (A, replace(B, reads=WITH_MOVES, cenote_version="0.1.0")))
