"""The console in Chromium: with scripts, in light and dark, on a telephone, and under axe-core."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import (
    NARROW,
    SCHEMES,
    WIDE,
    Scheme,
    faults_of,
    overflows,
    screenshot,
    sign_in,
    visiting,
)
from tests.support.service import WITHOUT_LIMITS, Service, added_pool, online_cluster

pytestmark = pytest.mark.service(*WITHOUT_LIMITS)

TABS = {
    "overview": "",
    "connect": "/connect",
    "users": "/users",
    "sources": "/sources",
    "config": "/config",
    "backups": "/backups",
    "activity": "/activity",
    "nodes": "/nodes",
    "settings": "/settings",
}
PAGES = {
    "clusters": "/console/clusters",
    "new-cluster": "/console/clusters/new",
    "tokens": "/console/tokens",
    "hosts": "/console/hosts",
    "audit": "/console/audit",
}
CREATING_SECONDS = 60


@pytest.fixture(scope="module")
def cluster(running: Service) -> Iterator[dict[str, Any]]:
    with running.client() as client:
        made: dict[str, Any] = online_cluster(client, "backend", size="db-s-1vcpu-2gb")
        added_pool(client, made["id"], "backend-pool", size=10)
        path = f"/v2/databases/{made['id']}"
        client.request("POST", f"{path}/users", json={"name": "app", "cenote": {"access": "readwrite"}})
        client.request("POST", f"{path}/dbs", json={"name": "orders"})
        rules = [{"type": "ip_addr", "value": "127.0.0.1", "description": "this machine"}]
        client.request("PUT", f"{path}/firewall", json={"rules": rules})
        online_cluster(client, "analytics")
        yield client.request("GET", path)["database"]


def everything(cluster: dict[str, Any]) -> dict[str, str]:
    base = f"/console/clusters/{cluster['id']}"
    return PAGES | {name: base + tab for name, tab in TABS.items()} | {"delete": f"{base}/users/app/delete"}


# -- What it looks like


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_page_has_a_fault_that_axe_knows(
    browser: Browser, running: Service, cluster: dict[str, Any], scheme: Scheme
) -> None:
    with visiting(browser, running, scheme=scheme) as page:
        page.goto("/console/sign-in")
        found = {"sign-in": faults_of(page)}
        screenshot(page, f"console-sign-in-{scheme}")
        sign_in(page, running)
        for name, path in everything(cluster).items():
            page.goto(path)
            found[name] = faults_of(page)
            screenshot(page, f"console-{name}-{scheme}")
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_axe_finds_what_is_wrong(browser: Browser, running: Service) -> None:
    with visiting(browser, running) as page:
        page.goto("/console/sign-in")
        page.evaluate("document.documentElement.removeAttribute('lang')")
        assert [fault.partition(":")[0] for fault in faults_of(page)] == ["html-has-lang"]


@pytest.mark.parametrize("width", [NARROW[0], 360])
def test_nobody_has_to_scroll_sideways_on_a_telephone(
    browser: Browser, running: Service, cluster: dict[str, Any], width: int
) -> None:
    with visiting(browser, running, size=(width, NARROW[1])) as page:
        sign_in(page, running)
        wide = []
        for name, path in everything(cluster).items():
            page.goto(path)
            if overflows(page):
                wide.append(name)
            if width == NARROW[0]:
                screenshot(page, f"console-{name}-narrow")
                assert faults_of(page) == []
    assert wide == []


# -- With the keyboard


def test_signing_in_and_reaching_the_content_takes_a_keyboard_only(
    browser: Browser, running: Service
) -> None:
    with visiting(browser, running) as page:
        page.goto("/console/sign-in")
        page.keyboard.type(running.environment()["DIGITALOCEAN_TOKEN"])  # the field has the focus
        page.keyboard.press("Enter")
        page.wait_for_url("**/console/clusters")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to main content")).to_be_focused()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"


# -- With scripts


def test_a_cluster_is_created_and_its_state_comes_by_itself(
    browser: Browser, running: Service, cluster: dict[str, Any]
) -> None:
    with visiting(browser, running) as page:
        sign_in(page, running)
        page.get_by_role("link", name="Create cluster").click()
        page.get_by_label("Name").fill("by-hand")
        page.get_by_role("radio", name="db-s-1vcpu-2gb").check()
        page.get_by_role("button", name="Create cluster").click()
        anyway = page.get_by_role("button", name="Create anyway")
        expect(page.get_by_text("by-hand is being created.").or_(anyway).first).to_be_visible()
        if anyway.count():  # on a small host
            anyway.click()
        expect(page.get_by_role("status")).to_contain_text("by-hand is being created.")
        head = page.locator("#cluster-head")
        expect(head).to_contain_text("Online", timeout=CREATING_SECONDS * 1000)
        expect(page.get_by_text("by-hand is being created.")).to_have_count(0)
        page.get_by_role("link", name="Settings").click()
        page.get_by_label("Type the cluster's name to confirm: by-hand").fill("by-hand")
        page.get_by_role("button", name="Delete by-hand").click()
        expect(page.get_by_role("status")).to_contain_text("Cluster by-hand deleted.")
        assert "by-hand" not in page.get_by_role("table").inner_text()


def test_the_password_comes_when_asked_for_and_goes_again(
    browser: Browser, running: Service, cluster: dict[str, Any]
) -> None:
    password = cluster["connection"]["password"]
    with visiting(browser, running) as page:
        sign_in(page, running)
        page.goto(f"/console/clusters/{cluster['id']}/connect")
        assert password not in page.content()
        page.get_by_role("button", name="Show password").click()
        expect(page.locator("#field-password")).to_have_text(password)
        expect(page.locator("#text-uri")).to_contain_text(f"doadmin:{password}@")
        page.get_by_role("button", name="Hide password").click()
        expect(page.locator("#field-password")).to_have_text("••••••••••••")
        assert password not in page.content()


def test_copying_takes_the_password_along_without_showing_it(
    browser: Browser, running: Service, cluster: dict[str, Any]
) -> None:
    with visiting(browser, running) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        sign_in(page, running)
        page.goto(f"/console/clusters/{cluster['id']}/connect")
        page.get_by_role("button", name="Copy URI").click()
        expect(page.get_by_role("button", name="Copied URI")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert f"doadmin:{cluster['connection']['password']}@" in copied
        assert cluster["connection"]["password"] not in page.content()


def test_without_scripts_there_is_no_button_that_does_nothing(
    browser: Browser, running: Service, cluster: dict[str, Any]
) -> None:
    with visiting(browser, running, scripts=False) as page:
        sign_in(page, running)
        page.goto(f"/console/clusters/{cluster['id']}/connect")
        expect(page.get_by_role("button", name="Copy URI")).to_be_hidden()
        page.get_by_role("button", name="Show password").click()
        expect(page.locator("#field-password")).to_have_text(cluster["connection"]["password"])


def test_nothing_is_fetched_from_elsewhere(
    browser: Browser, running: Service, cluster: dict[str, Any]
) -> None:
    asked: list[str] = []

    def note(page: Page) -> None:
        page.on("request", lambda request: asked.append(request.url))

    with visiting(browser, running, size=WIDE) as page:
        note(page)
        sign_in(page, running)
        for path in everything(cluster).values():
            page.goto(path)
    here = running.environment()["DIGITALOCEAN_API_URL"]
    assert [url for url in asked if not url.startswith(here)] == []
