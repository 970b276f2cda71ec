"""What the API answers: the fields, types and codes that real clients insist on."""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.x509 import load_pem_x509_certificate
from msgspec.structs import replace

from cenote.api import Settings
from cenote.security import certificates
from tests.support.api import HOST, POOL, Api, Apis


def test_a_pool_is_answered_as_the_reference_has_it(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        created = (await api.call("POST", f"{cluster}/pools", 201, json=POOL))["pool"]
        password = created["connection"]["password"]
        connection = {
            "protocol": "postgresql",
            "uri": f"postgres://doadmin:{password}@localhost:25061/backend-pool?sslmode=require",
            "database": "backend-pool",
            "host": "localhost",
            "port": 25061,
            "user": "doadmin",
            "password": password,
            "ssl": True,
        }
        assert created == {**POOL, "connection": connection, "private_connection": connection}
        assert await api.call("GET", f"{cluster}/pools/backend-pool", 200) == {"pool": created}
        assert (await api.call("GET", f"{cluster}/pools", 200))["pools"] == [created]

    apis.run(scenario)


def test_a_slash_at_the_end_of_a_path_changes_nothing(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("POST", f"{cluster}/pools", 201, json=POOL)
        plain = await api.http.get(f"{cluster}/pools/backend-pool")
        slashed = await api.http.get(f"{cluster}/pools/backend-pool/")
        assert plain.content == slashed.content
        assert plain.headers["content-type"] == slashed.headers["content-type"] == "application/json"
        assert set(plain.headers) == set(slashed.headers)
        head = await api.http.head(f"{cluster}/pools/backend-pool")
        assert head.headers["content-length"] == str(len(plain.content))

    apis.run(scenario)


@pytest.mark.parametrize("sent", [{}, {"user": ""}, {"user": None}])
def test_a_pool_without_a_user_comes_back_without_one_and_with_a_login(
    apis: Apis, sent: dict[str, Any]
) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        body = {key: value for key, value in POOL.items() if key != "user"} | sent
        created = (await api.call("POST", f"{cluster}/pools", 201, json=body))["pool"]
        assert created["user"] == ""
        assert created["connection"]["user"] == "doadmin"
        assert created["connection"]["password"] in created["connection"]["uri"]

    apis.run(scenario)


def test_a_pool_is_changed_and_deleted(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        one = f"{cluster}/pools/backend-pool"
        await api.call("POST", f"{cluster}/pools", 201, json=POOL)
        await api.call("PUT", one, 204, json={"size": 22, "db": "defaultdb", "mode": "session"})
        changed = (await api.call("GET", one, 200))["pool"]
        assert (changed["size"], changed["mode"], changed["user"]) == (22, "session", "doadmin")
        await api.call("PUT", one, 204, json={"size": 1, "db": "defaultdb", "mode": "session", "user": ""})
        assert (await api.call("GET", one, 200))["pool"]["user"] == ""
        await api.call("DELETE", one, 204)
        await api.refusal("GET", one, 404)
        await api.refusal("DELETE", one, 404)
        await api.refusal("PUT", one, 404, json={"size": 1, "db": "defaultdb", "mode": "session"})
        await api.call("POST", f"{cluster}/pools", 201, json=POOL)

    apis.run(scenario)


def test_users_are_added_shown_reset_and_deleted(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        added = (await api.call("POST", f"{cluster}/users", 201, json={"name": "jane@example.com"}))["user"]
        assert set(added) == {"name", "role", "password"}
        assert added["role"] == "normal"
        one = f"{cluster}/users/jane%40example.com"
        assert (await api.call("GET", one, 200))["user"] == added
        reset = (await api.call("POST", f"{one}/reset_auth", 200))["user"]
        assert reset["password"] != added["password"]
        assert (await api.call("PUT", one, 201, json={"settings": {}}))["user"] == reset
        listed = (await api.call("GET", f"{cluster}/users", 200))["users"]
        assert [user["name"] for user in listed] == ["doadmin", "jane@example.com"]
        await api.call("DELETE", one, 204)
        await api.refusal("GET", one, 404)

    apis.run(scenario)


def test_a_name_with_odd_characters_is_escaped_in_a_uri(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("POST", f"{cluster}/users", 201, json={"name": "a@b+c$d"})
        created = await api.call("POST", f"{cluster}/pools", 201, json={**POOL, "user": "a@b+c$d"})
        uri = urlsplit(created["pool"]["connection"]["uri"])
        assert (uri.hostname, uri.port, uri.username) == ("localhost", 25061, "a%40b%2Bc%24d")

    apis.run(scenario)


def test_the_administrators_new_password_is_everywhere(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("POST", f"{cluster}/pools", 201, json=POOL)
        reset = await api.call("POST", f"{cluster}/users/doadmin/reset_auth", 200)
        password, role = reset["user"]["password"], reset["user"]["role"]
        shown = (await api.call("GET", cluster, 200))["database"]
        pool = (await api.call("GET", f"{cluster}/pools/backend-pool", 200))["pool"]
        assert role == "primary"
        for connection in (shown["connection"], pool["connection"]):
            assert connection["password"] == password
            assert f":{password}@" in connection["uri"]

    apis.run(scenario)


def test_databases_are_added_shown_and_deleted(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        added = await api.call("POST", f"{cluster}/dbs", 201, json={"name": "orders"})
        assert added == {
            "db": {"name": "orders"},
            "cenote": {"pending": True, "reason": "waiting for the host's agent"},
        }
        assert await api.call("GET", f"{cluster}/dbs/orders", 200) == {"db": {"name": "orders"}}
        listed = (await api.call("GET", f"{cluster}/dbs", 200))["dbs"]
        assert listed == [{"name": "defaultdb"}, {"name": "orders"}]
        assert (await api.call("GET", cluster, 200))["database"]["db_names"] == ["defaultdb", "orders"]
        await api.call("DELETE", f"{cluster}/dbs/orders", 204)
        await api.refusal("GET", f"{cluster}/dbs/orders", 404)

    apis.run(scenario)


def test_the_authority_is_base64_of_pem_and_signs_what_the_servers_show(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        text = (await api.call("GET", f"{cluster}/ca", 200))["ca"]["certificate"]
        authority = load_pem_x509_certificate(b64decode(text, validate=True))
        assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        stored = api.store.cluster(UUID(cluster.rpartition("/")[2]))
        assert stored is not None
        record = stored.value
        key = api.sealer.open(record.authority.sealed_key).reveal()
        leaf = certificates.issue(record.authority.certificate, key, record.server_names)
        names = certificates.names_of(leaf)
        assert names == ("localhost", "127.0.0.1", "::1")
        assert certificates.is_issued_by(leaf, b64decode(text).decode())

    apis.run(scenario)


def test_with_a_domain_a_cluster_has_host_names_of_its_own(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        pool = (await api.call("POST", f"{cluster}/pools", 201, json=POOL))["pool"]
        assert pool["connection"]["host"] == "backend.db.example.com"
        assert pool["private_connection"]["host"] == "private-backend.db.example.com"
        assert "@private-backend.db.example.com:25061/" in pool["private_connection"]["uri"]
        names = api.store.clusters()[0].value.server_names
        assert {"backend.db.example.com", "private-backend.db.example.com", "2001:db8::7"} <= set(names)

    host = replace(HOST, address="2001:DB8:0::7")
    apis.run(scenario, Settings(wait_seconds=0, domain="db.example.com"), hosts=(host,))


def test_an_ipv6_address_stands_in_brackets_in_a_uri(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        shown = (await api.call("GET", await api.add_cluster(), 200))["database"]["connection"]
        assert shown["host"] == "::1"
        assert urlsplit(shown["uri"]).hostname == "::1"

    apis.run(scenario, hosts=(replace(HOST, address="::1"),))


def test_a_change_is_answered_when_the_agent_has_carried_it_out(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.report(cluster)
        adding = asyncio.create_task(api.call("POST", f"{cluster}/pools", 201, json=POOL))
        id = UUID(cluster.rpartition("/")[2])
        recorded = await api.store.wait(
            lambda: True if (now := api.store.cluster(id)) and now.value.pools else None, 10
        )
        assert recorded
        await asyncio.sleep(0.05)
        assert not adding.done()
        await api.report(cluster)
        answer = await adding
        assert answer["pool"]["name"] == "backend-pool"
        assert "cenote" not in answer

    apis.run(scenario, Settings(wait_seconds=60), tries=False)


def test_a_change_is_answered_when_its_cluster_goes_away_meanwhile(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        adding = asyncio.create_task(api.call("POST", f"{cluster}/pools", 201, json=POOL))
        id = UUID(cluster.rpartition("/")[2])
        await api.store.wait(lambda: True if (now := api.store.cluster(id)) and now.value.pools else None, 10)
        await api.call("DELETE", cluster, 204)
        await adding

    apis.run(scenario, Settings(wait_seconds=60))


def test_changes_of_one_cluster_at_the_same_time_are_all_kept(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        pools = [{**POOL, "name": f"pool-{number}", "size": 1} for number in range(8)]
        await asyncio.gather(
            *(api.call("POST", f"{cluster}/pools", 201, json=pool) for pool in pools),
            *(api.call("POST", f"{cluster}/users", 201, json={"name": f"user-{n}"}) for n in range(4)),
            *(api.call("POST", f"{cluster}/dbs", 201, json={"name": f"db-{n}"}) for n in range(4)),
        )
        shown = (await api.call("GET", cluster, 200))["database"]
        assert len(shown["users"]) == len(shown["db_names"]) == 5
        assert len((await api.call("GET", f"{cluster}/pools", 200))["pools"]) == 8

    apis.run(scenario)


def test_lists_come_in_pages_with_links_to_the_others(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        for number in range(4):
            await api.call("POST", f"{cluster}/dbs", 201, json={"name": f"db-{number}"})
        whole = await api.call("GET", f"{cluster}/dbs", 200)
        assert (len(whole["dbs"]), whole["links"], whole["meta"]) == (5, {}, {"total": 5})
        seen, path = [], f"{cluster}/dbs?per_page=2"
        while path:
            page = await api.call("GET", path, 200)
            seen += page["dbs"]
            assert page["meta"] == {"total": 5}
            path = page["links"]["pages"].get("next", "")
        assert seen == whole["dbs"]
        assert set(page["links"]["pages"]) == {"first", "prev"}
        assert page["links"]["pages"]["first"].startswith("https://api.test/v2/databases/")
        assert (await api.call("GET", f"{cluster}/dbs?page=9", 200))["dbs"] == []

    apis.run(scenario)


def test_clusters_are_listed_from_the_oldest_and_by_tag(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.add_cluster(name="first", tags=["red"])
        await api.add_cluster(name="second", tags=["red", "blue"])
        for query, names in (
            ("", {"first", "second"}),
            ("?tag_name=blue", {"second"}),
            ("?tag_name=green", set()),
            ("?tag_name=red&per_page=1&page=3", set()),
        ):
            listed = await api.call("GET", f"/v2/databases{query}", 200)
            assert {cluster["name"] for cluster in listed["databases"]} == names

    apis.run(scenario)


def test_clusters_are_sorted_by_what_is_asked_for(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.add_cluster(name="beta", size="db-s-1vcpu-1gb", version="16")
        await api.add_cluster(name="alpha", size="db-s-2vcpu-4gb", version="15")
        await api.add_cluster(name="gamma", size="db-s-1vcpu-2gb", version="15")
        for sort, names in (
            ("name", ["alpha", "beta", "gamma"]),
            ("-name", ["gamma", "beta", "alpha"]),
            ("version", ["alpha", "gamma", "beta"]),
            ("size", ["beta", "gamma", "alpha"]),
        ):
            listed = await api.call("GET", f"/v2/databases?sort={sort}", 200)
            assert [cluster["name"] for cluster in listed["databases"]] == names
        oldest = (await api.call("GET", "/v2/databases", 200))["databases"]
        newest = (await api.call("GET", "/v2/databases?sort=-created_at", 200))["databases"]
        assert [one["id"] for one in newest] == [one["id"] for one in reversed(oldest)]
        await api.refusal("GET", "/v2/databases?sort=colour", 422)

    apis.run(scenario)


def test_options_are_those_of_the_hosts(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        body = await api.call("GET", "/v2/databases/options", 200)
        options = body["options"]["pg"]
        assert (options["versions"], options["default_version"]) == (["15", "16"], "16")
        assert body["cenote"]["extensions"] == {"15": ["hstore", "pg_trgm"], "16": ["pg_trgm"]}
        room = body["cenote"]["room"]
        assert (room["clusters"], room["memory_mib"], room["allocated_memory_mib"]) == (0, 8192, 0)
        await api.add_cluster(size="db-s-2vcpu-4gb")
        after = (await api.call("GET", "/v2/databases/options", 200))["cenote"]["room"]
        assert (after["clusters"], after["allocated_memory_mib"]) == (1, 4096)
        assert after["allocated_storage_mib"] == 60 * 1024
        reader = await api.http.get("/v2/databases/options", headers=await api.token("database:read"))
        assert "room" not in reader.json()["cenote"]  # it says what others have allocated
        assert "nyc1" in options["regions"]
        assert [layout["num_nodes"] for layout in options["layouts"]] == [1]
        assert "db-s-1vcpu-1gb" in options["layouts"][0]["sizes"]
        assert body["version_availability"]["pg"][0] == {
            "version": "15",
            "end_of_life": "2027-11-11T00:00:00Z",
            "end_of_availability": "2027-05-11T00:00:00Z",
            "default": False,
        }

    apis.run(scenario)


def test_reads_of_what_does_not_exist_yet_are_true_and_empty(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        assert await api.call("GET", f"{cluster}/firewall", 200) == {"rules": []}
        assert (await api.call("GET", f"{cluster}/replicas", 200))["replicas"] == []
        autoscale = await api.call("GET", f"{cluster}/autoscale", 200)
        assert autoscale["storage"] == autoscale["autoscale"]["storage"] == {"enabled": False}
        await api.refusal("GET", f"{cluster}/replicas/x", 404)

    apis.run(scenario)


def test_every_answer_has_an_id_of_its_own(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        ids = set()
        for path in ("/v2/databases", "/v2/nothing", "/healthz", "/docs", "/openapi.json"):
            ids.add((await api.http.get(path)).headers["x-request-id"])
        bad = await api.http.get("/v2/databases", headers={"authorization": "Bearer x"})
        assert bad.json()["request_id"] == bad.headers["x-request-id"]
        assert len(ids) == 5

    apis.run(scenario)


def test_limits_are_told_on_every_answer_and_a_burst_says_when_to_come_back(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        remaining = []
        for path in ("/v2/databases", "/v2/nothing", "/v2/databases/x/pools/y"):
            headers = (await api.http.get(path)).headers
            assert headers["ratelimit-limit"] == "100"
            assert int(headers["ratelimit-reset"]) > time.time() + 3000
            remaining.append(int(headers["ratelimit-remaining"]))
        assert remaining == [99, 98, 97]
        burst = await api.http.get("/v2/databases")
        assert burst.status_code == 429
        assert burst.json()["id"] == "too_many_requests"
        assert burst.json()["message"] == "API rate limit exceeded."
        assert 1 <= int(burst.headers["retry-after"]) <= 60
        other = await api.token("database:read")
        assert (await api.http.get("/v2/databases", headers=other)).status_code == 200

    apis.run(scenario, Settings(wait_seconds=0, requests_per_hour=100, requests_per_minute=3))


def test_a_spent_hour_does_not_say_when_to_come_back(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.call("GET", "/v2/databases", 200)
        spent = await api.http.get("/v2/databases")
        assert spent.status_code == 429
        assert "retry-after" not in spent.headers
        assert spent.headers["ratelimit-remaining"] == "0"

    apis.run(scenario, Settings(wait_seconds=0, requests_per_hour=1, requests_per_minute=0))


def test_without_limits_there_are_no_headers_of_them(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        assert "ratelimit-limit" not in (await api.http.get("/v2/databases")).headers

    apis.run(scenario, Settings(wait_seconds=0, requests_per_hour=0, requests_per_minute=0))


def test_health_is_told_to_everybody(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        del api.http.headers["authorization"]
        assert await api.call("GET", "/healthz", 200) == {"status": "ok", "store": "connected"}

    apis.run(scenario)
