"""A program that uses the clients, for type checkers; it is never run.

They must report every line that ends with ``# wrong``, and no other.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal, assert_type

import httpx

import pydo
import pydo.aio
from cenote_client import APIError, AsyncClient, Client, RateLimit, RateLimitError, Retry, WaitTimeoutError
from cenote_client import types as t
from pydo.exceptions import HttpResponseError


def settings() -> list[Client]:
    return [
        Client("token"),
        Client("token", endpoint="https://localhost:8443", timeout=5, retry=None, verify=False),
        Client("token", timeout=httpx.Timeout(5, read=60), retry=Retry(tries=2, budget=10)),
        Client("token", timeout=(1.0, 2.0, None, None), verify=ssl.create_default_context()),
        Client("token", verify=Path("ca.crt"), proxy="http://proxy:3128", headers={"x-team": "db"}),
        Client("token", transport=httpx.HTTPTransport(retries=1), user_agent="mine/1", allow_plain_http=True),
        Client.from_env(timeout=None),
    ]


def wrong_settings() -> None:
    Client()  # wrong
    Client(7)  # wrong
    Client("token", timeout="5")  # wrong
    Client("token", retries=3)  # wrong
    Client("token", transport=httpx.AsyncHTTPTransport())  # wrong
    AsyncClient("token", transport=httpx.HTTPTransport())  # wrong


def reads(client: Client, uuid: str) -> None:
    pool = client.databases.get_connection_pool(uuid, "p")["pool"]
    assert_type(pool["size"], int)
    assert_type(pool["mode"], Literal["session", "transaction", "statement"])
    assert_type(pool["connection"]["uri"], str)
    assert_type(pool.get("standby_connection"), t.Connection | None)
    cluster = client.databases.get_cluster(database_cluster_uuid=uuid)["database"]
    assert_type(cluster["connection"]["port"], int)
    assert_type(cluster["tags"], list[str] | None)
    assert_type(client.databases.list_clusters(tag_name="blue", page=1, per_page=20), t.ClusterListResponse)
    assert_type(client.databases.iter_clusters(), Iterator[t.Cluster])
    assert_type(client.databases.pool_uri(uuid, "p", private=True), str)
    assert_type(client.rate_limit, RateLimit | None)
    assert_type(client.request("GET", "/v2/account"), Any)
    client.databases.get_ca(uuid, headers={"x-team": "db"}, params={"a": 1}, timeout=5)


def wrong_reads(client: Client, uuid: str) -> None:
    pool = client.databases.get_connection_pool(uuid, "p")
    pool["name"]  # wrong
    pool["pool"]["sise"]  # wrong
    pool["pool"]["size"].upper()  # wrong
    client.databases.get_connection_pool(uuid)  # wrong
    client.databases.get_connection_pool(uuid, "p", retries=1)  # wrong
    client.databases.get_conection_pool(uuid, "p")  # wrong
    client.databases.list_clusters(page="1")  # wrong
    client.databases.list_clusters("blue")  # wrong
    print(client.droplets)  # wrong
    print(client.rate_limit.remaining)  # wrong


def writes(client: Client, uuid: str) -> None:
    made = client.databases.create_cluster(
        {
            "name": "backend",
            "engine": "pg",
            "version": "16",
            "num_nodes": 1,
            "size": "db-s-1vcpu-1gb",
            "region": "nyc1",
            "rules": [{"type": "ip_addr", "value": "192.0.2.1"}],
        }
    )
    body: t.PoolCreate = {"name": "p", "mode": "transaction", "size": 5, "db": "defaultdb"}
    assert_type(client.databases.add_connection_pool(made["database"]["id"], body=body), t.PoolResponse)
    client.databases.patch_config(uuid, {"config": {"work_mem": 8, "pgbouncer": {"server_lifetime": 3600}}})
    client.databases.update_user(uuid, "app", {"settings": {"pg_allow_replication": True}})
    client.databases.create_replica(uuid)


def wrong_writes(client: Client, uuid: str) -> None:
    client.databases.create_cluster({"name": "backend", "engine": "pg"})  # wrong
    client.databases.add_connection_pool(
        uuid,
        {"name": "p", "mode": "transactional", "size": 5, "db": "defaultdb"},  # wrong
    )
    client.databases.add_connection_pool(
        uuid,
        {"name": "p", "mode": "session", "size": "5", "db": "defaultdb"},  # wrong
    )
    client.databases.update_cluster_size(uuid, {"size": "x", "num_nodes": 1, "disk": 5})  # wrong
    print(client.databases.delete_user(uuid, "app")["user"])  # wrong


def waits(client: Client, uuid: str) -> t.Cluster | None:
    def show(cluster: t.Cluster, seconds: float) -> None:
        print(cluster["status"], seconds)

    try:
        return client.databases.wait_until_online(uuid, timeout=60, progress=show)
    except WaitTimeoutError as error:
        print(error.last)
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
    except APIError as error:
        print(error.status + 1, error.id.upper(), error.request_id)
    return None


def wrong_waits(client: Client, uuid: str) -> None:
    client.databases.wait_until_online(uuid, progress=lambda cluster: None)  # wrong
    client.databases.wait_until_online(uuid, timeout="60")  # wrong


async def asynchronously(uuid: str) -> None:
    async with AsyncClient.from_env() as client:
        assert_type(await client.databases.get_connection_pool(uuid, "p"), t.PoolResponse)
        assert_type(client.databases.iter_backups(uuid), AsyncIterator[t.Backup])
        async for event in client.databases.iter_events(uuid):
            print(event["event_type"])
        answer = client.databases.get_cluster(uuid)
        answer["database"]  # wrong
        for user in client.databases.iter_users(uuid):  # wrong
            del user
        await answer


def with_the_names_of_pydo(uuid: str) -> None:
    with pydo.Client(
        token="token", connection_verify="ca.crt", retry_total=1, raise_not_found=True
    ) as client:
        try:
            answer = client.databases.get_connection_pool(database_cluster_uuid=uuid, pool_name="p")
        except HttpResponseError as error:
            assert_type(error.status_code, int | None)
        else:
            assert_type(answer["pool"]["size"], int)
            answer["pool"]["sise"]  # wrong
        client.databases.get_connection_pool(database_cluster_uuid=uuid, name="p")  # wrong
        print(client.droplets)  # wrong


async def with_the_names_of_pydo_asynchronously(uuid: str) -> None:
    async with pydo.aio.Client("token") as client:
        assert_type((await client.databases.list(uuid))["dbs"][0]["name"], str)
