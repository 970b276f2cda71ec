"""How the real service behaves to whoever calls: over TLS, and with servers behind it."""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from cenote_client import Client
from tests.support.service import Service, answer_of, online_cluster


@pytest.mark.parametrize("path", ["/v2/databases", "/v2/databases/options", "/healthz", "/docs", "/nowhere"])
def test_head_answers_like_get_without_the_body(http: httpx.Client, path: str) -> None:
    head, get = http.head(path), http.get(path)
    assert head.status_code == get.status_code
    assert head.content == b""
    for name in ("content-type", "content-length"):
        assert head.headers.get(name) == get.headers.get(name)


def test_one_connection_carries_head_get_and_options_after_each_other(http: httpx.Client) -> None:
    for method in ("HEAD", "GET", "OPTIONS", "HEAD", "GET"):
        assert http.request(method, "/v2/databases").is_success


def test_where_a_change_comes_from_cannot_be_claimed_in_a_header(http: httpx.Client) -> None:
    claimed = {"x-forwarded-for": "203.0.113.9", "forwarded": "for=203.0.113.9"}
    made = http.post("/v2/cenote/tokens", json={"name": "a", "scopes": ["database:read"]}, headers=claimed)
    assert made.status_code == 201
    [entry] = http.get("/v2/cenote/audit", params={"per_page": 1}).json()["entries"]
    assert entry["request_id"] == made.headers["x-request-id"]
    assert entry["address"] == "127.0.0.1"


def test_a_client_that_leaves_within_its_request_is_no_defect_of_the_service(
    running: Service, http: httpx.Client
) -> None:
    reached = http.base_url
    head = f"POST /v2/databases HTTP/1.1\r\nauthorization: {http.headers['authorization']}\r\n"
    context = ssl.create_default_context(cafile=running.environment()["SSL_CERT_FILE"])
    with (
        socket.create_connection((reached.host, reached.port or 443)) as plain,
        context.wrap_socket(plain, server_hostname=reached.host) as secure,
    ):
        secure.sendall(f'{head}host: here\r\ncontent-length: 1000\r\n\r\n{{"name": '.encode())
    assert http.get("/healthz").is_success
    assert "failed:" not in running.log()


def test_ten_calls_at_the_moment_a_cluster_is_online_all_come_true(client: Client) -> None:
    cluster = online_cluster(client, "ten-at-once")
    path = f"/v2/databases/{cluster['id']}"
    pool = {"mode": "transaction", "size": 2, "db": "defaultdb", "user": "doadmin"}
    rules = {"rules": [{"type": "ip_addr", "value": "127.0.0.0/8"}, {"type": "ip_addr", "value": "::1"}]}
    calls: list[tuple[str, str, Any]] = [
        *(("POST", "users", {"name": f"user{number}"}) for number in range(3)),
        *(("POST", "dbs", {"name": f"db{number}"}) for number in range(2)),
        *(("POST", "pools", {**pool, "name": f"pool{number}"}) for number in range(3)),
        ("PUT", "firewall", rules),
        ("PATCH", "config", {"config": {"work_mem": 8}}),
    ]
    with ThreadPoolExecutor(len(calls)) as threads:
        started = [
            threads.submit(client.request, method, f"{path}/{kind}", json=body)
            for method, kind, body in calls
        ]
        answers = [one.result() for one in started]
    for body in answers:  # what was answered works
        if "pool" in (body or {}):
            assert answer_of(body["pool"]["connection"]["uri"]) == 42
    now = client.request("GET", path)["database"]
    assert len(now["users"]) == 4
    assert len(now["db_names"]) == 3
    assert len(now["rules"]) == 2
    assert answer_of(now["connection"]["uri"], "SHOW work_mem") == "8MB"
    assert client.request("DELETE", path) in (None, {})
