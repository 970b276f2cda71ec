"""The page of backups in Chromium: in light and dark, on a telephone, under axe-core, and live."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, expect

from cenote.conf import pgbackrest
from cenote.model.paths import Layout
from tests.support.browser import (
    NARROW,
    SCHEMES,
    Scheme,
    faults_of,
    overflows,
    screenshot,
    sign_in,
    visiting,
)
from tests.support.folders import server_folder
from tests.support.pgbackrest import NEEDS_PGBACKREST, version
from tests.support.service import WITHOUT_LIMITS, Service, online_cluster, service
from tests.support.waiting import wait_until

SECONDS = 120
pytestmark = NEEDS_PGBACKREST


@pytest.fixture(scope="module")
def kept() -> Iterator[Service]:
    options = (*WITHOUT_LIMITS, "--backup-days=1")
    with (
        server_folder() as folder,
        service(f"--backups=file://{folder}/repository", *options, clusters=3) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def cluster(kept: Service) -> dict[str, Any]:
    """A cluster with a full and a differential backup, whose next one is hours away."""
    with kept.client() as client:
        made: dict[str, Any] = online_cluster(client, "orders", version=version())
        hour = (datetime.now(UTC) + timedelta(hours=12)).hour
        path = f"/v2/databases/{made['id']}/config"
        client.request("PATCH", path, json={"config": {"backup_hour": hour}})
        wait_until("the first backup is made", SECONDS, lambda: state_of(kept, made)["count"] == 1)
        kept.cenote("backup", "now", "orders", "--wait")
        return made


def state_of(running: Service, cluster: dict[str, Any]) -> Any:
    with running.client() as client:
        seen = client.request("GET", f"/v2/databases/{cluster['id']}")["database"]
    return seen["cenote"]["backups"]


def address(cluster: dict[str, Any]) -> str:
    return f"/console/clusters/{cluster['id']}/backups"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_page_has_no_fault_that_axe_knows(
    browser: Browser, kept: Service, cluster: dict[str, Any], scheme: Scheme
) -> None:
    with visiting(browser, kept, scheme=scheme) as page:
        sign_in(page, kept)
        page.goto(address(cluster))
        expect(page.locator(".window svg")).to_be_visible()
        screenshot(page, f"console-backups-kept-{scheme}")
        assert faults_of(page) == []
        for path in ("/backups/fork", ""):
            page.goto(f"/console/clusters/{cluster['id']}{path}")
            screenshot(page, f"console-backups-{path.rpartition('/')[2] or 'overview'}-{scheme}")
            assert faults_of(page) == []


@pytest.mark.parametrize("width", [NARROW[0], 360])
def test_nobody_has_to_scroll_sideways_on_a_telephone(
    browser: Browser, kept: Service, cluster: dict[str, Any], width: int
) -> None:
    with visiting(browser, kept, size=(width, NARROW[1])) as page:
        sign_in(page, kept)
        page.goto(address(cluster))
        screenshot(page, f"console-backups-kept-narrow-{width}")
        assert not overflows(page)
        assert faults_of(page) == []
        page.goto(f"{address(cluster)}/fork")
        screenshot(page, f"console-backups-fork-narrow-{width}")
        assert not overflows(page)


def test_the_first_backup_appears_by_itself(browser: Browser, kept: Service) -> None:
    with kept.client() as client, visiting(browser, kept) as page:
        made = online_cluster(client, "live", version=version())
        sign_in(page, kept)
        page.goto(address(made))
        expect(page.get_by_text("Up to date")).to_be_visible(timeout=SECONDS * 1000)
        expect(page.get_by_role("table")).to_contain_text("Full")
        client.request("DELETE", f"/v2/databases/{made['id']}")


def test_lost_wal_is_shown_as_a_gap(browser: Browser, kept: Service) -> None:
    with kept.client() as client, visiting(browser, kept) as page:
        made = online_cluster(client, "lossy", version=version())
        wait_until("the first backup is made", SECONDS, lambda: state_of(kept, made)["count"] == 1)
        # As the archive script leaves it where it had to drop a segment.
        state = Layout(kept.data_dir).cluster(UUID(made["id"])).backup_state
        (state / pgbackrest.GAP).write_text("000000010000000000000001\n")
        wait_until("a full one follows", SECONDS, lambda: state_of(kept, made)["count"] == 2)
        sign_in(page, kept)
        page.goto(address(made))
        expect(page.get_by_text("WAL was lost on")).to_be_visible()
        expect(page.locator("rect.window-gap")).to_have_count(1)
        expect(page.locator("rect.window-piece")).to_have_count(2)
        screenshot(page, "console-backups-gap")
        assert faults_of(page) == []


def test_a_fork_is_made_of_the_moment_that_was_chosen(
    browser: Browser, kept: Service, cluster: dict[str, Any]
) -> None:
    with kept.client() as client, visiting(browser, kept) as page:
        sign_in(page, kept)
        page.goto(address(cluster))
        page.get_by_role("link", name="Fork … to").last.click()
        expect(page.get_by_label("Moment (UTC)")).to_have_value(
            state_of(kept, cluster)["restorable_from"].removesuffix("Z")
        )
        page.get_by_label("Name of the new cluster").fill("by-hand")
        page.get_by_role("button", name="Create fork").click()
        expect(page.get_by_role("status")).to_contain_text(
            "by-hand is being created from the data of orders."
        )
        expect(page.locator("#cluster-head")).to_contain_text("Online", timeout=SECONDS * 1000)
        [made] = client.request("GET", "/v2/databases", params={"name": "by-hand"})["databases"]
        client.request("DELETE", f"/v2/databases/{made['id']}")
