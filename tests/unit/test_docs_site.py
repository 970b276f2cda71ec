"""The documentation holds together: every page can be found, and every link leads somewhere.

``make docs`` checks the links of the site; these are the links as a reader of the repository sees them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.pages import BESIDE, PAGES, ROOT, prose

LINK = re.compile(
    r"(?<!!)\[[^]]*\]\(([^)\s]+)\)|<(?:img|source)\b[^>]*\bsrc(?:set)?=\"([^\"]+)\"|!\[[^]]*\]\(([^)\s]+)\)"
)
HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)
TOPS = ("packages", "tests", "tools", "scripts", "docs", "bench", "faults", "monitoring", "packaging")
CASES = [(page, link) for page in PAGES for link in ["".join(found) for found in LINK.findall(prose(page))]]


def named(entry: Any) -> Iterator[str]:
    """Go through the pages of a navigation."""
    if isinstance(entry, str):
        yield entry
    for inner in entry if isinstance(entry, list) else entry.values() if isinstance(entry, dict) else ():
        yield from named(inner)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as a repository's host makes them."""
    plain = [re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading) for heading in HEADING.findall(prose(page))]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def test_the_navigation_has_every_page_once() -> None:
    pages = list(named(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    beside = {"README.md": "index.md"} | {
        path.name: path.name.lower() for path in BESIDE if path.name != "README.md"
    }
    expected = [str(path.relative_to(ROOT / "docs")) for path in PAGES if path not in BESIDE]
    assert sorted(pages) == sorted([*expected, *beside.values()])


@pytest.mark.parametrize(("page", "link"), CASES, ids=lambda value: str(getattr(value, "name", value)))
def test_a_link_leads_to_a_file_and_a_heading_that_are_there(page: Path, link: str) -> None:
    if re.match(r"[a-z]+:", link):
        return
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    assert target.exists(), f"{page.name} names {link}"
    assert target.is_relative_to(ROOT)
    if anchor:
        assert anchor in anchors(target), f"{target.name} has no heading {anchor!r}"


def test_each_module_that_the_architecture_names_is_there() -> None:
    """It names them by the end of their path, most without the package."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named_ones = set(re.findall(r"`([\w/.-]+\.(?:py|sh|txt|md|yml))`", text))
    assert len(named_ones) > 50
    there = [f"/{path.relative_to(ROOT)}" for top in TOPS for path in (ROOT / top).rglob("*.*")]
    missing = {name for name in named_ones if not any(path.endswith(f"/{name}") for path in there)}
    assert missing == set()
