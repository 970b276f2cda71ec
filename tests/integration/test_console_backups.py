"""The backups of a cluster in the console, in a browser without scripts."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support.console import Sheet, Visitor, base_of, id_in, visitor
from tests.support.folders import server_folder
from tests.support.pgbackrest import NEEDS_PGBACKREST, version
from tests.support.service import Service, answer_of, calling, online_cluster, service
from tests.support.waiting import wait_until

SECONDS = 120
pytestmark = NEEDS_PGBACKREST


@pytest.fixture(scope="module")
def kept() -> Iterator[Service]:
    with server_folder() as folder, service(f"--backups=file://{folder}/repository", clusters=4) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(kept: Service) -> dict[str, Any]:
    """A cluster with its first backup, whose next one is hours away."""
    with kept.client() as client:
        made: dict[str, Any] = online_cluster(client, "orders", version=version())
        hour = (datetime.now(UTC) + timedelta(hours=12)).hour
        path = f"/v2/databases/{made['id']}"
        client.request("PATCH", f"{path}/config", json={"config": {"backup_hour": hour}})
        wait_until("the first backup is made", SECONDS, lambda: state_of(kept, made)["count"] == 1)
        wait_until("WAL is archived", SECONDS, lambda: state_of(kept, made)["archived_at"] is not None)
        return made


def state_of(running: Service, cluster: dict[str, Any]) -> Any:
    with running.client() as client:
        seen = client.request("GET", f"/v2/databases/{cluster['id']}")["database"]
    return seen["cenote"]["backups"]


def page(somebody: Visitor, cluster: dict[str, Any]) -> Sheet:
    return somebody.open(f"{base_of(cluster)}/backups")


def test_the_page_shows_the_backups_and_what_can_be_restored(kept: Service, cluster: dict[str, Any]) -> None:
    state = state_of(kept, cluster)
    with kept.client() as client:
        [backup] = client.databases.list_backups(cluster["id"])["backups"]
    with visitor(kept) as somebody:
        sheet = page(somebody, cluster)
    assert "Up to date" in sheet.text
    assert state["repository"] in sheet.text
    made = datetime.fromisoformat(backup["created_at"]).strftime("%-d %b %Y, %H:%M:%S")
    assert re.search(rf"{made} (just now|\d+ \w+ ago) Full \d+ s \d+ MiB", sheet.text)
    assert re.search(
        rf"Any second from {made} to \d+ \w+ \d{{4}}, [0-9:]{{8}} UTC can be restored\.", sheet.text
    )
    drawn = [(tag, given.get("class") or "") for tag, given in sheet.elements]
    marks = [kind for tag, kind in drawn if tag == "path" and "window-mark" in kind]
    pieces = [kind for tag, kind in drawn if tag == "rect" and kind == "window-piece"]
    assert (len(marks), len(pieces)) == (1, 1)
    assert "7 days" in sheet.text
    assert backup["cenote"]["duration_seconds"] >= 0


def test_a_backup_is_made_now(kept: Service, cluster: dict[str, Any]) -> None:
    with visitor(kept) as somebody:
        asked = somebody.send(page(somebody, cluster), "Back up now")
        assert "A backup was requested." in asked.text
        before = datetime.now(UTC)
        wait_until("it is made", SECONDS, lambda: state_of(kept, cluster)["count"] == 2)
        state = state_of(kept, cluster)
        assert (state["running"], state["asked_at"], state["failure"]) == (None, None, "")
        assert datetime.fromisoformat(state["last_at"]) >= before - timedelta(seconds=1)
        text = page(somebody, cluster).text
        assert text.index("Differential") < text.index(" Full ")  # the newest first
        assert "Last one" in somebody.open(base_of(cluster)).text


def test_the_schedule_is_changed_and_given_back(kept: Service, cluster: dict[str, Any]) -> None:
    path = f"/v2/databases/{cluster['id']}/config"
    with visitor(kept) as somebody, kept.client() as client:
        before = client.request("GET", path)["config"]
        changed = somebody.send(page(somebody, cluster), "Save schedule", hour="4", minute="5")
        assert "Schedule saved." in changed.text
        config = client.request("GET", path)["config"]
        assert (config["backup_hour"], config["backup_minute"]) == (4, 5)
        assert re.search(r"\(\d+ \w+ \d{4}, 04:05 UTC\)", changed.text)
        refused = somebody.send(changed, "Save schedule", 422, hour="4", minute="60")
        assert "backup_minute: 60 is out of range: 0 to 59." in refused.text
        assert refused.form("Save schedule").fields["minute"] == ["60"]
        odd = somebody.send(changed, "Save schedule", 422, hour="4", minute="½")
        assert "backup_minute" in odd.text
        somebody.send(changed, "Save schedule", hour="", minute="7")
        assert "backup_hour" not in client.request("GET", path)["config"]
        client.request("PATCH", path, json={"config": {"backup_hour": before["backup_hour"]}})


def test_a_token_that_may_only_read_sees_it_all_and_is_offered_no_change(
    kept: Service, cluster: dict[str, Any]
) -> None:
    with visitor(kept, "database:read") as somebody, visitor(kept) as admin:
        looked = page(somebody, cluster)
        assert "can be restored" in looked.text
        for button in ("Back up now", "Save schedule"):
            assert not looked.has_form(button)
            assert page(admin, cluster).has_form(button)
        form_token = looked.form("Sign out").fields["form_token"][0]
        for sent in ({"do": "now"}, {"do": "schedule", "hour": "1"}):
            answer = somebody.http.post(looked.path, data={"form_token": form_token, **sent})
            assert answer.status_code == 403
            assert "The token lacks the scope database:update" in answer.text


def test_before_the_first_backup_the_page_says_so_at_once(kept: Service, cluster: dict[str, Any]) -> None:
    with visitor(kept) as somebody, kept.client() as client:
        new = client.request(
            "POST",
            "/v2/databases",
            json={
                "name": "new",
                "engine": "pg",
                "version": version(),
                "size": "db-s-1vcpu-1gb",
                "region": "nyc1",
                "num_nodes": 1,
            },
        )["database"]
        text = page(somebody, new).text
        assert "Nothing can be restored before the first backup is complete." in text
        assert "First backup is pending" in text or "Full backup in progress" in text
        client.request("DELETE", f"/v2/databases/{new['id']}")


def test_without_a_repository_the_page_says_how_to_turn_backups_on() -> None:
    with service() as running, running.client() as client, visitor(running) as somebody:
        cluster = online_cluster(client, "without")
        assert "backups" not in cluster["cenote"]
        sheet = page(somebody, cluster)
        assert "No backups are kept" in sheet.text
        assert "cenote serve --backups file:///srv/backups" in sheet.text
        assert not sheet.has_form("Back up now")
        assert "None kept" in somebody.open(base_of(cluster)).text
        assert "No restart is pending." in somebody.open(f"{base_of(cluster)}/settings/restart").text
        with calling(running) as http:
            assert http.get(f"/v2/databases/{cluster['id']}/backups").status_code == 422


def rows(uri: str) -> int:
    return int(answer_of(uri, "SELECT count(*) FROM orders"))


def test_a_fork_to_the_second_before_a_mistake_has_the_rows(kept: Service, cluster: dict[str, Any]) -> None:
    with kept.client() as client, visitor(kept) as somebody:
        uri = cluster["connection"]["uri"]
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute("CREATE TABLE orders AS SELECT generate_series(1, 100) AS id")
            time.sleep(1.1)
            before = datetime.now(UTC).replace(microsecond=0)
            time.sleep(1.1)
            connection.execute("DELETE FROM orders")
        asked = somebody.open(f"{base_of(cluster)}/backups/fork")
        assert "Any second from" in asked.text
        assert asked.form("Create fork").fields["name"] == ["orders-fork"]
        assert asked.form("Create fork").fields["size"] == [cluster["size"]]
        for wrong, told in (("2020-01-01T00:00", "cannot be restored"), ("soon", "is not a time")):
            refused = somebody.send(asked, "Create fork", 422, at=wrong, name="rescued")
            assert told in refused.text
            assert refused.form("Create fork").fields["name"] == ["rescued"]
        made = somebody.send(asked, "Create fork", at=before.strftime("%Y-%m-%dT%H:%M:%S"), name="rescued")
        assert "rescued is being created from the data of orders." in made.text
        fork = wait_until("the fork is online", SECONDS, lambda: _online(client, id_in(made)))
        assert rows(fork["connection"]["uri"]) == 100
        assert rows(uri) == 0
        assert (fork["size"], fork["storage_size_mib"]) == (cluster["size"], cluster["storage_size_mib"])
        client.request("DELETE", f"/v2/databases/{fork['id']}")


def _online(client: Any, id: str) -> Any:
    found = client.request("GET", f"/v2/databases/{id}")["database"]
    return found if found["status"] == "online" else None


def test_the_form_of_a_fork_begins_with_the_backup_that_was_chosen(
    kept: Service, cluster: dict[str, Any]
) -> None:
    with visitor(kept) as somebody, visitor(kept, "database:read") as reader, kept.client() as client:
        created_at = client.databases.list_backups(cluster["id"])["backups"][0]["created_at"]
        links = [given.get("href") or "" for _, given in page(somebody, cluster).elements]
        [link] = [one for one in links if created_at.replace(":", "%3A") in one]
        assert somebody.open(link).form("Create fork").fields["at"] == [created_at.removesuffix("Z")]
        assert "lacks database:create" in reader.open(link).text
        assert "/backups/fork" not in page(reader, cluster).source


def test_a_drill_is_made_now_and_its_result_is_shown(kept: Service, cluster: dict[str, Any]) -> None:
    with visitor(kept) as somebody, visitor(kept, "database:read") as reader:
        asked = somebody.send(page(somebody, cluster), "Run a drill now")
        assert "A restore drill was requested." in asked.text
        drill = wait_until("the drill has a result", SECONDS, lambda: state_of(kept, cluster)["drill"])
        assert drill["failure"] == ""
        text = page(somebody, cluster).text
        assert "Restored, and nothing was wrong" in text
        assert drill["label"] in text
        assert not page(reader, cluster).has_form("Run a drill now")
