"""Chromium, driven by playwright: rendered pages, screenshots, and axe-core."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support import npm
from tests.support.service import Service

SCREENSHOTS = npm.BUILD / "screenshots"
SECONDS = 30  # how long a step in the browser may take
WIDE, NARROW = (1280, 900), (390, 844)
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
_QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium; the test is skipped where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    # As root it refuses to put its pages into sandboxes.
    arguments = [*_QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def visiting(
    browser: Browser,
    running: Service,
    *,
    scheme: Scheme = "light",
    size: tuple[int, int] = WIDE,
    scripts: bool = True,
) -> Iterator[Page]:
    """A browser window on a service; the test fails at its end if the browser's console has errors."""
    context = browser.new_context(
        base_url=running.environment()["DIGITALOCEAN_API_URL"],
        color_scheme=scheme,
        viewport={"width": size[0], "height": size[1]},
        ignore_https_errors=True,  # its certificate is of the service's own authority
        java_script_enabled=scripts,
        reduced_motion="reduce",
    )
    context.set_default_timeout(SECONDS * 1000)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    try:
        yield page
        assert errors == [], f"the browser's console has {errors}"
    finally:
        context.close()


def sign_in(page: Page, running: Service, token: str | None = None) -> None:
    """Sign in with the administrator's token or another one, through the form."""
    page.goto("/console/sign-in")
    page.get_by_label("Token").fill(token or running.environment()["DIGITALOCEAN_TOKEN"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/console/clusters")


def screenshot(page: Page, name: str, *, whole: bool = True) -> Path:
    """Save a screenshot of the page below ``build/screenshots`` and return its path."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=path, full_page=whole)
    return path


def faults_of(page: Page) -> list[str]:
    """Return the violations that axe-core finds on the page."""
    source = (npm.package("axe-core", "4.14.1") / "axe.min.js").read_text()
    page.evaluate(source)  # by the browser's own debugger, which the page's policy does not bind
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {rule['help']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def overflows(page: Page) -> bool:
    """Whether the page scrolls horizontally."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
