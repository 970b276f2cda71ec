"""Trusted sources as clients send and read them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import BACKEND, Api, Apis

OFFICE = {"type": "ip_addr", "value": "192.0.2.0/24", "description": "the office"}
TAG = {"type": "tag", "value": "backend"}


async def rules_of(api: Api, cluster: str) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = (await api.call("GET", f"{cluster}/firewall", 200))["rules"]
    return rules


def test_a_new_cluster_has_no_rules(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        assert await rules_of(api, await api.add_cluster()) == []

    apis.run(scenario)


def test_rules_are_read_as_they_were_given_and_stand_in_the_cluster_too(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("PUT", f"{cluster}/firewall", 204, json={"rules": [OFFICE, TAG]})
        office, tag = await rules_of(api, cluster)
        assert {key: office[key] for key in OFFICE} == OFFICE
        assert {key: tag[key] for key in TAG} == TAG
        assert "description" not in tag
        assert office["cluster_uuid"] == tag["cluster_uuid"] == cluster.rpartition("/")[2]
        assert (await api.call("GET", cluster, 200))["database"]["rules"] == [office, tag]

    apis.run(scenario)


def test_a_rule_that_godo_sends_back_keeps_its_id_and_its_time(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        zero = {"created_at": "0001-01-01T00:00:00Z"}
        new = {"uuid": "", "cluster_uuid": "", **zero}
        await api.call("PUT", f"{cluster}/firewall", 204, json={"rules": [OFFICE | new]})
        [before] = await rules_of(api, cluster)
        await api.call("PUT", f"{cluster}/firewall", 204, json={"rules": [before | zero, TAG | new]})
        kept, added = await rules_of(api, cluster)
        assert kept == before
        assert added["uuid"] != kept["uuid"]

    apis.run(scenario)


@pytest.mark.parametrize("none", [[], None])
def test_an_empty_list_takes_all_rules_away(apis: Apis, none: list[Any] | None) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("PUT", f"{cluster}/firewall", 204, json={"rules": [OFFICE]})
        await api.call("PUT", f"{cluster}/firewall", 204, json={"rules": none})
        assert await rules_of(api, cluster) == []

    apis.run(scenario)


def test_rules_can_be_given_when_a_cluster_is_created(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        created = await api.call("POST", "/v2/databases", 201, json={**BACKEND, "rules": [OFFICE]})
        cluster = f"/v2/databases/{created['database']['id']}"
        assert created["database"]["rules"] == await rules_of(api, cluster)
        assert created["database"]["rules"][0]["value"] == OFFICE["value"]

    apis.run(scenario)


def test_a_refused_list_changes_nothing(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("PUT", f"{cluster}/firewall", 204, json={"rules": [OFFICE]})
        before = await rules_of(api, cluster)
        wrong = {"type": "ip_addr", "value": "192.0.2.0/99"}
        said = await api.refusal("PUT", f"{cluster}/firewall", 422, json={"rules": [TAG, wrong]})
        assert said.startswith("rules[1].value: '192.0.2.0/99'")
        assert await rules_of(api, cluster) == before

    apis.run(scenario)


@pytest.mark.parametrize(
    "body", [{}, {"rules": "all"}, {"rules": [{"type": "tag"}]}, {"rules": [{**TAG, "port": 1}]}]
)
def test_a_body_that_does_not_fit_is_refused(apis: Apis, body: dict[str, Any]) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.refusal("PUT", f"{cluster}/firewall", 422, json=body)

    apis.run(scenario)


def test_rules_of_a_cluster_that_is_not_there_are_not_found(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        gone = await api.add_cluster()
        await api.call("DELETE", gone, 204)
        for cluster in (gone, "/v2/databases/this-cluster-id-does-not-exist"):
            await api.refusal("GET", f"{cluster}/firewall", 404)
            await api.refusal("PUT", f"{cluster}/firewall", 404, json={"rules": []})

    apis.run(scenario)
