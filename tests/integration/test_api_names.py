"""The host that a cluster's connections name, whichever API is asked."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from msgspec.structs import replace

from cenote.api import Settings
from cenote.model.fleet_records import HostDomain, NameInDns, NameServerState
from cenote.store import etcd_messages
from tests.support.api import HOST, POOL, Api, Apis

OTHER = replace(HOST, id="other", name="other", address="db2.example.com", memory_mib=1 << 20)
DOMAIN = "db.example.com"


def test_connections_and_metrics_name_the_host_of_the_node_also_while_it_is_away(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()  # on the host with more memory
        pool = (await api.call("POST", f"{cluster}/pools", 201, json=POOL))["pool"]
        record = api.store.clusters()[0].value
        assert record.nodes[0].host == "other"
        assert "db2.example.com" in record.server_names
        await api.hosts["other"].close()
        await api.store.wait(lambda: "other" not in api.store.presences() or None, 15)
        shown = (await api.call("GET", cluster, 200))["database"]
        pool = (await api.call("GET", f"{cluster}/pools/{pool['name']}", 200))["pool"]
        targets = await api.call("GET", "/v2/cenote/metrics_targets", 200)
        for connection in (shown["connection"], shown["private_connection"], pool["connection"]):
            assert (connection["host"], urlsplit(connection["uri"]).hostname) == ("db2.example.com",) * 2
        assert shown["metrics_endpoints"][0]["host"] == "db2.example.com"
        assert targets[0]["targets"] == [f"db2.example.com:{shown['metrics_endpoints'][0]['port']}"]

    apis.run(scenario, Settings(wait_seconds=0, public_host="api.example.com"), hosts=(HOST, OTHER))


def test_uris_name_all_hosts_and_hide_the_login_from_those_who_may_not_see_it(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        uris = (await api.call("GET", cluster, 200))["database"]["cenote"]["uris"]
        assert uris["hosts"] == [{"host": "localhost", "port": 25060, "pool_port": 25061}]
        for kind in ("libpq", "asyncpg"):
            assert urlsplit(uris[kind]).username == "doadmin"
            assert uris[kind].endswith(
                "@localhost:25060/defaultdb?sslmode=require&target_session_attrs=primary"
            )
        assert uris["jdbc"].startswith("jdbc:postgresql://localhost:25060/defaultdb?user=doadmin&password=")
        reader = await api.token("database:read")
        seen = (await api.call("GET", cluster, 200, headers=reader))["database"]["cenote"]["uris"]
        assert seen["libpq"] == (
            "postgresql://localhost:25060/defaultdb?sslmode=require&target_session_attrs=primary"
        )
        assert "user" not in seen["jdbc"]

    apis.run(scenario)


def test_an_api_without_the_domain_of_the_other_hosts_uses_theirs(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.store.names_in_dns.announce("other", HostDomain(domain=DOMAIN))
        await api.store.names_in_dns.announce("removed", HostDomain(domain="a.example.com"))
        shown = (await api.call("GET", await api.add_cluster(), 200))["database"]
        assert shown["connection"]["host"] == f"backend.{DOMAIN}"
        assert shown["private_connection"]["host"] == f"private-backend.{DOMAIN}"

    apis.run(scenario, hosts=(HOST, OTHER))


def test_what_is_missing_in_the_name_server_is_told(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        id, known = UUID(cluster.rpartition("/")[2]), api.store.names_in_dns
        always = etcd_messages.exists(api.store.keys.host(HOST.id))
        await known.announce(HOST.id, HostDomain(domain=DOMAIN, server="ns1"))
        public, inner = f"backend.{DOMAIN}", f"private-backend.{DOMAIN}"

        async def told() -> Any:
            shown = (await api.call("GET", cluster, 200))["database"]["cenote"]
            return shown.get("not_in_force", [])

        lacking = f"{public} and {inner} do not lead to 192.0.2.1 for certain: "
        assert await told() == [lacking + "the name server is being told"]
        await known.put_state(NameServerState(problem="it is away"), always)
        assert await told() == [lacking + "it is away"]
        await known.put(public, NameInDns(cluster_id=id, target="192.0.2.1"), always)
        assert await told() == [f"{inner} does not lead to 192.0.2.1 for certain: it is away"]
        await known.put(inner, NameInDns(cluster_id=id, problem="it is somebody's"), always)
        assert await told() == [f"{inner} does not lead to 192.0.2.1 for certain: it is somebody's"]
        await known.put(inner, NameInDns(cluster_id=id, target="192.0.2.1"), always)
        assert await told() == []
        assert known.of(id).keys() == {public, inner}
        await known.forget(inner, always)
        assert await told() != []

    apis.run(scenario, hosts=(replace(HOST, address="192.0.2.1"),))
