"""The connection pools page without scripts, and the stream of its live updates."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cenote.console.pool_charts import FEW_POINTS, PoolSample, PoolTrail
from cenote_client import Client
from tests.support.console import Visitor, visitor
from tests.support.events import following
from tests.support.service import WITHOUT_LIMITS, Service, added_pool, online_cluster
from tests.support.waiting import wait_until

pytestmark = pytest.mark.service(*WITHOUT_LIMITS)

MOST_BYTES = 100 * 1000


@pytest.fixture(scope="module")
def cluster(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = online_cluster(client, "pages")
    return found


@pytest.fixture
def page(cluster: dict[str, Any], client: Client) -> Iterator[str]:
    yield f"/console/clusters/{cluster['id']}/pools"
    for pool in client.databases.iter_connection_pools(cluster["id"]):
        client.databases.delete_connection_pool(cluster["id"], pool["name"])


def chart_bytes() -> int:
    """Return how many bytes the charts of one pool take at most, when there are many pools."""
    numbers = random.Random(1)
    trail = PoolTrail(FEW_POINTS)
    for number in range(FEW_POINTS):
        values = [numbers.uniform(0, 90) for _ in range(6)]
        trail.add(1_000.0 + 900 / FEW_POINTS * number, PoolSample(*values))
    charts = trail.charts(5, 1_899.0)
    return sum(len(path) for path in astuple(charts) if isinstance(path, str))


def test_a_pool_is_created_changed_and_deleted(
    somebody: Visitor, client: Client, cluster: dict[str, Any], page: str
) -> None:
    empty = somebody.open(page)
    assert "No connection pools yet." in empty.text
    made = somebody.send(empty, "Create pool", name="web", size="4")
    assert "Pool web is ready." in made.text
    changed = somebody.send(made, "Save web", size="6", mode="session")
    assert "Pool web updated." in changed.text
    pool = client.databases.get_connection_pool(cluster["id"], "web")["pool"]
    assert (pool["size"], pool["mode"], pool["user"]) == (6, "session", "doadmin")
    asked = somebody.open(f"{page}/web/delete")
    assert "Pool web deleted." in somebody.send(asked, "Delete pool").text
    assert client.databases.list_connection_pools(cluster["id"])["pools"] == []


def test_saving_an_old_form_leaves_alone_what_others_have_changed_meanwhile(
    somebody: Visitor, client: Client, cluster: dict[str, Any], page: str
) -> None:
    added_pool(client, cluster["id"], "web", size=4)
    old = somebody.open(page)
    wanted = {"mode": "session", "size": 4, "db": "defaultdb", "user": ""}
    client.request("PUT", f"/v2/databases/{cluster['id']}/pools/web", json=wanted)
    refused = somebody.send(old, "Save web", 422, size="23")
    assert refused.form("Save web").fields["mode"] == ["session"]
    somebody.send(old, "Save web", size="6")
    pool = client.databases.get_connection_pool(cluster["id"], "web")["pool"]
    assert (pool["size"], pool["mode"], pool["user"]) == (6, "session", "")


def test_a_refusal_is_in_the_words_of_the_api_and_what_was_typed_stays(somebody: Visitor, page: str) -> None:
    refused = somebody.send(somebody.open(page), "Create pool", 422, name="web", size="90")
    assert "size: 90 is too large: 22 of 22 connections are left for pools" in refused.text
    assert refused.form("Create pool").fields["name"] == ["web"]
    again = somebody.send(refused, "Create pool", size="5")
    too_much = somebody.send(again, "Save web", 422, size="23")
    # The refusal of a change has the number that the page has above.
    assert "size: 23 is too large: 17 of 22 connections are left" in too_much.text
    assert "besides the 5 of this pool" in too_much.text
    assert "5 of 22 allocated to pools, 17 left" in too_much.text
    assert too_much.form("Save web").fields["size"] == ["23"]
    not_a_number = somebody.send(again, "Save web", 422, size="many")
    assert "Expected `int`" in not_a_number.text


def test_the_connections_are_shared_out_on_one_bar(
    somebody: Visitor, client: Client, cluster: dict[str, Any], page: str
) -> None:
    added_pool(client, cluster["id"], "web", size=4)
    added_pool(client, cluster["id"], "jobs", size=7)
    shown = somebody.open(page)
    assert "11 of 22 allocated to pools, 11 left" in shown.text
    shares = {given["data-share"]: given for tag, given in shown.elements if "data-share" in given}
    assert [(shares[name]["x"], shares[name]["width"]) for name in ("web", "jobs")] == [
        ("0", "4"),
        ("4", "7"),
    ]


def test_the_server_draws_the_charts(
    somebody: Visitor, client: Client, cluster: dict[str, Any], page: str
) -> None:
    added_pool(client, cluster["id"], "web")

    def drawn() -> bool:
        elements = somebody.open(page).elements
        paths = {given.get("class"): given["d"] for tag, given in elements if tag == "path"}
        return bool(paths["p-active"] and paths["p-size"])

    wait_until("there is a chart", 60, drawn)
    assert "In the last 15 minutes: at most 0 clients active" in somebody.open(page).text


def test_who_may_only_look_is_offered_nothing_to_change(
    running: Service, client: Client, cluster: dict[str, Any], page: str
) -> None:
    added_pool(client, cluster["id"], "web")
    with visitor(running, "database:read") as looking:
        shown = looking.open(page)
        assert "web" in shown.text
        assert not shown.has_form("Save web")
        assert not shown.has_form("Create pool")
        assert "Delete web" not in shown.text


def test_twenty_pools_fit_into_a_small_page_without_styles_of_their_own(
    somebody: Visitor, client: Client, cluster: dict[str, Any], page: str
) -> None:
    for number in range(20):
        added_pool(client, cluster["id"], f"pool-number-{number}", size=1)
    shown = somebody.open(page)
    # As if there were a quarter of an hour to draw: the pools are new, and nothing is known of them.
    assert len(shown.source.encode()) + 20 * chart_bytes() < MOST_BYTES
    assert not [given for _, given in shown.elements if "style" in given]
    assert not shown.has_form("Save pool-number-7")
    assert somebody.open(f"{page}?change=pool-number-7").has_form("Save pool-number-7")
    ids = [given["id"] for _, given in shown.elements if "id" in given]
    assert len(ids) == len(set(ids))


def test_a_session_is_enough_to_follow_the_stream_and_nothing_less(
    running: Service, somebody: Visitor, client: Client, cluster: dict[str, Any], page: str
) -> None:
    added_pool(client, cluster["id"], "web")
    with following(somebody.http, f"{page}/stream") as events:
        parts = next(event for event in events if event.kind == "parts" and "web/clients" in event.data)
    assert "waiting</strong>" in parts.data["web/clients"]
    somebody.http.cookies.clear()
    assert somebody.http.get(f"{page}/stream", headers={"accept": "application/json"}).status_code == 401
    assert somebody.http.get(f"{page}/stream", follow_redirects=False).status_code == 303


def test_the_stream_sends_what_the_page_shows_and_then_only_what_changes(
    somebody: Visitor, client: Client, cluster: dict[str, Any], page: str
) -> None:
    for name in ("web", "jobs"):
        added_pool(client, cluster["id"], name)
    with following(somebody.http, f"{page}/stream") as events:
        shown = dict[str, str]()
        for event in events:
            if event.kind == "parts":
                assert not {name for name, html in event.data.items() if shown.get(name) == html}
                shown |= event.data
            if event.kind == "pools" and {"web/clients", "jobs/clients"} <= shown.keys():
                break
    places = {given["data-part"] for _, given in somebody.open(page).elements if "data-part" in given}
    assert shown.keys() <= places
    assert event.data in [given.get("data-shown") for _, given in somebody.open(page).elements]


def test_the_stream_ends_when_the_token_of_the_session_is_no_longer_good(
    running: Service, client: Client, cluster: dict[str, Any], page: str
) -> None:
    added_pool(client, cluster["id"], "web")
    expiry = (datetime.now(UTC) + timedelta(seconds=6)).isoformat()
    body = {"name": "brief", "scopes": ["database:read"], "expires_at": expiry}
    token = client.request("POST", "/v2/cenote/tokens", json=body)["token"]["token"]
    with visitor(running, "") as brief:
        brief.sign_in(token)
        with following(brief.http, f"{page}/stream") as events:
            *_, last = events
    assert last.kind == "end"
