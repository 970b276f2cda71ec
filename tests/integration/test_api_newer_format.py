"""The API beside records of a newer version: 503 in words, and not a byte of them is changed."""

from __future__ import annotations

from uuid import UUID

import msgspec

from cenote.store.encoding import FORMAT
from cenote.store.etcd_messages import KeyValue, TransactionRequest, put
from tests.support.api import BACKEND, POOL, Api, Apis


async def written_by_a_newer_version(api: Api, key: str) -> bytes:
    """Raise the format of a record by one, and add a field that this version does not know."""
    found = await api.hosts["here"]._client.read(key)
    assert found is not None
    record = msgspec.json.decode(found.value)
    value = msgspec.json.encode({**record, "format": FORMAT + 1, "quorum": {"of": 3}})
    await api.hosts["here"]._client.transact(TransactionRequest([], [put(key, value)], []))
    assert await api.store.wait(lambda: api.store._tables.newer.get(key), 10)
    return value


async def now(api: Api, key: str) -> KeyValue:
    found = await api.hosts["here"]._client.read(key)
    assert found is not None
    return found


def test_every_read_and_write_of_a_newer_cluster_is_refused_in_words(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster, other = await api.add_cluster(), await api.add_cluster(name="other", tags=["t"])
        await api.call("POST", f"{cluster}/pools", 201, json=POOL)
        id = UUID(cluster.rpartition("/")[2])
        key = api.store.keys.cluster(id)
        value = await written_by_a_newer_version(api, key)
        before = await now(api, key)
        pool = {"mode": "transaction", "size": 2, "db": "defaultdb", "user": "doadmin"}
        resize = {"size": "db-s-2vcpu-4gb", "num_nodes": 1}
        calls: list[tuple[str, str, object]] = [
            ("GET", cluster, None),
            ("GET", f"{cluster}/pools", None),
            ("GET", f"{cluster}/ca", None),
            ("GET", f"{cluster}/events", None),
            ("GET", "/v2/databases", None),
            ("GET", f"/v2/cenote/activity?cluster_uuids={id}", None),
            ("POST", f"{cluster}/pools", {**POOL, "name": "more"}),
            ("PUT", f"{cluster}/pools/{POOL['name']}", pool),
            ("DELETE", f"{cluster}/pools/{POOL['name']}", None),
            ("POST", f"{cluster}/users", {"name": "u"}),
            ("PUT", f"{cluster}/resize", resize),
            ("PUT", f"{cluster}/firewall", {"rules": []}),
            ("DELETE", cluster, None),
            ("POST", "/v2/databases", {**BACKEND, "name": "third"}),
            ("POST", "/v2/databases", BACKEND),
            ("DELETE", "/v2/tags/t", None),
        ]
        for method, path, body in calls:
            given = {} if body is None else {"json": body}
            message = await api.refusal(method, path, 503, **given)
            assert f"{id} was written by a newer version of Cenote (format {FORMAT + 1}" in message, path
        assert await now(api, key) == before
        assert before.value == value
        await api.call("GET", other, 200)
        await api.call("POST", f"{other}/pools", 201, json=POOL)

    apis.run(scenario)


def test_a_newer_token_is_no_unknown_token(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        header = await api.token("*")
        newest = max(
            api.store._tables.tokens, key=lambda one: api.store._cache._known[api.store.keys.token(one)]
        )
        key = api.store.keys.token(newest)
        value = await written_by_a_newer_version(api, key)
        await api.refusal("GET", "/v2/account", 503, headers=header)
        assert (await now(api, key)).value == value
        await api.call("GET", "/v2/account", 200)

    apis.run(scenario)
