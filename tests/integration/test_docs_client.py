"""Each example of docs/client.md and of the README, run as a script of its own against a real service.

``# -> text`` behind a line says what that line prints; ``…`` in it stands for anything.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import cenote_client
from tests.support.service import Service, added_pool, answer_of, clean_environment, online_cluster

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "client.md"
UUID = re.compile(r'"[0-9a-f]{8}-[^"]*"')
PRINTED = re.compile(r"  # -> (.+)$", re.MULTILINE)
RUN_SECONDS = 120


def examples(page: Path) -> list[str]:
    return re.findall(r"^```python(?: title=[^\n]+)?\n(.+?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


EXAMPLES = examples(PAGE)


def headline(example: str) -> str:
    """A name for an example: the first line that is particular to it."""
    lines = [line for line in example.splitlines() if line and "import" not in line]
    return lines[0][:40]


@pytest.fixture(scope="module")
def cluster(running: Service) -> str:
    """A cluster that has what the examples speak of."""
    with running.client() as client:
        made = online_cluster(client, "backend")
        added_pool(client, made["id"], "backend-pool")
        return str(made["id"])


def printed_by(script: str, running: Service, folder: Path) -> str:
    """Run a script as a user would who has done what ``cenote env`` says, and return what it prints."""
    path = folder / "example.py"
    path.write_text(script)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        capture_output=True,
        text=True,
        env=clean_environment() | running.environment(),
        check=False,
        timeout=RUN_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def pattern_of(said: list[str]) -> str:
    """A pattern for an output that has these lines, in this order; between them there may be others."""
    lines = [".*".join(map(re.escape, line.split("…"))) for line in said]
    return r"(?s:.*?)".join(f"^{line}$" for line in lines)


@pytest.mark.parametrize("example", EXAMPLES, ids=headline)
def test_an_example_of_the_client_page_prints_what_it_says(
    running: Service, cluster: str, example: str, tmp_path: Path
) -> None:
    script = example if "import" in example and "Client" in example else EXAMPLES[0] + example
    output = printed_by(UUID.sub(f'"{cluster}"', script), running, tmp_path)
    said = PRINTED.findall(script)
    assert re.search(pattern_of(said), output, re.MULTILINE), f"not as the example says:\n{output}"


def test_the_example_of_the_readme_prints_an_address_that_connects(
    running: Service, cluster: str, tmp_path: Path
) -> None:
    (example,) = examples(ROOT / "README.md")
    uri = printed_by(UUID.sub(f'"{cluster}"', example), running, tmp_path).strip()
    assert answer_of(uri) == 42


@pytest.mark.parametrize("name", cenote_client.__all__)
def test_the_client_page_tells_of_every_public_name(name: str) -> None:
    assert re.search(rf"\b{name}\b", PAGE.read_text())
