"""What scripts add to the pages of a cluster, in Chromium: following a log, copying, times, ranges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect

from cenote.console.times import relative
from cenote_client import Client
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
from tests.support.console import base_of
from tests.support.service import WITHOUT_LIMITS, Service, added_pool, online_cluster

pytestmark = pytest.mark.service(*WITHOUT_LIMITS)

CHANGING = 60_000  # milliseconds that a change of a cluster may take
TICK = 30_000  # milliseconds, more than pass until the words of times are looked at again
MASKED = "••••••••••••"


@pytest.fixture(scope="module")
def cluster(client: Client) -> dict[str, Any]:
    made = online_cluster(client, "live")
    added_pool(client, made["id"], "web", size=3)
    added_pool(client, made["id"], "jobs", size=5)
    found: dict[str, Any] = client.request("GET", f"/v2/databases/{made['id']}")["database"]
    return found


@pytest.fixture
def page(browser: Browser, running: Service) -> Iterator[Page]:
    with visiting(browser, running) as found:
        found.context.grant_permissions(["clipboard-read", "clipboard-write"])
        sign_in(found, running)
        yield found


def complain(cluster: dict[str, Any], *texts: str) -> None:
    """Have the server log an error for each text, in this order."""
    with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as connection:
        for text in texts:
            with pytest.raises(psycopg.errors.RaiseException):
                connection.execute(f"DO $$ BEGIN RAISE EXCEPTION '%', {text!r}; END $$")


# -- Logs


def in_view(page: Page, text: str) -> bool:
    """Whether the last line with this text is inside of the log's visible part."""
    return bool(
        page.evaluate(
            """text => {
              const box = document.getElementById("log-lines").getBoundingClientRect();
              const spans = [...document.querySelectorAll("#log-lines span")];
              const line = spans.findLast((one) => one.textContent.includes(text))?.getBoundingClientRect();
              return Boolean(line) && line.bottom <= box.bottom + 1 && line.top >= box.top - 1;
            }""",
            text,
        )
    )


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_the_log_opens_at_its_newest_line(
    browser: Browser, running: Service, cluster: dict[str, Any], scripts: bool
) -> None:
    complain(cluster, *[f"complaint {number}" for number in range(60)], "the newest one")
    with visiting(browser, running, scripts=scripts) as page:
        sign_in(page, running)
        page.goto(f"{base_of(cluster)}/activity")
        expect(page.locator("#log-lines")).to_contain_text("the newest one")
        if scripts:
            assert in_view(page, "the newest one")
            assert not in_view(page, "complaint 0")
        screenshot(page, f"log-{'with' if scripts else 'without'}-scripts", whole=False)


def test_a_log_is_followed_and_pauses_while_older_lines_are_read(page: Page, cluster: dict[str, Any]) -> None:
    complain(cluster, *[f"filler {number}" for number in range(60)])
    page.goto(f"{base_of(cluster)}/activity")
    page.get_by_role("button", name="Follow").click()
    expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#log-note")).to_have_text("Following.")
    complain(cluster, "came while following")
    log = page.locator("#log-lines")
    expect(log).to_contain_text("came while following")
    assert in_view(page, "came while following")
    assert faults_of(page) == []

    log.evaluate("box => { box.scrollTop = -500; }")
    expect(page.locator("#log-note")).to_contain_text("Paused")
    complain(cluster, "came while paused")
    page.wait_for_timeout(3000)  # longer than two questions are apart
    expect(log).not_to_contain_text("came while paused")
    log.evaluate("box => { box.scrollTop = 0; }")
    expect(log).to_contain_text("came while paused")

    page.get_by_role("button", name="Follow").click()
    expect(page.locator("#log-note")).to_have_text("Stopped.")
    complain(cluster, "came after the end")
    page.wait_for_timeout(3000)
    expect(log).not_to_contain_text("came after the end")


def test_following_keeps_the_filter(page: Page, cluster: dict[str, Any]) -> None:
    page.goto(f"{base_of(cluster)}/activity")
    page.get_by_label("Message contains").fill("needle")
    page.get_by_label("Severity").select_option("Errors")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("button", name="Follow").click()
    expect(page.locator("#log-note")).to_have_text("Following.")
    complain(cluster, "only hay", "a NEEDLE in it")
    expect(page.locator("#log-lines")).to_contain_text("a NEEDLE in it")
    expect(page.locator("#log-lines")).not_to_contain_text("only hay")


# -- The overview


def test_the_uris_of_the_overview_are_copied_with_the_password_and_connect(
    page: Page, cluster: dict[str, Any], client: Client
) -> None:
    password = cluster["connection"]["password"]
    page.goto(base_of(cluster))
    expect(page.locator("#uri-direct")).to_contain_text(f":{MASKED}@")
    for button, expected in (("Copy URI, direct", "defaultdb"), ("Copy URI of pool web", "web")):
        page.get_by_role("button", name=button).click()
        expect(page.get_by_role("button", name=button.replace("Copy", "Copied"))).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        with psycopg.connect(copied) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert f"/{expected}?" in copied
    page.get_by_role("button", name="Copy psql, direct").click()
    expect(page.get_by_role("button", name="Copied psql, direct")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith("psql 'postgresql://doadmin:")
    assert password not in page.content()
    page.get_by_role("button", name="Show password").click()
    expect(page.locator("#uri-pool-web")).to_contain_text(password)
    assert faults_of(page) == []


def test_the_uris_are_shown_without_scripts_too(
    browser: Browser, running: Service, cluster: dict[str, Any]
) -> None:
    with visiting(browser, running, scripts=False) as page:
        sign_in(page, running)
        page.goto(base_of(cluster))
        assert cluster["connection"]["password"] not in page.content()
        page.get_by_role("button", name="Show password").click()
        expect(page.locator("#uri-direct")).to_contain_text(cluster["connection"]["password"])
        page.get_by_role("link", name="Hide password").click()
        expect(page.locator("#uri-direct")).to_contain_text(MASKED)


# -- Messages


def test_a_message_about_a_change_in_progress_goes_when_it_is_over(
    page: Page, client: Client, running: Service
) -> None:
    cluster = online_cluster(client, "growing")
    page.goto(f"{base_of(cluster)}/settings")
    page.get_by_role("radio", name="db-s-1vcpu-2gb").check()
    page.get_by_role("button", name="Resize", exact=True).click()
    anyway = page.get_by_role("button", name="Resize anyway")
    message = page.get_by_text("Resizing the cluster to db-s-1vcpu-2gb.")
    expect(message.or_(anyway).first).to_be_visible()
    if anyway.count():  # on a small host
        anyway.click()
    expect(message).to_be_visible()
    expect(message).to_have_count(0, timeout=CHANGING)
    expect(page.locator("#cluster-head")).to_contain_text("Online")
    page.reload()
    expect(message).to_have_count(0)


def test_a_message_about_what_was_saved_goes_with_the_next_change(
    page: Page, cluster: dict[str, Any]
) -> None:
    page.goto(f"{base_of(cluster)}/settings")
    page.get_by_role("button", name="Save window").click()
    message = page.get_by_text("Updates are installed on")
    expect(message).to_be_visible()
    page.get_by_label("New tag").fill("x")
    expect(message).to_have_count(0)


# -- Questions


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_asks_first_has_no_fault_that_axe_knows(
    browser: Browser, running: Service, cluster: dict[str, Any], client: Client, scheme: Scheme
) -> None:
    with visiting(browser, running, scheme=scheme) as page:
        sign_in(page, running)
        page.goto(f"{base_of(cluster)}/sources")
        page.get_by_label("Address or network").fill("192.0.2.7")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("heading", name="Admit 192.0.2.7 only?")).to_be_visible()
        assert faults_of(page) == []
        screenshot(page, f"live-lock-out-{scheme}")
        page.goto("/console/clusters/new")
        page.get_by_label("Name").fill("huge")
        page.get_by_text("Storage-optimized", exact=True).click()
        page.get_by_role("radio", name="so1_5-32vcpu-256gb").check()
        page.get_by_role("button", name="Create cluster").click()
        expect(page.get_by_role("alert")).to_contain_text("Memory: the size has 256 GiB")
        assert faults_of(page) == []
        screenshot(page, f"live-larger-{scheme}", whole=False)
        page.goto(f"{base_of(cluster)}/activity")
        screenshot(page, f"live-activity-{scheme}", whole=False)
        page.goto(f"{base_of(cluster)}/pools?minutes=60")
        screenshot(page, f"live-pools-{scheme}")
    assert client.request("GET", f"/v2/databases/{cluster['id']}/firewall")["rules"] == []


def test_a_new_password_is_asked_about_shown_once_and_copied(
    page: Page, cluster: dict[str, Any], client: Client
) -> None:
    place = f"/v2/databases/{cluster['id']}/users"
    client.request("POST", place, json={"name": "app"})
    before = client.request("GET", f"{place}/app")["user"]["password"]
    page.goto(f"{base_of(cluster)}/users")
    page.get_by_role("link", name="Reset password of app").click()
    page.get_by_role("link", name="Cancel").click()
    assert client.request("GET", f"{place}/app")["user"]["password"] == before
    page.get_by_role("link", name="Reset password of app").click()
    assert faults_of(page) == []
    page.get_by_role("button", name="Reset password").click()
    after = client.request("GET", f"{place}/app")["user"]["password"]
    assert after != before
    expect(page.get_by_label("Password of app", exact=True)).to_have_text(after)
    page.get_by_role("button", name="Copy password").click()
    expect(page.get_by_role("button", name="Copied password")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == after
    page.reload()
    assert after not in page.content()
    assert client.request("GET", f"{place}/app")["user"]["password"] == after


# -- Times and tables


def test_the_words_of_times_are_those_of_the_server_and_stay_true(
    page: Page, cluster: dict[str, Any]
) -> None:
    page.goto("/console/tokens")
    shown = page.locator("time.ago").first
    assert re.fullmatch(r"\d+ \w+ \d{4}, \d\d:\d\d:\d\d UTC", shown.get_attribute("title") or "")
    ages = [0, 9, 10, 59, 60, 3599, 3600, 86399, 86400, 2591999, 2592000, 31535999, 31536000, 99999999]
    seconds = [age + 0.5 for age in ages] + [-age - 0.5 for age in ages]
    page.evaluate(
        """seconds => {
          const now = 1000 * Number(document.documentElement.dataset.now);
          for (const one of seconds) {
            const time = document.createElement("time");
            time.className = "ago tried";
            time.dateTime = new Date(now - 1000 * one).toISOString();
            time.textContent = "?";
            document.getElementById("main").append(time);
          }
        }""",
        seconds,
    )
    tried = page.locator("time.tried")
    expect(tried.last).not_to_have_text("?", timeout=TICK)
    words = tried.all_inner_texts()
    later = [one + 12 for one in seconds]  # the page may have been open so long
    for word, first, last in zip(words, seconds, later, strict=True):
        assert word in {relative(first + part) for part in range(int(last - first) + 1)}, first


def test_a_table_is_sorted_by_its_headings_and_stays_so(page: Page, cluster: dict[str, Any]) -> None:
    page.goto(f"{base_of(cluster)}/pools")

    def names() -> list[str]:
        return page.locator(".pool-head h2").all_inner_texts()

    assert names() == ["web", "jobs"]
    page.get_by_role("navigation", name="Order of the pools").get_by_role("link", name="name").click()
    expect(page).to_have_url(re.compile(r"\?sort=name$"))
    assert names() == ["jobs", "web"]
    page.reload()
    assert names() == ["jobs", "web"]
    page.goto("/console/tokens")
    page.get_by_role("link", name="Name", exact=True).click()
    heading = page.get_by_role("columnheader", name="Name")
    expect(heading).to_have_attribute("aria-sort", "ascending")
    heading.get_by_role("link").click()
    expect(heading).to_have_attribute("aria-sort", "descending")


# -- Charts


def span_of(page: Page) -> str:
    return page.locator('[data-pool="web"] .from').first.inner_text()


def wait_for_width(page: Page) -> None:
    """Wait until the chart of ``web`` begins at its left end; it spans 20 seconds at least."""
    # A function: the page's policy lets no expression be evaluated again.
    page.wait_for_function(
        "() => { const b = document.querySelector('[data-pool=web] .p-size').getBBox();"
        " return b.x === 0 && b.width > 500; }"
    )


def test_a_new_pool_is_drawn_over_its_own_time_in_every_range(page: Page, cluster: dict[str, Any]) -> None:
    place = f"{base_of(cluster)}/pools"
    page.goto(place)
    wait_for_width(page)
    for words, minutes in (("1 hour", "60"), ("24 hours", "1440"), ("15 minutes", "")):
        page.get_by_role("navigation", name="Range of the charts").get_by_role("link", name=words).click()
        expect(page).to_have_url(re.compile(f"pools\\?minutes={minutes}$" if minutes else "pools$"))
        assert re.fullmatch(r"−\d+ (s|min)", span_of(page))
        wait_for_width(page)
    assert faults_of(page) == []


def test_the_range_is_kept_by_forms_and_by_the_stream(
    page: Page, cluster: dict[str, Any], client: Client
) -> None:
    page.goto(f"{base_of(cluster)}/pools?minutes=60&sort=name")
    page.get_by_text("Change web").click()
    page.locator("#pool-web").get_by_label("Size").fill("4")
    page.get_by_role("button", name="Save web").click()
    expect(page.get_by_text("Pool web updated.")).to_be_visible()
    expect(page).to_have_url(re.compile(r"pools\?minutes=60&sort=name#pool-web$"))
    stream = page.locator("#pools").get_attribute("data-stream") or ""
    assert stream.endswith("/pools/stream?minutes=60&sort=name")
    before = page.locator('[data-pool="web"] .p-size').get_attribute("d")
    page.wait_for_function(
        "before => document.querySelector('[data-pool=web] .p-size').getAttribute('d') !== before", arg=before
    )


def test_pages_with_sorted_tables_fit_on_a_telephone(
    browser: Browser, running: Service, cluster: dict[str, Any]
) -> None:
    with visiting(browser, running, size=NARROW) as page:
        sign_in(page, running)
        for name in ("", "/pools", "/users", "/activity", "/settings"):
            page.goto(base_of(cluster) + name)
            assert not overflows(page), name
            assert faults_of(page) == [], name
            screenshot(page, f"live{name.replace('/', '-')}-narrow")
        page.goto("/console/clusters")
        expect(page.get_by_role("link", name="Created")).to_be_visible()
        screenshot(page, "live-clusters-narrow")
