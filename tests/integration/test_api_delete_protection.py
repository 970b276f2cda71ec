"""A cluster that is protected from deletion, through the API with a real store."""

from __future__ import annotations

from tests.support.api import Api, Apis


def test_a_protected_cluster_is_not_deleted_until_that_is_turned_off(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        assert (await api.call("GET", cluster, 200))["database"]["cenote"]["delete_protection"] is False
        for _ in range(2):  # the second one changes nothing
            await api.call("PUT", f"{cluster}/delete_protection", 204, json={"enabled": True})
        assert (await api.call("GET", cluster, 200))["database"]["cenote"]["delete_protection"] is True
        words = await api.refusal("DELETE", cluster, 422)
        assert f"PUT /v2/databases/{cluster.rpartition('/')[2]}/delete_protection" in words
        assert '{"enabled": false}' in words
        assert "'cenote cluster unprotect backend'" in words
        await api.call("GET", cluster, 200)
        await api.call("PUT", f"{cluster}/delete_protection", 204, json={"enabled": False})
        await api.call("DELETE", cluster, 204)
        await api.refusal("GET", cluster, 404)
        await api.refusal("PUT", f"{cluster}/delete_protection", 404, json={"enabled": True})

    apis.run(scenario)


def test_a_cluster_is_created_protected(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster(cenote={"delete_protection": True}, tags=["web"])
        await api.call("DELETE", "/v2/tags/web", 204)  # the tag alone
        await api.refusal("DELETE", cluster, 422)
        for body in ({}, {"enabled": None}, {"enabled": "yes"}, {"enabled": False, "until": 1}):
            await api.refusal("PUT", f"{cluster}/delete_protection", 422, json=body)
        await api.refusal("DELETE", cluster, 422)

    apis.run(scenario)
