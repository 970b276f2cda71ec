"""Names of deleted users and databases, as clients see them, while the agent is still dropping."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

from cenote.api import Settings
from cenote.model.status_records import NodeStatus
from tests.support.api import Api, Apis

PATIENT = Settings(wait_seconds=20, access_wait_seconds=20, host_id="here")
IMPATIENT = Settings(wait_seconds=0, access_wait_seconds=0, host_id="here")
KINDS = [("users", "user"), ("dbs", "database")]


async def with_one(api: Api, noun: str) -> tuple[str, str]:
    """Return the path of a cluster and that of a user or database in it."""
    cluster = await api.add_cluster()
    await api.call("POST", f"{cluster}/{noun}", 201, json={"name": "app"})
    await api.report(cluster)
    return cluster, f"{cluster}/{noun}/app"


@pytest.mark.parametrize(("noun", "kind"), KINDS)
def test_a_name_is_not_given_away_before_the_thing_is_gone(apis: Apis, noun: str, kind: str) -> None:
    async def scenario(api: Api) -> None:
        cluster, one = await with_one(api, noun)
        await api.call("DELETE", one, 503)
        message = await api.refusal("POST", f"{cluster}/{noun}", 412, json={"name": "app"})
        assert message == f"{kind} name is not available yet: {kind} 'app' is being removed"
        await api.call("GET", one, 404)
        await api.report(cluster)
        await api.call("POST", f"{cluster}/{noun}", 201, json={"name": "app"})
        await api.call("GET", one, 200)

    apis.run(scenario, IMPATIENT, tries=False)


@pytest.mark.parametrize(("noun", "kind"), KINDS)
def test_what_holds_a_drop_up_stands_in_the_refusal(apis: Apis, noun: str, kind: str) -> None:
    async def scenario(api: Api) -> None:
        cluster, one = await with_one(api, noun)
        await api.call("DELETE", one, 503)
        id = UUID(cluster.rpartition("/")[2])
        stored = api.store.cluster(id)
        assert stored is not None
        [removal] = stored.value.removing
        remaining = {str(removal.id): "a lock"}
        status = NodeStatus(reached=stored.revision, at=datetime.now(UTC), remaining=remaining)
        await api.write_report(id, status)
        message = await api.refusal("POST", f"{cluster}/{noun}", 412, json={"name": "app"})
        assert message.endswith("is being removed: a lock")

    apis.run(scenario, IMPATIENT, tries=False)


@pytest.mark.parametrize(("noun", "kind"), KINDS)
def test_a_repeated_delete_and_a_new_thing_wait_for_the_drop(apis: Apis, noun: str, kind: str) -> None:
    async def scenario(api: Api) -> None:
        cluster, one = await with_one(api, noun)
        first = asyncio.create_task(api.call("DELETE", one, 204))
        id = UUID(cluster.rpartition("/")[2])
        await api.store.wait(lambda: True if api.store.cluster(id).value.removing else None, 10)  # type: ignore[union-attr]
        again = asyncio.create_task(api.call("DELETE", one, 204))
        anew = asyncio.create_task(api.call("POST", f"{cluster}/{noun}", 201, json={"name": "app"}))
        done, _ = await asyncio.wait([first, again, anew], timeout=0.5)
        assert not done
        await api.report(cluster)
        await asyncio.gather(first, again)
        # The agent has to carry out the new record, too.
        await api.store.wait(lambda: api.store.cluster(id).value.removing == () or None, 10)  # type: ignore[union-attr]
        await api.report(cluster)
        await anew
        await api.call("GET", one, 200)

    apis.run(scenario, settings=PATIENT, tries=False)


@pytest.mark.parametrize(("noun", "kind"), KINDS)
def test_a_delete_of_what_is_gone_is_a_404(apis: Apis, noun: str, kind: str) -> None:
    async def scenario(api: Api) -> None:
        cluster, one = await with_one(api, noun)
        await api.call("DELETE", one, 503)
        await api.report(cluster)
        await api.call("DELETE", one, 404)

    apis.run(scenario, IMPATIENT, tries=False)


@pytest.mark.parametrize(("noun", "kind"), KINDS)
def test_a_delete_that_takes_too_long_says_so_and_is_no_404_when_it_is_repeated(
    apis: Apis, noun: str, kind: str
) -> None:
    async def scenario(api: Api) -> None:
        cluster, one = await with_one(api, noun)
        for _ in range(2):
            message = await api.refusal("DELETE", one, 503)
            assert f"{kind} 'app' is being removed" in message
        shown = (await api.call("GET", cluster, 200))["database"]["cenote"]["not_in_force"]
        assert f"{kind} 'app' is being removed" in shown
        await api.report(cluster)
        await api.call("DELETE", one, 404)

    apis.run(scenario, IMPATIENT, tries=False)


def test_a_delete_of_a_user_that_pools_may_still_admit_is_no_404(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster, one = await with_one(api, "users")
        await api.call("DELETE", one, 503)
        id = UUID(cluster.rpartition("/")[2])
        stored = api.store.cluster(id)
        assert stored is not None
        status = NodeStatus(
            reached=stored.revision - 1,
            tried=stored.revision,
            failed={"pooler access": "PgBouncer does not answer"},
            at=datetime.now(UTC),
            gone=tuple(removal.id for removal in stored.value.removing),
        )
        await api.write_report(id, status)
        for _ in range(2):
            assert "PgBouncer does not answer" in await api.refusal("DELETE", one, 503)
        await api.call("DELETE", f"{cluster}/users/nobody", 404)
        await api.report(cluster)
        await api.call("DELETE", one, 404)

    apis.run(scenario, IMPATIENT, tries=False)


def test_without_an_agent_an_answer_says_so_and_not_that_it_is_at_work(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster, one = await with_one(api, "users")
        away = "the agent of its host does not answer"
        await api.hosts.pop("here").close()
        assert await api.store.wait(lambda: not api.store.presences() or None, 10)
        assert f"user 'app' is being removed: {away}." in await api.refusal("DELETE", one, 503)
        made = await api.call("POST", f"{cluster}/dbs", 201, json={"name": "shop"})
        assert made["cenote"] == {"pending": True, "reason": away}
        shown = (await api.call("GET", cluster, 200))["database"]["cenote"]["not_in_force"]
        assert f"the latest changes: {away}" in shown

    apis.run(scenario, IMPATIENT, tries=False)
