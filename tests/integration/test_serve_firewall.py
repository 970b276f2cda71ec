"""Trusted sources from the call to the last connection, on the real service."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from cenote_client import Client
from tests.support.service import added_pool, answer_of, is_alive, online_cluster, tried

ELSEWHERE = {"type": "ip_addr", "value": "192.0.2.0/24"}
HERE = ({"type": "ip_addr", "value": "127.0.0.0/8"}, {"type": "ip_addr", "value": "::1"})


@pytest.fixture(scope="module")
def cluster(client: Client) -> Any:
    cluster = online_cluster(client, "guarded")
    return cluster | {"pool": added_pool(client, cluster["id"], "guarded-pool")}


def allow(client: Client, cluster: Any, *rules: dict[str, str]) -> None:
    client.request("PUT", f"/v2/databases/{cluster['id']}/firewall", json={"rules": rules})


def uris(cluster: Any) -> list[str]:
    return [cluster["connection"]["uri"], cluster["pool"]["connection"]["uri"]]


def test_when_a_replacement_is_answered_nobody_else_can_connect(client: Client, cluster: Any) -> None:
    for rules, expected in (((ELSEWHERE,), None), (HERE, 42), ((ELSEWHERE,), None), ((), 42)):
        allow(client, cluster, *rules)
        for uri in uris(cluster):
            assert tried(uri) == expected


def test_when_a_replacement_is_answered_connections_of_others_have_ended(
    client: Client, cluster: Any
) -> None:
    with ExitStack() as stack:
        opened = [psycopg.connect(uri, autocommit=True) for uri in uris(cluster)]
        for connection in opened:
            stack.callback(connection.close)
            assert is_alive(connection)
        allow(client, cluster, *HERE)
        assert [is_alive(connection) for connection in opened] == [True, True]
        allow(client, cluster, ELSEWHERE)
        assert [is_alive(connection) for connection in opened] == [False, False]
    allow(client, cluster)


def test_the_service_itself_goes_on_where_nobody_may_connect(client: Client, cluster: Any) -> None:
    path = f"/v2/databases/{cluster['id']}"
    allow(client, cluster, {"type": "tag", "value": "backend"})
    client.request("POST", f"{path}/users", json={"name": "while-shut"})
    assert client.request("GET", f"{path}/pools/guarded-pool/stats")["stats"]["size"] == 2
    assert client.request("GET", path)["database"]["cenote"]["reason"] == ""
    allow(client, cluster)
    login = client.request("GET", f"{path}/users/while-shut")["user"]
    connection = cluster["connection"]
    uri = f"postgres://{connection['host']}:{connection['port']}/defaultdb?sslmode=require"
    assert answer_of(uri, user=login["name"], password=login["password"]) == 42
