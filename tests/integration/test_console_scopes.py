"""What a token's scopes show and allow in the console."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.console import Visitor, visitor
from tests.support.service import WITHOUT_LIMITS, Service, added_pool, online_cluster

pytestmark = pytest.mark.service(*WITHOUT_LIMITS)

TABS = (
    "",
    "/connect",
    "/pools",
    "/nodes",
    "/users",
    "/sources",
    "/config",
    "/backups",
    "/activity",
    "/settings",
)


@pytest.fixture(scope="module")
def cluster(running: Service) -> Iterator[dict[str, Any]]:
    with running.client() as client:
        made = online_cluster(client, "shown")
        added_pool(client, made["id"], "shown-pool")
        client.request("POST", f"/v2/databases/{made['id']}/users", json={"name": "app"})
        yield client.request("GET", f"/v2/databases/{made['id']}")["database"]


def passwords(cluster: dict[str, Any]) -> set[str]:
    return {user["password"] for user in cluster["users"]}


def everything_shown(somebody: Visitor, cluster: dict[str, Any]) -> str:
    """Return the source of every page of the cluster, and of the list of all."""
    base = f"/console/clusters/{cluster['id']}"
    paths = [*(base + tab for tab in TABS), f"{base}/connect?pool=shown-pool", f"{base}/connect?check=ca"]
    return "\n".join(somebody.open(path).source for path in ["/console/clusters", *paths])


def test_a_page_shows_no_password_before_it_is_asked_for(running: Service, cluster: dict[str, Any]) -> None:
    with visitor(running) as somebody:
        source = everything_shown(somebody, cluster)
    assert "••••" in source
    assert not [password for password in passwords(cluster) if password in source]


def test_without_view_credentials_nothing_shows_a_password(running: Service, cluster: dict[str, Any]) -> None:
    base = f"/console/clusters/{cluster['id']}"
    with visitor(running, "database:read", "database:update") as somebody:
        source = everything_shown(somebody, cluster)
        sheet = somebody.open(f"{base}/users")
        assert not sheet.has_form("Show password of app")
        form_token = sheet.forms[0].fields["form_token"][0]
        sent = {"form_token": form_token, "do": "show", "user": "app", "pool": "shown-pool"}
        for accept in ("text/html", "application/json"):
            for tab in ("/users", "/connect"):
                answer = somebody.http.post(base + tab, data=sent, headers={"accept": accept})
                source += answer.text
        source += sheet.source
        reset = somebody.send(somebody.open(f"{base}/users/app/reset"), "Reset password")
        assert "Password of app reset" in reset.text
        source += reset.source
        source += somebody.http.post(base, data=sent, headers={"accept": "application/json"}).text
        source += somebody.http.post(base, data=sent, headers={"accept": "text/html"}).text
    with running.client() as client:
        now = client.request("GET", f"/v2/databases/{cluster['id']}")["database"]
    assert not [password for password in passwords(cluster) | passwords(now) if password in source]
    assert "lacks database:view_credentials" in source
    assert "lacks the scope database:view_credentials" in source


def test_the_password_is_shown_when_it_is_asked_for(running: Service, cluster: dict[str, Any]) -> None:
    base = f"/console/clusters/{cluster['id']}"
    with running.client() as client:
        pool = client.request("GET", f"/v2/databases/{cluster['id']}/pools/shown-pool")["pool"]
    with visitor(running) as somebody:
        asked = somebody.open(f"{base}/connect?pool=shown-pool")
        shown = somebody.send(asked, "Show password")
        assert pool["connection"]["uri"].replace("postgres://", "postgresql://") in shown.text
        assert shown.answer.headers["cache-control"] == "no-store"
        told = somebody.http.post(
            f"{base}/connect",
            data={
                "form_token": asked.form("Show password").fields["form_token"][0],
                "pool": "shown-pool",
            },
            headers={"accept": "application/json"},
        ).json()["texts"]
        assert told["field-password"] == pool["connection"]["password"]
        users = somebody.send(somebody.open(f"{base}/users"), "Show password of app")
        assert re.search(r"Password of app cenote\w{24}", users.text)


FORMS = {
    "/users": ("Add user", "Add database"),
    "/sources": ("Add",),
    "/config": ("Save settings",),
    "/settings": ("Resize", "Save window", "Add tag", "Delete shown"),
}


def test_who_may_only_look_is_offered_no_change(running: Service, cluster: dict[str, Any]) -> None:
    base = f"/console/clusters/{cluster['id']}"
    with visitor(running, "database:read") as somebody, visitor(running) as admin:
        for tab, buttons in FORMS.items():
            looked, could = somebody.open(base + tab), admin.open(base + tab)
            for button in buttons:
                assert not looked.has_form(button)
                assert could.has_form(button)
        assert "Create cluster" not in somebody.open("/console/clusters").text
        assert "lacks database:create" in somebody.open("/console/clusters/new").text
        assert "Tokens" not in somebody.open("/console/clusters").text
        assert "Audit log" not in somebody.open("/console/clusters").text
        assert "Audit log" not in somebody.open(f"{base}/activity").text


CHANGES: list[tuple[str, dict[str, str]]] = [
    ("/console/clusters/new", {"name": "mine", "size": "db-s-1vcpu-1gb", "region": "nyc1"}),
    ("/users", {"do": "add user", "name": "mine"}),
    ("/users/app/reset", {}),
    ("/users/app/delete", {}),
    ("/users", {"do": "add database", "name": "mine"}),
    ("/databases/defaultdb/delete", {}),
    ("/sources", {"do": "add", "value": "192.0.2.1"}),
    ("/config", {"work_mem": "64"}),
    ("/settings", {"do": "resize", "size": "db-s-1vcpu-2gb"}),
    ("/settings", {"do": "window", "day": "monday", "hour": "01:00"}),
    ("/settings/restart", {}),
    ("/backups", {"do": "now"}),
    ("/backups", {"do": "drill"}),
    ("/backups/fork", {"name": "mine"}),
    ("/backups", {"do": "schedule", "hour": "1"}),
    ("/settings", {"do": "delete", "name": "shown"}),
    ("/settings", {"do": "tag", "tag": "mine"}),
    ("/settings", {"do": "resize", "size": "so1_5-32vcpu-256gb"}),
    ("/console/clusters/new", {"name": "mine", "size": "so1_5-32vcpu-256gb", "region": "nyc1"}),
    ("/console/tokens", {"name": "mine", "scopes": "*", "expires": "1"}),
]


@pytest.mark.parametrize(("path", "fields"), CHANGES, ids=[" ".join(c[1].values()) or c[0] for c in CHANGES])
def test_the_api_refuses_what_a_token_may_not_do_whatever_is_sent(
    running: Service, cluster: dict[str, Any], path: str, fields: dict[str, str]
) -> None:
    target = path if path.startswith("/console") else f"/console/clusters/{cluster['id']}{path}"
    with running.client() as client:
        before = client.request("GET", f"/v2/databases/{cluster['id']}")["database"]
    with visitor(running, "database:read") as somebody:
        form_token = somebody.open("/console/clusters").form("Sign out").fields["form_token"][0]
        answer = somebody.http.post(target, data={"form_token": form_token, **fields})
    assert answer.status_code == 403
    assert "The token lacks the scope" in answer.text
    with running.client() as client:
        now = client.request("GET", f"/v2/databases/{cluster['id']}")["database"]
    assert (now["size"], now["maintenance_window"]) == (before["size"], before["maintenance_window"])
    assert [user["name"] for user in now["users"]] == ["doadmin", "app"]
    assert now["rules"] == []


@pytest.mark.parametrize(
    "path", ["/console/tokens", "/console/hosts", "/console/audit", "/console/audit.csv"]
)
def test_what_is_for_administrators_is_refused_to_others(running: Service, path: str) -> None:
    with visitor(running, "database:read") as somebody:
        assert "The token lacks the scope cenote:admin." in somebody.open(path, 403).text


def test_the_audit_trail_names_the_token_and_where_the_browser_was(
    running: Service, cluster: dict[str, Any]
) -> None:
    base = f"/console/clusters/{cluster['id']}"
    with visitor(running, "database:read", "database:update") as somebody, running.client() as client:
        sheet = somebody.open(f"{base}/settings")
        somebody.send(sheet, "Save window", day="friday", hour="05:00")
        entry = client.request("GET", "/v2/cenote/audit", params={"per_page": 1})["entries"][0]
    assert entry["what"] == f"PUT /v2/databases/{cluster['id']}/maintenance"
    assert (entry["token"]["name"], entry["address"]) == ("visitor", "127.0.0.1")
