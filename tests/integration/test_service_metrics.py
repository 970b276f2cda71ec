"""The metrics of the service itself, and service discovery for those of the clusters."""

from __future__ import annotations

import base64
import ssl
import time
from typing import Any
from uuid import uuid4

import httpx
from msgspec.structs import replace

from cenote.metrics import backup_metrics, service_metrics
from cenote.model.fleet_records import HostRole
from cenote.model.topology import Health
from cenote.security.throttle import MAX_FAILURES
from cenote.stats.observer import NO_OBSERVER
from tests.support.api import BACKEND, HOST, POOL, Api, Apis
from tests.support.scraping import Samples, samples, value
from tests.support.waiting import wait_until

LOGIN = {"basic_auth_username": "prometheus", "basic_auth_password": "correct-horse"}


def read(http: httpx.Client) -> Samples:
    answer = http.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return samples(answer.text)


async def scraped(api: Api, **given: Any) -> Samples:
    answer = await api.http.get("/metrics", **given)
    assert answer.status_code == 200, answer.text
    return samples(answer.text)


def test_exactly_the_declared_metrics_are_exposed(http: httpx.Client, cluster: Any) -> None:
    found = read(http)
    expected = {family.name for family in service_metrics.FAMILIES}
    expected -= {service_metrics.CLUSTER_FAILING.name, service_metrics.HOST_SERVICE_COPY.name}
    expected -= {family.name for family in backup_metrics.FAMILIES}  # of services that keep backups
    for suffix in ("_bucket", "_sum", "_count"):
        expected |= {f"cenote_{name}_seconds{suffix}" for name in ("api_request", "agent_pass")}
    assert found.keys() == expected - {"cenote_api_request_seconds", "cenote_agent_pass_seconds"}


def test_the_agent_and_the_process_have_metrics(http: httpx.Client, cluster: Any) -> None:
    found = read(http)
    assert value(found, "cenote_clusters", status="online") == 1
    assert value(found, "cenote_store_connected") == 1
    assert value(found, "cenote_agent_passes_total", outcome="done") > 0
    assert value(found, "cenote_agent_passes_total", outcome="waiting") > 0
    assert value(found, "process_resident_memory_bytes") > 2**20
    assert 0 < value(found, "process_open_fds") < value(found, "process_max_fds")
    assert value(found, "cenote_agent_up") == 1
    assert value(found, "cenote_agent_process_resident_memory_bytes") > 2**20
    started = value(found, "process_start_time_seconds")
    assert value(found, "cenote_api_certificate_expiry_timestamp_seconds") > started

    def caught_up() -> bool:
        return value(read(http), "cenote_agent_behind_seconds") == 0

    wait_until("all changes are applied", 60, caught_up)


def test_requests_are_counted_by_operation_and_status(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("POST", f"{cluster}/pools", 201, json=POOL)
        for _ in range(3):
            await api.call("GET", f"{cluster}/pools/{POOL['name']}", 200)
        await api.call("HEAD", f"{cluster}/pools/{POOL['name']}", 200)
        await api.refusal("GET", f"{cluster}/pools/nowhere", 404)
        await api.refusal("GET", f"{cluster}/users/nobody", 404)
        await api.refusal("GET", "/no/such/path", 404)
        await api.http.request("BREW", "/v2/databases")
        await api.refusal("GET", cluster, 401, headers={"authorization": "Bearer wrong"})
        found = await scraped(api)
        one = "/v2/databases/{database_cluster_uuid}"
        name = "cenote_api_requests_total"
        pool = f"{one}/pools/{{pool_name}}"
        assert value(found, name, method="GET", path=pool, status="200") == 3
        assert value(found, name, method="HEAD", path=pool, status="200") == 1
        assert value(found, name, method="GET", path=pool, status="404") == 1
        assert value(found, name, method="POST", path=f"{one}/pools", status="201") == 1
        assert value(found, name, path=f"{one}/users/{{username}}", status="404") == 1
        assert value(found, name, path="unknown", status="404") == 1
        assert value(found, name, path="unknown", status="401") == 1
        assert value(found, "cenote_api_request_seconds_count", method="GET", path=pool) == 4
        labels = {pair for labelled in found[name] for pair in labelled}
        assert not {("method", "BREW"), ("path", "/no/such/path"), ("path", cluster)} & labels

    apis.run(scenario)


def test_a_failing_cluster_has_a_sample_of_its_own(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        assert "cenote_agent_cluster_failing" not in await scraped(api)
        await api.report(cluster, "its disk is full", failing=True)
        found = await scraped(api)
        assert value(found, "cenote_agent_cluster_failing", cluster=str(BACKEND["name"])) == 1

    apis.run(scenario)


def test_the_health_of_a_cluster_is_one_of_five_series(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        name = str(BACKEND["name"])

        async def of_each() -> dict[str, float]:
            found = await scraped(api)
            return {each: value(found, "cenote_cluster_health", cluster=name, health=each) for each in Health}

        assert await of_each() == dict.fromkeys(Health, 0) | {"starting": 1}
        await api.report(cluster)
        assert await of_each() == dict.fromkeys(Health, 0) | {"healthy": 1}
        await api.report(cluster, "its disk is full", failing=True)
        assert await of_each() == dict.fromkeys(Health, 0) | {"degraded": 1}

    apis.run(scenario)


def test_hosts_are_told_of_also_while_they_are_away(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.add_cluster()
        found = await scraped(api)
        [labels] = map(dict, found["cenote_host_info"])
        assert labels == {
            "host": "here",
            "id": "here",
            "address": HOST.address,
            "zone": "dc-1",
            "roles": "api,database,store",
            "version": "",
        }
        assert value(found, "cenote_host_up", host="here") == 1
        assert value(found, "cenote_host_memory_bytes", host="here") == HOST.memory_mib * 2**20
        assert value(found, "cenote_host_memory_promised_bytes", host="here") == 2**30
        assert value(found, "cenote_host_disk_promised_bytes", host="here") > 2**30
        assert value(found, "cenote_host_clusters", host="here") == 1
        assert value(found, "cenote_host_unknown_nodes", host="here") == 2
        seen = value(found, "cenote_host_last_seen_timestamp_seconds", host="here")
        assert abs(seen - time.time()) < 10
        await api.hosts["here"].close()
        assert await api.store.wait(lambda: not api.store.presences() or None, 10)
        found = await scraped(api)
        assert value(found, "cenote_host_up", host="here") == 0
        assert value(found, "cenote_agent_up", host="here") == 0
        assert abs(value(found, "cenote_host_last_seen_timestamp_seconds", host="here") - seen) < 10
        assert value(found, "cenote_cluster_health", host="here", node="node-1", health="unknown") == 1

    unknown = (f"{uuid4()}/node-1", f"{uuid4()}/node-1")
    apis.run(scenario, hosts=(replace(HOST, zone="dc-1", unknown=unknown),))


def test_a_cluster_is_found_at_its_nodes_host_unless_nobody_serves_its_metrics_there(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.add_cluster(name="one")
        [target] = await api.call("GET", "/v2/cenote/metrics_targets", 200)
        assert target["targets"] == ["192.0.2.7:25099"]
        await api.hosts["here"].announce(replace(elsewhere, roles=(HostRole.DATABASE,)))
        assert await api.store.wait(lambda: len(api.store.hosts()[0].roles) == 1 or None, 10)
        assert await api.call("GET", "/v2/cenote/metrics_targets", 200) == []

    elsewhere = replace(HOST, address="192.0.2.7")
    apis.run(scenario, hosts=(elsewhere,))


def test_an_agent_that_does_not_answer_takes_only_its_own_metrics_with_it(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        found = await scraped(api)
        assert value(found, "cenote_agent_up") == 0
        assert value(found, "process_open_fds") > 0
        assert not [name for name in found if name.startswith(("cenote_agent_p", "cenote_agent_b"))]

    apis.run(scenario, observer=NO_OBSERVER)


def test_the_metrics_credentials_or_a_token_with_read_scope_are_required(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        reading = await api.token("database:read")
        await api.refusal("GET", "/metrics", 403, headers=await api.token("database:create"))
        del api.http.headers["authorization"]
        await api.refusal("GET", "/metrics", 401)
        await api.refusal("GET", "/metrics", 401, headers=basic("", ""))  # there are no credentials yet
        await api.refusal("GET", "/metrics", 401, headers={"authorization": "Bearer wrong"})
        await scraped(api, headers=reading)
        admin = await api.token("*")
        await api.call(
            "PUT", "/v2/databases/metrics/credentials", 204, json={"credentials": LOGIN}, headers=admin
        )
        await scraped(api, headers=basic("prometheus", "correct-horse"))
        await api.refusal("GET", "/metrics", 401, headers=basic("prometheus", "wrong"))
        # They are valid for nothing else.
        await api.refusal("GET", "/v2/databases", 401, headers=basic("prometheus", "correct-horse"))

    apis.run(scenario)


def test_failed_logins_are_throttled_and_a_token_is_accepted_meanwhile(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.call("PUT", "/v2/databases/metrics/credentials", 204, json={"credentials": LOGIN})
        for number in range(MAX_FAILURES):
            await api.refusal("GET", "/metrics", 401, headers=basic("prometheus", f"guess-{number}"))
        right = basic("prometheus", "correct-horse")
        answer = await api.http.get("/metrics", headers=right)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
        await scraped(api)

    apis.run(scenario)


def test_all_clusters_are_listed_for_service_discovery(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        assert await api.call("GET", "/v2/cenote/metrics_targets", 200) == []
        paths = [await api.add_cluster(name="one", tags=["a", "b"]), await api.add_cluster(name="two")]
        first, second = await api.call("GET", "/v2/cenote/metrics_targets", 200)
        assert first == {
            "targets": [f"{HOST.address}:25099"],
            "labels": {
                "__meta_cenote_cluster": "one",
                "__meta_cenote_cluster_id": paths[0].rpartition("/")[2],
                "__meta_cenote_region": "nyc1",
                "__meta_cenote_size": "db-s-1vcpu-1gb",
                "__meta_cenote_host": "here",
                "__meta_cenote_node": "node-1",
                "__meta_cenote_zone": "",
                "__meta_cenote_tags": ",a,b,",
            },
        }
        assert (second["targets"], second["labels"]["__meta_cenote_tags"]) == ([f"{HOST.address}:25098"], "")
        await api.call("DELETE", paths[0], 204)
        assert await api.call("GET", "/v2/cenote/metrics_targets", 200) == [second]
        other = await api.token("database:create")
        await api.refusal("GET", "/v2/cenote/metrics_targets", 403, headers=other)

    apis.run(scenario)


def test_the_ca_certificates_of_all_clusters_are_in_one_file(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        paths = [await api.add_cluster(name="one"), await api.add_cluster(name="two")]
        answer = await api.http.get("/v2/cenote/metrics_ca")
        assert answer.headers["content-type"].startswith("text/plain")
        for path in paths:
            encoded = (await api.call("GET", f"{path}/ca", 200))["ca"]["certificate"]
            assert base64.b64decode(encoded).decode() in answer.text
        context = ssl.create_default_context(cadata=answer.text)
        assert context.cert_store_stats()["x509_ca"] == len(paths)

    apis.run(scenario)


def basic(username: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}
