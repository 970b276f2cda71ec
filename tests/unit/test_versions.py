"""The version of all packages: one, wherever it stands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import cenote
import cenote_client

ROOT = Path(__file__).parents[2]
PACKAGES = ("cenote", "cenote-client", "cenote-pydo")


def project(name: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text())[
        "project"
    ]
    return found


def test_all_packages_have_the_version_that_the_service_says() -> None:
    assert {name: project(name)["version"] for name in PACKAGES} == dict.fromkeys(
        PACKAGES, cenote.__version__
    )
    assert cenote_client.__version__ == cenote.__version__
    options = (ROOT / "packages/cenote-pydo/src/pydo/_options.py").read_text()
    assert f'VERSION = "{cenote.__version__}"' in options
    assert f"cenote-client=={cenote.__version__}" in project("cenote-pydo")["dependencies"]


def test_newest_heading_of_the_changes_is_of_this_version() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == cenote.__version__
