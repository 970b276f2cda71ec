"""A cluster with several nodes by the API: on one host, with the etcd that asks for a login."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import psycopg
import pytest

from cenote.host import processes
from cenote.model import pauses
from cenote.model.paths import Layout
from cenote_client import Client
from tests.support.service import Service, added_pool, is_alive, online_cluster, tried
from tests.support.several_nodes import (
    SECONDS,
    may_take_over,
    node,
    on_node,
    patroni,
    reason,
    server,
    settled,
    several,
    writer,
    writing,
)
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def trio(client: Client) -> Any:
    return several(client, "trio", 3)


def test_no_secret_of_patroni_is_where_others_see_it(running: Service, trio: Any) -> None:
    for number in (1, 2, 3):
        place, process = node(running, trio, number), patroni(running, trio, number)
        assert process is not None
        assert stat.S_IMODE(place.patroni.stat().st_mode) == 0o700
        for path in (place.patroni_configuration, place.patroni / "patroni.log"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        password = json_of(place.patroni_configuration)["etcd3"]["password"]
        for name in ("cmdline", "environ"):
            assert password.encode() not in Path(f"/proc/{process.pid}/{name}").read_bytes()
        for log in place.patroni.glob("*.log*"):
            assert password not in log.read_text()


def test_a_cluster_of_three_nodes_goes_on_when_the_primary_is_killed(
    running: Service, client: Client, trio: Any
) -> None:
    uri = added_pool(client, trio["id"], "app")["connection"]["uri"]
    with writing(uri) as ledger:
        first = wait_until("a node takes writes", SECONDS, lambda: writer(running, trio, 1, 2, 3))
        victim = server(running, trio, first or 0)
        assert victim is not None
        wait_until("another node may take over", SECONDS, lambda: may_take_over(running, trio))
        os.kill(victim.pid, signal.SIGKILL)
        wait_until(
            "another node takes writes", SECONDS, lambda: writer(running, trio, 1, 2, 3) not in (None, first)
        )
        ledger.goes_on()
    ledger.check(uri)
    settled(client, trio["id"])
    told = f"PostgreSQL of node-{first} has ended"
    wait_until("the promotion is told, and why", SECONDS, lambda: told in promotions(client, trio)[0])
    assert f"in place of node-{first}, after " in promotions(client, trio)[0]
    assert not pauses.file_of(node(running, trio, 1).cluster.root).exists(), "nobody is held any more"


def test_commits_wait_for_a_standby_again_when_somebody_ends_that(
    running: Service, client: Client, trio: Any
) -> None:
    number = wait_until("a node takes writes", SECONDS, lambda: writer(running, trio, 1, 2, 3)) or 0
    path = f"/v2/databases/{trio['id']}/config"
    lag = "max_failover_replication_time_lag"  # for which Patroni may be stopped
    client.request("PATCH", path, json={"config": {lag: 120}})
    settled(client, trio["id"])
    time.sleep(2)  # Patroni takes it from the store, and renews its lease
    by_hand, agent = node(running, trio, number).data / "postgresql.conf", patroni(running, trio, number)
    assert agent is not None
    for by_file in (False, True):
        os.kill(agent.pid, signal.SIGSTOP)  # so that it is seen; it mends that within a second
        try:
            if by_file:
                lines = by_hand.read_text().splitlines()
                by_hand.write_text("\n".join(line for line in lines if "synchronous_standby" not in line))
            else:
                on_node(running, trio, number, "ALTER SYSTEM SET synchronous_standby_names = ''")
            on_node(running, trio, number, "SELECT pg_reload_conf()")
            wait_until("none is waited for", 60, lambda: waited_for(running, trio, number) == 0)
            wait_until("that is told", 60, lambda: "commits do not wait" in reason(client, trio))
        finally:
            os.kill(agent.pid, signal.SIGCONT)
        wait_until("two are again", SECONDS, lambda: waited_for(running, trio, number) == 2)
    client.request("PATCH", path, json={"config": {lag: None}})
    settled(client, trio["id"])


def test_whether_commits_wait_for_a_standby_and_when_one_takes_over_is_a_setting(
    running: Service, client: Client, trio: Any
) -> None:
    number = wait_until("a node takes writes", SECONDS, lambda: writer(running, trio, 1, 2, 3)) or 0
    path = f"/v2/databases/{trio['id']}/config"
    shown = client.request("GET", path)["config"]
    defaults = {"synchronous_replication": "quorum", "max_failover_replication_time_lag": 10}
    assert shown.items() >= defaults.items()
    chosen = {"synchronous_replication": "off", "max_failover_replication_time_lag": 60}
    client.request("PATCH", path, json={"config": chosen})
    assert client.request("GET", path)["config"].items() >= chosen.items()
    wait_until("no standby is waited for", SECONDS, lambda: waited_for(running, trio, number) == 0)
    settled(client, trio["id"])  # as it is wanted
    client.request("PATCH", path, json={"config": dict.fromkeys(defaults)})
    wait_until("two are waited for", SECONDS, lambda: waited_for(running, trio, number) == 2)


def test_data_that_cannot_follow_are_copied_anew_and_kept_until_then(
    running: Service, client: Client, trio: Any
) -> None:
    first = wait_until("a node takes writes", SECONDS, lambda: writer(running, trio, 1, 2, 3)) or 0
    number = next(other for other in (1, 2, 3) if other != first)
    place, agent = node(running, trio, number), patroni(running, trio, number)
    assert agent is not None
    before = place.data.stat().st_ino
    place.cannot_follow.touch()  # as the launcher leaves it when pg_rewind has failed
    os.kill(agent.pid, signal.SIGKILL)
    wait_until("the data are set aside", SECONDS, lambda: is_at(place.former_data, before))
    wait_until("and removed once others follow", SECONDS, lambda: not place.former_data.exists())
    settled(client, trio["id"])
    assert not is_at(place.data, before)
    assert not place.cannot_follow.exists()

    def told() -> list[str]:
        events = client.request("GET", f"/v2/databases/{trio['id']}/events?per_page=200")["events"]
        return [text for event in events if "set its data aside" in (text := event["cenote"]["summary"])]

    wait_until("it is told", SECONDS, told)


def is_at(path: Path, inode: int) -> bool:
    try:
        return path.stat().st_ino == inode
    except FileNotFoundError:
        return False


def promotions(client: Client, cluster: Any) -> list[str]:
    """What the promotions of a cluster say, the newest first; an empty one stands for none."""
    found = client.request("GET", f"/v2/databases/{cluster['id']}/events")["events"]
    kind = "cluster_master_promotion"
    return [one["cenote"]["summary"] for one in found if one["event_type"] == kind] or [""]


def waited_for(running: Service, cluster: Any, number: int) -> int:
    query = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'"
    return int(on_node(running, cluster, number, query)[0][0])


def test_servers_and_patroni_outlive_the_agent(running: Service, client: Client, trio: Any) -> None:
    before = [(server(running, trio, number), patroni(running, trio, number)) for number in (1, 2, 3)]
    agent = running.child("agent")
    assert agent is not None
    os.kill(agent, signal.SIGKILL)
    wait_until("another agent works", SECONDS, lambda: running.child("agent") not in (None, agent))
    settled(client, trio["id"])
    assert before == [(server(running, trio, number), patroni(running, trio, number)) for number in (1, 2, 3)]
    assert all(one is not None for pair in before for one in pair)


def test_a_patroni_that_is_killed_is_started_again_beside_its_server(
    running: Service, client: Client, trio: Any
) -> None:
    number = wait_until("a node takes writes", SECONDS, lambda: writer(running, trio, 1, 2, 3)) or 0
    killed, postgres = patroni(running, trio, number), server(running, trio, number)
    assert killed is not None
    os.kill(killed.pid, signal.SIGKILL)
    wait_until("it is back", SECONDS, lambda: patroni(running, trio, number) not in (None, killed))
    settled(client, trio["id"])
    assert server(running, trio, number) == postgres
    assert writer(running, trio, 1, 2, 3) == number


def test_access_is_taken_away_while_a_switch_waits_for_a_transaction(
    running: Service, client: Client, http: httpx.Client, trio: Any
) -> None:
    path = f"/v2/databases/{trio['id']}"
    pool = added_pool(client, trio["id"], "for-a-switch")["connection"]["uri"]
    user = client.request("POST", f"{path}/users", json={"name": "leaver"})["user"]
    login = f"{user['name']}:{user['password']}"
    uri = urlsplit(trio["connection"]["uri"])
    uri = uri._replace(netloc=f"{login}@{uri.netloc.rpartition('@')[2]}")
    sources = [{"type": "ip_addr", "value": value} for value in ("127.0.0.1", "192.0.2.0/24")]
    client.request("PUT", f"{path}/firewall", json={"rules": sources})
    settled(client, trio["id"])
    before = wait_until("a node takes writes", SECONDS, lambda: writer(running, trio, 1, 2, 3)) or 0
    with (
        psycopg.connect(pool) as slow,
        psycopg.connect(uri.geturl(), autocommit=True) as leaver,
    ):
        slow.execute("CREATE TABLE slow (n int)")
        client.request("POST", f"{path}/switchover", json={"seconds": 300})
        wait_until("the switch waits", SECONDS, lambda: "a transaction in a pool" in waits_for(client, trio))

        assert http.put(f"{path}/firewall", json={"rules": sources[:1]}).status_code == 204
        assert http.delete(f"{path}/users/leaver").status_code == 204
        wait_until("its session has ended, also on a standby", SECONDS, lambda: not is_alive(leaver))
        query = "SELECT 1 FROM pg_roles WHERE rolname = 'leaver'"
        assert on_node(running, trio, before, query) == []
        assert waits_for(client, trio), "the transaction has not ended"
        slow.commit()
    wait_until("the switch is over", SECONDS, lambda: not waits_for(client, trio))
    settled(client, trio["id"])
    assert writer(running, trio, 1, 2, 3) not in (None, before)


@pytest.mark.parametrize("place", ["standby", "primary"])
def test_a_user_that_is_deleted_loses_its_sessions_on_every_node(
    client: Client, http: httpx.Client, trio: Any, place: str
) -> None:
    path = f"/v2/databases/{trio['id']}"
    user = client.request("POST", f"{path}/users", json={"name": "reader"})["user"]
    shown = settled(client, trio["id"])
    found = shown["connection" if place == "primary" else "standby_connection"]
    uri = urlsplit(found["uri"])
    uri = uri._replace(netloc=f"{user['name']}:{user['password']}@{uri.netloc.rpartition('@')[2]}")
    with psycopg.connect(uri.geturl(), autocommit=True) as session:
        query = "SELECT pg_is_in_recovery()"
        assert session.execute(query).fetchone() == (place == "standby",)
        assert http.delete(f"{path}/users/reader").status_code == 204
        wait_until("its session has ended", SECONDS, lambda: not is_alive(session))


def waits_for(client: Client, cluster: Any) -> str:
    """Return what a planned switch waits for, "" without one."""
    found = client.request("GET", f"/v2/databases/{cluster['id']}")["database"]["cenote"]
    return str(found["switchover"]["reason"]) if "switchover" in found else ""


def test_nothing_of_a_deleted_cluster_stays(running: Service, client: Client, trio: Any) -> None:
    place = Layout(running.data_dir).cluster(UUID(trio["id"]))
    client.request("DELETE", f"/v2/databases/{trio['id']}")
    wait_until("its servers have ended", SECONDS, lambda: not processes.below(place.root))
    wait_until("its folder is gone", SECONDS, lambda: not place.root.exists())


def test_from_one_node_to_three_and_back_no_client_notices(running: Service, client: Client) -> None:
    cluster = online_cluster(client, "grows")
    uri = added_pool(client, cluster["id"], "app")["connection"]["uri"]
    direct = cluster["connection"]["uri"]
    with psycopg.connect(direct, autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('customers', 'pgoutput')")
    postgres = server(running, cluster, 1)
    assert postgres is not None
    with writing(uri) as ledger:
        resize(client, cluster, 3)
        several_nodes = settled(client, cluster["id"])
        assert len(several_nodes["cenote"]["nodes"]) == 3
        ledger.goes_on()
        assert server(running, cluster, 1) == postgres
        assert tried(direct, "SELECT slot_name::text FROM pg_replication_slots WHERE plugin = 'pgoutput'")
        resize(client, cluster, 1)
        wait_until("Patroni has ended", SECONDS, lambda: patroni(running, cluster, 1) is None)
        settled(client, cluster["id"], "")
        ledger.goes_on()
    ledger.check(uri)
    assert ledger.failed == []
    assert server(running, cluster, 1) == postgres
    slots = "SELECT string_agg(slot_name, ' ') FROM pg_replication_slots"
    wait_until("no slot of Patroni's is left", SECONDS, lambda: tried(direct, slots) == "customers")
    assert tried(direct, "SELECT setting FROM pg_settings WHERE name = 'synchronous_standby_names'") == ""
    place = Layout(running.data_dir).cluster(UUID(cluster["id"]))
    wait_until(
        "nothing of the others is left", SECONDS, lambda: [one.name for one in place.nodes()] == ["node-1"]
    )
    wait_until("Patroni's keys are gone", SECONDS, lambda: keys_of(running, cluster) == [])
    resize(client, cluster, 2)
    assert len(settled(client, cluster["id"])["cenote"]["nodes"]) == 2, "and it grows again"


def test_a_physical_slot_of_the_customers_refuses_further_nodes_in_words(
    running: Service, client: Client
) -> None:
    cluster = online_cluster(client, "slotted")
    direct = cluster["connection"]["uri"]
    pooled = added_pool(client, cluster["id"], "app")["connection"]["uri"]
    as_superuser(running, cluster, "SELECT pg_create_physical_replication_slot('theirs')")
    resize(client, cluster, 2)

    def told() -> bool:
        found = client.request("GET", f"/v2/databases/{cluster['id']}")["database"]["cenote"]
        return "physical replication slots that Patroni would drop: theirs" in found["reason"]

    wait_until("the slot is named", SECONDS, told)
    assert patroni(running, cluster, 1) is None
    assert tried(direct, "SELECT slot_name::text FROM pg_replication_slots") == "theirs"
    assert tried(pooled, "SELECT 'served'") == "served", "nobody waits for a node that is not to come"
    resize(client, cluster, 1)
    settled(client, cluster["id"], "")
    resize(client, cluster, 2)
    wait_until("the slot is named again", SECONDS, told)
    as_superuser(running, cluster, "SELECT pg_drop_replication_slot('theirs')")
    settled(client, cluster["id"])


def keys_of(running: Service, cluster: Any) -> list[str]:
    """Return what Patroni keeps of a cluster."""

    async def read() -> list[str]:
        async with running.etcd_client() as etcd:
            pages = etcd.pages(f"/cenote-patroni/{cluster['id']}/", 100, keys_only=True)
            return [one.key.decode() async for page in pages for one in page.found]

    return asyncio.run(read())


def resize(client: Client, cluster: Any, count: int) -> None:
    wanted = {"size": cluster["size"], "num_nodes": count}
    client.request("PUT", f"/v2/databases/{cluster['id']}/resize", json=wanted)


def as_superuser(running: Service, cluster: Any, query: str) -> None:
    node = cluster["cenote"]["nodes"][0] if cluster["cenote"].get("nodes") else cluster["connection"]
    sockets = Layout(running.data_dir).cluster(UUID(cluster["id"])).sockets
    with psycopg.connect(
        host=str(sockets), port=node["port"], user="postgres", dbname="postgres", autocommit=True
    ) as connection:
        connection.execute(query.encode())


def json_of(path: Path) -> Any:
    return json.loads(path.read_text())
