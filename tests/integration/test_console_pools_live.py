"""The connection pools page in a real browser, under real load: live charts, and advice that is taken."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from cenote_client import Client
from tests.support.browser import (
    NARROW,
    SCHEMES,
    faults_of,
    overflows,
    screenshot,
    sign_in,
    visiting,
)
from tests.support.service import WITHOUT_LIMITS, Service, added_pool, online_cluster

pytestmark = pytest.mark.service(*WITHOUT_LIMITS)

SECONDS = 60 * 1000  # in milliseconds, that something on the page may take to come about


@contextlib.contextmanager
def crowd(uri: str, clients: int, folder: Path, rest: str = "20 ms") -> Iterator[None]:
    """pgbench with so many clients, each of which asks, rests, and asks again."""
    program = shutil.which("pgbench")
    if program is None:
        pytest.skip("needs pgbench, which comes with PostgreSQL")
    script = folder / "ask.sql"
    script.write_text(f"SELECT pg_sleep(0.08);\n\\sleep {rest}\n")
    process = subprocess.Popen(
        [program, "-n", "-f", str(script), f"-c{clients}", "-j1", "-T600", uri],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def chart(page: Page, pool: str, of: str) -> str:
    return page.locator(f'[data-pool="{pool}"] .p-{of}').get_attribute("d") or ""


def value(page: Page, pool: str, what: str) -> Any:
    return page.locator(f'[data-pool="{pool}"] [data-v="{what}"]')


def test_load_is_seen_advice_is_taken_and_the_waiting_ends(
    browser: Browser, running: Service, client: Client, tmp_path: Path
) -> None:
    cluster = online_cluster(client, "backend")
    with visiting(browser, running) as page:
        sign_in(page, running)
        page.goto(f"/console/clusters/{cluster['id']}/pools")
        page.get_by_label("Name").fill("web")
        page.get_by_label("Size").fill("2")
        page.get_by_role("button", name="Create pool").click()
        expect(page.get_by_text("Pool web is ready.")).to_be_visible()
        expect(value(page, "web", "waiting")).to_have_text("0")

        uri = client.databases.pool_uri(cluster["id"], "web")
        with crowd(uri, 9, tmp_path):
            card = page.locator('[data-pool="web"]')
            waiting = value(page, "web", "waiting")
            expect(waiting).not_to_have_text("0", timeout=SECONDS)
            assert 0 < int(waiting.inner_text()) <= 7  # nine clients, two servers
            before = chart(page, "web", "waiting")
            assert before
            page.wait_for_function(
                "before => document.querySelector('[data-pool=web] .p-waiting').getAttribute('d') !== before",
                arg=before,
            )
            expect(card.locator(".waits")).to_be_visible()
            expect(page.locator("#pools-announced")).to_contain_text("Pool web:", timeout=SECONDS)

            grow = card.get_by_role("button", name="Grow web from 2 to")
            expect(grow).to_be_visible(timeout=SECONDS)
            assert "grow the pool by" in card.inner_text()
            assert faults_of(page) == []
            screenshot(page, "pools-waiting")
            grow.click()
            expect(page.get_by_text("Pool web updated.")).to_be_visible()
            size = client.databases.get_connection_pool(cluster["id"], "web")["pool"]["size"]
            assert size > 2
            expect(value(page, "web", "size")).to_have_text(str(size))
            expect(card.locator(".advice")).to_have_count(0, timeout=SECONDS)
            expect(value(page, "web", "waiting")).to_have_text("0", timeout=SECONDS)
            screenshot(page, "pools-grown")

        page.get_by_text("Change web").click()
        page.get_by_role("link", name="Delete web").click()
        page.get_by_role("button", name="Delete pool").click()
        expect(page.get_by_text("Pool web deleted.")).to_be_visible()
        assert client.databases.list_connection_pools(cluster["id"])["pools"] == []


def test_the_page_reads_well_in_the_light_in_the_dark_and_on_a_telephone(
    browser: Browser, running: Service, client: Client, tmp_path: Path
) -> None:
    cluster = online_cluster(client, "shown")
    uri = added_pool(client, cluster["id"], "web", size=3)["connection"]["uri"]
    added_pool(client, cluster["id"], "reports", size=5, mode="session")
    added_pool(client, cluster["id"], "batch.jobs", size=6, user="")
    calm = client.databases.pool_uri(cluster["id"], "reports")
    with contextlib.ExitStack() as stack:
        stack.enter_context(crowd(uri, 8, tmp_path))
        (tmp_path / "calm").mkdir()
        stack.enter_context(crowd(calm, 3, tmp_path / "calm", "1500 ms"))
        for scheme in SCHEMES:
            for size, name in (((1280, 900), f"pools-{scheme}"), (NARROW, f"pools-{scheme}-narrow")):
                with visiting(browser, running, scheme=scheme, size=size) as page:
                    sign_in(page, running)
                    page.goto(f"/console/clusters/{cluster['id']}/pools")
                    expect(page.get_by_role("button", name="Grow web")).to_be_visible(timeout=SECONDS)
                    assert faults_of(page) == []
                    assert not overflows(page)
                    screenshot(page, name)


def test_what_somebody_else_changes_is_seen(browser: Browser, running: Service, client: Client) -> None:
    cluster = online_cluster(client, "shared")
    added_pool(client, cluster["id"], "web", size=3)
    with visiting(browser, running) as page:
        sign_in(page, running)
        page.goto(f"/console/clusters/{cluster['id']}/pools")
        expect(page.get_by_text("19 left")).to_be_visible()
        body: Any = {"mode": "transaction", "size": 5, "db": "defaultdb"}
        client.databases.update_connection_pool(cluster["id"], "web", body)
        expect(value(page, "web", "size")).to_have_text("5", timeout=SECONDS)
        expect(page.get_by_text("17 left")).to_be_visible()
        added_pool(client, cluster["id"], "jobs", size=1)
        expect(page.get_by_role("heading", name="jobs")).to_be_visible(timeout=SECONDS)


def test_a_page_that_is_left_open_ends_with_its_token(
    browser: Browser, running: Service, client: Client
) -> None:
    cluster = online_cluster(client, "left-open")
    added_pool(client, cluster["id"], "web")
    body = {"name": "short", "scopes": ["database:read"]}
    token = client.request("POST", "/v2/cenote/tokens", json=body)["token"]
    with visiting(browser, running) as page:
        sign_in(page, running, token["token"])
        page.goto(f"/console/clusters/{cluster['id']}/pools")
        expect(value(page, "web", "waiting")).to_have_text("0")
        client.request("DELETE", f"/v2/cenote/tokens/{token['id']}")
        page.wait_for_url("**/console/sign-in**", timeout=SECONDS)
