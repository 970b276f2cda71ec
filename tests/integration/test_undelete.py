"""Undelete on a real service: the same cluster is back, with its rows, users, passwords and pools."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cenote.host import trash
from cenote.model.paths import Layout
from cenote_client import Client, ConflictError, InvalidError, NotFoundError
from tests.support.service import Service, added_pool, online, online_cluster, service
from tests.support.waiting import wait_until

SECONDS = 60


def deleted(client: Client) -> list[Any]:
    found: list[Any] = client.request("GET", "/v2/cenote/deleted")["deleted"]
    return found


def delete(client: Client, id: str) -> None:
    client.request("DELETE", f"/v2/databases/{id}")


def undelete(client: Client, id: str, **body: Any) -> Any:
    return client.request("POST", f"/v2/cenote/deleted/{id}/undelete", json=body)


def folder(running: Service, id: str) -> Path:
    return running.data_dir / "clusters" / id


def in_trash(running: Service) -> list[Any]:
    return trash.entries(Layout(running.data_dir))


def put_away(running: Service, id: str) -> None:
    wait_until("it is in the trash", SECONDS, lambda: not folder(running, id).exists() and in_trash(running))


def rows(uri: str) -> int:
    with psycopg.connect(uri, connect_timeout=60) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
        assert row is not None
        return int(row[0])


def furnished(client: Client, name: str) -> tuple[Any, str, str]:
    """Return a cluster with rows and a pool of a user of its own, and the URIs of both."""
    cluster = online_cluster(client, name, tags=["web"])
    path = f"/v2/databases/{cluster['id']}"
    client.request("POST", f"{path}/users", json={"name": "app"})
    client.request("POST", f"{path}/dbs", json={"name": "shop"})
    client.request("PATCH", f"{path}/config", json={"config": {"work_mem": 8}})
    pool = added_pool(client, cluster["id"], "web", user="doadmin")
    direct = str(cluster["connection"]["uri"])
    with psycopg.connect(direct, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS value")
    return client.request("GET", path)["database"], direct, str(pool["connection"]["uri"])


def same(before: Any, after: Any) -> None:
    for field in ("id", "connection", "users", "db_names", "tags", "size", "created_at", "project_id"):
        assert after[field] == before[field], field


def test_a_deleted_cluster_is_back_with_all_that_it_had_and_at_the_same_place() -> None:
    with service() as running, running.client() as client:
        before, direct, pool = furnished(client, "backend")
        id = before["id"]
        for _ in range(2):  # what was undeleted can be deleted, and undeleted again
            delete(client, id)
            with pytest.raises(NotFoundError):
                client.request("GET", f"/v2/databases/{id}")
            assert client.request("GET", "/v2/databases")["databases"] == []
            put_away(running, id)
            with pytest.raises(psycopg.OperationalError):
                rows(direct)
            [listed] = deleted(client)
            assert (listed["id"], listed["name"]) == (id, "backend")
            assert not listed["name_taken"]
            assert "reason" not in listed
            assert listed["until"] > listed["deleted_at"]
            assert listed["used_mib"] > 0

            answer = undelete(client, id)
            assert answer["changed"] == []
            same(before, online(client, id))
            assert rows(direct) == rows(pool) == 1000
            config = client.request("GET", f"/v2/databases/{id}/config")["config"]
            assert config["work_mem"] == 8
            assert deleted(client) == []
            assert in_trash(running) == []
        events = client.request("GET", f"/v2/databases/{id}/events")["events"]
        assert sum("undeleted" in event["cenote"]["summary"] for event in events) == 2


def test_it_is_back_after_the_service_and_all_servers_were_stopped_in_between() -> None:
    with service() as running, running.client() as client:
        before, direct, pool = furnished(client, "backend")
        delete(client, before["id"])
        running.end(signal.SIGKILL)  # perhaps in the middle of it
        running.start()
        put_away(running, before["id"])
        running.stop()
        running.start()
        [_] = wait_until("it is listed", SECONDS, lambda: deleted(client))
        undelete(client, before["id"])
        running.end(signal.SIGKILL)
        running.start()
        same(before, online(client, before["id"]))
        assert rows(direct) == rows(pool) == 1000


def test_a_name_that_was_taken_again_asks_for_another_one() -> None:
    with service() as running, running.client() as client:
        before, _, pool = furnished(client, "backend")
        delete(client, before["id"])
        other = online_cluster(client, "backend")
        put_away(running, before["id"])
        assert [one["name_taken"] for one in deleted(client)] == [True]
        with pytest.raises(InvalidError, match=f"backend is the name of the cluster {other['id']}"):
            undelete(client, before["id"])
        answer = undelete(client, before["id"], name="backend-again")
        assert answer["changed"] == ["Its name is backend-again, and was backend."]
        after = online(client, before["id"])
        assert after["connection"] == before["connection"]
        assert rows(pool) == 1000
        assert online(client, other["id"])["name"] == "backend"


def test_ports_that_others_have_are_replaced_and_that_is_told() -> None:
    with service(clusters=2) as running, running.client() as client:
        before, _, _ = furnished(client, "backend")
        delete(client, before["id"])
        put_away(running, before["id"])
        wait_until("its ports are free", SECONDS, lambda: not ports_claimed(client))
        taking = [online_cluster(client, f"other-{number}") for number in (1, 2)]
        assert before["connection"]["port"] in [one["connection"]["port"] for one in taking]
        with pytest.raises(Exception, match="Every port"):
            undelete(client, before["id"])
        [free] = [one for one in taking if one["connection"]["port"] != before["connection"]["port"]]
        delete(client, free["id"])
        wait_until("its ports are free", SECONDS, lambda: ports_claimed(client) == 3)
        answer = undelete(client, before["id"])
        assert answer["changed"][0].startswith("Its port is ")
        after = online(client, before["id"])
        assert after["connection"]["port"] != before["connection"]["port"]
        assert rows(after["connection"]["uri"]) == 1000


def ports_claimed(client: Client) -> int:
    [host] = client.request("GET", "/v2/cenote/hosts")["hosts"]
    return int(host["ports"]["claimed"])


def test_what_is_purged_is_gone_with_its_data() -> None:
    with service() as running, running.client() as client:
        id = online_cluster(client, "backend")["id"]
        delete(client, id)
        put_away(running, id)
        client.request("DELETE", f"/v2/cenote/deleted/{id}")
        assert deleted(client) == []
        for method, path in (("DELETE", ""), ("POST", "/undelete")):
            with pytest.raises(NotFoundError):
                client.request(method, f"/v2/cenote/deleted/{id}{path}", json={} if path else None)
        wait_until("its data is gone", SECONDS, lambda: not in_trash(running))


def test_what_was_taken_out_of_the_trash_is_not_offered_any_more() -> None:
    with service() as running, running.client() as client:
        id = online_cluster(client, "backend")["id"]
        delete(client, id)
        put_away(running, id)
        running.cenote("host", "trash", "empty", "--yes")
        wait_until("it is not offered", SECONDS, lambda: gone(client, id))


def gone(client: Client, id: str) -> bool:
    found = deleted(client)
    if found and "reason" in found[0]:
        with pytest.raises((ConflictError, NotFoundError)):
            undelete(client, id)
    return not found


def test_with_no_days_everything_goes_at_once() -> None:
    with service("--undelete-days=0") as running, running.client() as client:
        id = online_cluster(client, "backend")["id"]
        delete(client, id)
        assert deleted(client) == []
        wait_until("it is gone", SECONDS, lambda: not folder(running, id).exists())
        assert in_trash(running) == []
