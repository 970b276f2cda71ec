"""What is taken and what is refused while a cluster is on its way: created, resized, moved, deleted.

A cluster's record says what is wanted of it, so most changes are written and done in their turn.  A second
place to go to is not: clients wait for the first one.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from tests.integration.test_api_events import BODIES, CHANGES, furnished, path_of
from tests.integration.test_api_resize import LARGE, arrive, resize, shown
from tests.support.api import Api, Apis

ONE_AT_A_TIME = {"resize_cluster", "migrate_cluster"}
STATES = ["creating", "resizing", "migrating"]


async def on_its_way(api: Api, state: str) -> str:
    """Return a cluster with one of everything, in a state in which its agent has work to do."""
    cluster = await furnished(api, reported=state != "creating")
    if state == "resizing":
        await arrive(api, cluster)
        await resize(api, cluster, size="db-s-1vcpu-2gb")
    elif state == "migrating":
        await arrive(api, cluster)
        await api.call("PUT", f"{cluster}/migrate", 202, json={"region": "ams3"})
    assert (await shown(api, cluster))["status"] == state
    return cluster


@pytest.mark.parametrize("state", STATES)
def test_every_change_is_taken_while_a_cluster_is_on_its_way_but_another_way_to_go(
    apis: Apis, state: str
) -> None:
    async def scenario(api: Api) -> None:
        # Each on a cluster of its own, since one of them deletes it.
        for name, method, path in CHANGES:
            cluster = await on_its_way(api, state)
            called = await path_of(api, path, cluster)
            if name in ONE_AT_A_TIME:
                message = await api.refusal(method, called, 412, json=BODIES[name])
                assert message == f"update cluster cannot be performed. Reason: cluster is {state}"
            else:
                answer = await api.http.request(method, called, json=BODIES.get(name))
                assert answer.is_success, f"{method} {path}: {answer.text}"
            if name == "replace_delete_protection":
                await api.call(method, called, 204, json={"enabled": False})
            if name != "delete_cluster":
                await api.call("DELETE", cluster, 204)
            await api.store.forget_cluster(UUID(cluster.rpartition("/")[2]))

    apis.run(scenario)


def test_every_change_of_a_deleted_cluster_is_not_found(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await furnished(api)
        paths = {name: await path_of(api, path, cluster) for name, _, path in CHANGES}
        await api.call("DELETE", cluster, 204)
        for name, method, _ in CHANGES:
            await api.refusal(method, paths[name], 404, json=BODIES.get(name))

    apis.run(scenario)


def test_of_many_resizes_at_once_one_is_taken_and_the_others_are_told_to_wait(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await furnished(api)
        await arrive(api, cluster)
        body = {"size": LARGE, "num_nodes": 1}
        answers = await asyncio.gather(*(api.http.put(f"{cluster}/resize", json=body) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [202, 412, 412, 412, 412]

    apis.run(scenario)


def test_a_cluster_that_fails_on_its_way_may_be_sent_elsewhere(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await on_its_way(api, "resizing")
        await api.report(cluster, "the server does not start", failing=True)
        await resize(api, cluster, size=LARGE)

    apis.run(scenario)
