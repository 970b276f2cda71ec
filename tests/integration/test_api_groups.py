"""Tags, projects, networks and the account: what clients of the reference ask for beside databases."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from cenote.model import catalog
from tests.support.api import BACKEND, Api, Apis

DEFAULT = "/v2/projects/default"


def id_of(cluster: str) -> str:
    return cluster.rpartition("/")[2]


def resources(*clusters: str) -> dict[str, Any]:
    return {"resources": [{"resource_id": id_of(one), "resource_type": "database"} for one in clusters]}


async def shown(api: Api, cluster: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.call("GET", cluster, 200))["database"]
    return found


async def names(api: Api, kind: str) -> list[str]:
    return [one["name"] for one in (await api.call("GET", f"/v2/{kind}", 200))[kind]]


# -- Tags


def test_a_tag_has_a_count_of_every_kind_of_thing_that_clients_read(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        tag = (await api.call("POST", "/v2/tags", 201, json={"name": "web"}))["tag"]
        kinds = ("droplets", "images", "volumes", "volume_snapshots", "databases")
        assert tag == {"name": "web", "resources": {"count": 0, **{kind: {"count": 0} for kind in kinds}}}
        await api.add_cluster(tags=["web"])
        found = (await api.call("GET", "/v2/tags/web", 200))["tag"]["resources"]
        assert (found["count"], found["databases"]) == (1, {"count": 1})

    apis.run(scenario)


def test_a_tag_that_is_there_already_is_answered_like_a_new_one(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.add_cluster(tags=["web"])
        for _ in range(2):
            tag = (await api.call("POST", "/v2/tags", 201, json={"name": "web"}))["tag"]
            assert tag["resources"]["count"] == 1
        assert await names(api, "tags") == ["web"]

    apis.run(scenario)


def test_clusters_are_tagged_and_found_by_their_tags(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        one, two = await api.add_cluster(tags=["a"]), await api.add_cluster(name="second")
        await api.call("POST", "/v2/tags", 201, json={"name": "b"})
        await api.call("POST", "/v2/tags/b/resources", 204, json=resources(one, two))
        assert (await shown(api, one))["tags"] == ["a", "b"]
        found = await api.call("GET", "/v2/databases", 200, params={"tag_name": "b"})
        assert len(found["databases"]) == 2
        await api.call("DELETE", "/v2/tags/b/resources", 204, json=resources(two))
        found = await api.call("GET", "/v2/databases", 200, params={"tag_name": "b"})
        assert [cluster["id"] for cluster in found["databases"]] == [id_of(one)]

    apis.run(scenario)


def test_a_tag_stays_when_no_cluster_has_it_and_goes_from_all_when_it_is_deleted(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster(tags=["a", "b"])
        await api.call("DELETE", "/v2/tags/a/resources", 204, json=resources(cluster))
        assert await names(api, "tags") == ["a", "b"]
        await api.call("DELETE", "/v2/tags/b", 204)
        assert await names(api, "tags") == ["a"]
        assert (await shown(api, cluster))["tags"] == []

    apis.run(scenario)


def test_tagging_what_is_not_there_changes_nothing_and_untagging_it_is_no_fault(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster, gone = await api.add_cluster(), f"/v2/databases/{uuid4()}"
        await api.call("POST", "/v2/tags", 201, json={"name": "a"})
        await api.refusal("POST", "/v2/tags/a/resources", 404, json=resources(cluster, gone))
        assert (await shown(api, cluster))["tags"] == []
        await api.call("DELETE", "/v2/tags/a/resources", 204, json=resources(cluster, gone))
        await api.refusal("POST", "/v2/tags/b/resources", 404, json=resources(cluster))
        droplet = {"resources": [{"resource_id": "1", "resource_type": "droplet"}]}
        assert "'database'" in await api.refusal("POST", "/v2/tags/a/resources", 422, json=droplet)
        await api.refusal("POST", "/v2/tags", 422, json={"name": "no spaces"})
        for method in ("GET", "DELETE"):
            await api.refusal(method, "/v2/tags/b", 404)

    apis.run(scenario)


# -- Projects


def test_a_project_has_every_field_that_clients_read(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        body = {"name": "shop", "description": "", "purpose": "Web Application", "environment": "production"}
        made = (await api.call("POST", "/v2/projects", 201, json=body))["project"]
        assert set(made) == {
            *("id", "owner_uuid", "owner_id", "name", "description", "purpose", "environment"),
            *("is_default", "created_at", "updated_at"),
        }
        assert (made["environment"], made["is_default"]) == ("Production", False)
        changed = {"name": "store", "description": None, "is_default": False}
        after = (await api.call("PATCH", f"/v2/projects/{made['id']}", 200, json=changed))["project"]
        assert {**made, "name": "store", "updated_at": after["updated_at"]} == after
        assert (await api.call("GET", f"/v2/projects/{made['id']}", 200))["project"] == after
        assert await names(api, "projects") == ["default", "store"]

    apis.run(scenario)


def test_a_cluster_without_a_project_is_in_the_default_one(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await shown(api, await api.add_cluster(project_id="", private_network_uuid=""))
        default = (await api.call("GET", DEFAULT, 200))["project"]
        assert cluster["project_id"] == default["id"]
        assert default["is_default"]
        assert await api.call("GET", f"/v2/projects/{default['id']}", 200) == {"project": default}
        [member] = (await api.call("GET", f"{DEFAULT}/resources", 200))["resources"]
        assert member["urn"] == f"do:dbaas:{cluster['id']}"
        assert member["assigned_at"] == cluster["created_at"]
        assert member["links"]["self"].endswith(f"/v2/databases/{cluster['id']}")

    apis.run(scenario)


def test_a_project_is_replaced_as_a_whole(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        body = {"name": "shop", "description": "d", "purpose": "p", "environment": "Production"}
        made = (await api.call("POST", "/v2/projects", 201, json=body))["project"]
        path = f"/v2/projects/{made['id']}"
        whole = {"name": "store", "description": "e", "purpose": "q", "environment": "staging"}
        after = (await api.call("PUT", path, 200, json={**whole, "is_default": False}))["project"]
        assert {name: after[name] for name in whole} == {**whole, "environment": "Staging"}
        after = (await api.call("PUT", path, 200, json={"name": "bare"}))["project"]
        assert [after[name] for name in whole] == ["bare", "", "", ""]
        assert (after["id"], after["created_at"]) == (made["id"], made["created_at"])
        await api.refusal("PUT", path, 422, json={"name": "default"})
        await api.refusal("PUT", path, 422, json={"name": "x", "is_default": True})
        assert await api.call("GET", path, 200) == {"project": after}

    apis.run(scenario)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("by_id", [False, True])
def test_the_default_project_is_renamed_and_stays_the_default(apis: Apis, method: str, by_id: bool) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        before = (await api.call("GET", DEFAULT, 200))["project"]
        path = f"/v2/projects/{before['id']}" if by_id else DEFAULT
        for name in ("first", "second"):
            body = {"name": name, "environment": "Development", "is_default": True}
            after = (await api.call(method, path, 200, json=body))["project"]
            assert (after["name"], after["environment"], after["is_default"]) == (name, "Development", True)
            assert (after["id"], after["created_at"]) == (before["id"], before["created_at"])
        assert await names(api, "projects") == ["second"]
        assert (await api.call("GET", DEFAULT, 200))["project"] == after
        assert (await shown(api, cluster))["project_id"] == before["id"]
        assert len((await api.call("GET", f"{DEFAULT}/resources", 200))["resources"]) == 1
        await api.add_cluster(name="later")
        await api.refusal("POST", "/v2/projects", 422, json={"name": "second"})
        await api.call("POST", "/v2/projects", 201, json={"name": "default"})
        await api.refusal("DELETE", path, 422)
        told = (await api.call("GET", "/v2/cenote/audit", 200))["entries"]
        changed = [entry for entry in told if entry["what"].startswith(method)]
        assert len(changed) == 2

    apis.run(scenario)


def test_a_change_of_the_default_project_outlives_the_service(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.call("PATCH", DEFAULT, 200, json={"name": "first"})
        await api.store.close()
        await api.store.open()
        assert await names(api, "projects") == ["first"]

    apis.run(scenario)


def test_a_project_with_clusters_is_deleted_after_they_were_put_elsewhere(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        project = (await api.call("POST", "/v2/projects", 201, json={"name": "shop"}))["project"]["id"]
        cluster = await api.add_cluster(project_id=project)
        assert (await shown(api, cluster))["project_id"] == project
        refused = await api.refusal("DELETE", f"/v2/projects/{project}", 412)
        assert refused == "cannot delete a project with resources"
        urns = {"resources": [f"do:dbaas:{id_of(cluster)}"]}
        for path, status in ((DEFAULT, "assigned"), (DEFAULT, "already_assigned")):
            [put] = (await api.call("POST", f"{path}/resources", 200, json=urns))["resources"]
            assert put["status"] == status
        await api.call("DELETE", f"/v2/projects/{project}", 204)
        await api.refusal("GET", f"/v2/projects/{project}", 404)

    apis.run(scenario)


def test_a_deleted_cluster_is_put_into_a_project_without_an_error(apis: Apis) -> None:
    """As Terraform does when it destroys a project's resources after the cluster."""

    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("DELETE", cluster, 204)
        urns = {"resources": [f"do:dbaas:{id_of(cluster)}"]}
        [put] = (await api.call("POST", f"{DEFAULT}/resources", 200, json=urns))["resources"]
        assert (put["urn"], put["status"]) == (urns["resources"][0], "not_found")
        await api.refusal("POST", f"{DEFAULT}/resources", 422, json={"resources": ["do:droplet:1"]})

    apis.run(scenario)


def test_a_cluster_that_is_made_while_its_project_is_deleted_is_never_left_without_one(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        for number in range(8):
            made = await api.call("POST", "/v2/projects", 201, json={"name": f"p{number}"})
            project = made["project"]["id"]
            body = {**BACKEND, "name": f"c{number}-one", "project_id": project}
            deleted, created = await asyncio.gather(
                api.http.delete(f"/v2/projects/{project}"), api.http.post("/v2/databases", json=body)
            )
            assert (deleted.status_code, created.status_code) in {(204, 409), (204, 422), (412, 201)}
            if created.is_success:
                await api.call("GET", f"/v2/projects/{project}", 200)

    apis.run(scenario)


def test_two_projects_never_have_one_name_also_when_they_are_made_at_once(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        made = await asyncio.gather(*(api.http.post("/v2/projects", json={"name": "shop"}) for _ in range(6)))
        assert sorted(answer.status_code for answer in made) == [201, *[422] * 5]
        assert await names(api, "projects") == ["default", "shop"]

    apis.run(scenario)


# -- Networks


def test_a_vpc_has_every_field_that_clients_read_and_a_range_of_its_own(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        bodies = [{"name": name, "region": "nyc1"} for name in ("inner", "outer")]
        one, two = [(await api.call("POST", "/v2/vpcs", 201, json=body))["vpc"] for body in bodies]
        assert set(one) == {
            *("id", "urn", "name", "description", "region", "ip_range", "created_at", "default")
        }
        assert one["urn"] == f"do:vpc:{one['id']}"
        assert one["ip_range"] != two["ip_range"]
        assert await api.call("GET", f"/v2/vpcs/{one['id']}", 200) == {"vpc": one}
        body = {"name": "third", "region": "nyc1", "ip_range": one["ip_range"]}
        assert "overlaps" in await api.refusal("POST", "/v2/vpcs", 422, json=body)

    apis.run(scenario)


def test_every_region_has_a_default_vpc_that_its_clusters_are_in(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        found = (await api.call("GET", "/v2/vpcs", 200))["vpcs"]
        assert {one["region"] for one in found if one["default"]} == set(catalog.REGIONS)
        cluster = await shown(api, await api.add_cluster())
        mine = (await api.call("GET", f"/v2/vpcs/{cluster['private_network_uuid']}", 200))["vpc"]
        assert (mine["region"], mine["default"]) == (cluster["region"], True)

    apis.run(scenario)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_vpc_is_renamed_and_keeps_the_rest(apis: Apis, method: str) -> None:
    async def scenario(api: Api) -> None:
        body = {"name": "inner", "region": "nyc1", "description": "for the shop"}
        made = (await api.call("POST", "/v2/vpcs", 201, json=body))["vpc"]
        path = f"/v2/vpcs/{made['id']}"
        change = {"name": "outer", "default": False}
        assert (await api.call(method, path, 200, json=change))["vpc"] == {**made, "name": "outer"}
        await api.refusal(method, path, 422, json={"name": "default-fra1"})
        await api.refusal(method, path, 422, json={"default": True})
        assert (await api.call("GET", path, 200))["vpc"]["name"] == "outer"

    apis.run(scenario)


def test_the_default_vpc_of_a_region_is_renamed_and_stays_the_default(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = f"/v2/vpcs/{catalog.default_network('nyc1')}"
        before = (await api.call("GET", path, 200))["vpc"]
        body = {"name": "office", "default": True}
        assert (await api.call("PATCH", path, 200, json=body))["vpc"] == {**before, "name": "office"}
        found = (await api.call("GET", "/v2/vpcs?per_page=200", 200))["vpcs"]
        assert len([one for one in found if one["region"] == "nyc1"]) == 1
        assert (await shown(api, await api.add_cluster()))["private_network_uuid"] == before["id"]
        await api.refusal("DELETE", path, 422)
        await api.call("POST", "/v2/vpcs", 201, json={"name": "default-nyc1", "region": "nyc1"})

    apis.run(scenario)


def test_the_members_of_a_vpc_are_its_clusters(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.call("POST", "/v2/vpcs", 201, json={"name": "inner", "region": "nyc1"}))["vpc"]
        path = f"/v2/vpcs/{made['id']}/members"
        assert (await api.call("GET", path, 200))["members"] == []
        one = await shown(api, await api.add_cluster(private_network_uuid=made["id"]))
        two = await shown(api, await api.add_cluster(name="second", private_network_uuid=made["id"]))
        await api.add_cluster(name="third")
        listed = await api.call("GET", path, 200)
        expected = [
            {"urn": f"do:dbaas:{cluster['id']}", "name": cluster["name"], "created_at": cluster["created_at"]}
            for cluster in (one, two)
        ]
        assert sorted(listed["members"], key=lambda member: str(member["name"])) == expected
        assert listed["meta"] == {"total": 2}
        page = await api.call("GET", path, 200, params={"per_page": 1, "page": 2})
        assert len(page["members"]) == 1
        for kind, count in (("droplet", 0), ("dbaas", 2), ("database", 2), ("", 2)):
            found = await api.call("GET", path, 200, params={"resource_type": kind})
            assert len(found["members"]) == count
        await api.call("DELETE", f"/v2/databases/{one['id']}", 204)
        assert [member["name"] for member in (await api.call("GET", path, 200))["members"]] == ["second"]

    apis.run(scenario)


def test_a_vpc_is_deleted_when_no_cluster_is_in_it(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.call("POST", "/v2/vpcs", 201, json={"name": "inner", "region": "nyc1"}))["vpc"]
        cluster = await api.add_cluster(private_network_uuid=made["id"])
        assert (await shown(api, cluster))["private_network_uuid"] == made["id"]
        assert "members" in await api.refusal("DELETE", f"/v2/vpcs/{made['id']}", 409)
        await api.call("DELETE", cluster, 204)
        await api.call("DELETE", f"/v2/vpcs/{made['id']}", 204)
        await api.refusal("DELETE", f"/v2/vpcs/{made['id']}", 404)

    apis.run(scenario)


# -- What is refused


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("project_id", str(UUID(int=1)), "there is no project"),
        ("private_network_uuid", str(UUID(int=1)), "there is no VPC"),
        ("private_network_uuid", str(catalog.default_network("fra1")), "not in nyc1"),
    ],
)
def test_a_cluster_is_made_in_what_is_there(apis: Apis, field: str, value: str, words: str) -> None:
    async def scenario(api: Api) -> None:
        assert words in await api.refusal("POST", "/v2/databases", 422, json={**BACKEND, field: value})
        assert api.store.clusters() == []

    apis.run(scenario)


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", "/v2/projects", {"name": ""}, 422),
        ("POST", "/v2/projects", {"name": "default"}, 422),
        ("POST", "/v2/projects", {"name": "x", "environment": "Testing"}, 422),
        ("PATCH", DEFAULT, {"is_default": False}, 422),
        ("PATCH", DEFAULT, {"name": ""}, 422),
        ("PUT", DEFAULT, {"description": "no name"}, 422),
        ("PUT", f"/v2/projects/{UUID(int=1)}", {"name": "x"}, 404),
        ("DELETE", DEFAULT, None, 422),
        ("DELETE", "/v2/projects/no-uuid", None, 404),
        ("GET", f"/v2/projects/{UUID(int=1)}/resources", None, 404),
        ("POST", "/v2/vpcs", {"name": "x y", "region": "nyc1"}, 422),
        ("POST", "/v2/vpcs", {"name": "default-nyc1", "region": "nyc1"}, 422),
        ("POST", "/v2/vpcs", {"name": "x", "region": "nowhere"}, 422),
        ("POST", "/v2/vpcs", {"name": "x", "region": "nyc1", "ip_range": "8.8.0.0/16"}, 422),
        ("POST", "/v2/vpcs", {"name": "x", "region": "nyc1", "ip_range": "10.0.0.0/8"}, 422),
        ("POST", "/v2/vpcs", {"name": "x", "region": "nyc1", "ip_range": "10.0.0.1/20"}, 422),
        ("PUT", f"/v2/vpcs/{catalog.default_network('nyc1')}", {"name": "default-fra1"}, 422),
        ("PATCH", f"/v2/vpcs/{catalog.default_network('nyc1')}", {"default": False}, 422),
        ("PATCH", f"/v2/vpcs/{UUID(int=1)}", {"name": "x"}, 404),
        ("GET", f"/v2/vpcs/{UUID(int=1)}/members", None, 404),
        ("DELETE", f"/v2/vpcs/{catalog.default_network('nyc1')}", None, 422),
        ("GET", "/v2/vpcs/no-uuid", None, 404),
    ],
)
def test_what_is_not_allowed_is_refused(apis: Apis, method: str, path: str, body: Any, code: int) -> None:
    async def scenario(api: Api) -> None:
        assert await api.refusal(method, path, code, **({} if body is None else {"json": body}))
        assert await names(api, "projects") == ["default"]

    apis.run(scenario)


def test_who_has_put_what_where_is_in_the_audit_trail(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("POST", "/v2/tags", 201, json={"name": "a"})
        await api.call("POST", "/v2/tags/a/resources", 204, json=resources(cluster))
        await api.call("POST", "/v2/vpcs", 201, json={"name": "inner", "region": "nyc1"})
        told = (await api.call("GET", "/v2/cenote/audit", 200))["entries"]
        assert [entry["what"] for entry in told[:3]] == [
            *("POST /v2/vpcs", "POST /v2/tags/a/resources", "POST /v2/tags")
        ]
        assert [entry["cluster_uuid"] for entry in told[:3]] == [None, id_of(cluster), None]

    apis.run(scenario)


def test_the_account_is_that_of_the_token(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        account = (await api.call("GET", "/v2/account", 200))["account"]
        assert (account["name"], account["status"]) == ("test", "active")
        assert {"uuid", "email", "email_verified", "droplet_limit", "team"} <= set(account)

    apis.run(scenario)
