"""No page shows a command or code of which nobody knows whether it works.

A page either has a test that runs what it shows, and there a list of what it does not run, with reasons; or
it stands here with the reason why nothing of it is run.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import BESIDE, DOCS, PAGES, ROOT

RUN = {
    "README.md": "test_docs_client.py",
    "backup.md": "test_docs_backup.py",
    "ci.md": "test_docs_start.py",
    "cli.md": "test_docs_cli.py",
    "client.md": "test_docs_client.py",
    "connecting.md": "test_docs_connecting.py",
    "containers.md": "test_docs_containers.py",
    "deleting.md": "test_docs_deleting.py",
    "moving.md": "test_docs_moving.py",
    "pool-modes.md": "test_docs_pool_modes.py",
    "quickstart.md": "test_docs_start.py",
    "server.md": "test_docs_server.py",
    "tools.md": "test_docs_moving.py",
    "trash.md": "test_docs_trash.py",
    "troubleshooting.md": "test_docs_troubleshooting.py",
    "uninstall.md": "test_docs_uninstall.py",
    "upgrade.md": "test_docs_server.py",
}
NOT_RUN = {
    "CONTRIBUTING.md": "its commands are what continuous integration runs, and what ran this test",
    "ARCHITECTURE.md": "a drawing",
    "configuration.md": "one call, whose body is that of test_api_config.py",
    "online-migration.md": "calls of the API with another server; test_online_migration.py makes the same",
    "dns.md": "configurations of name servers; test_names_in_dns.py runs one with the same",
    "failover.md": "commands on two hosts, which test_fleet_nodes.py types",
    "hosts.md": "commands on three hosts, which test_join.py types",
    "log-sinks.md": "a call and its answer, which test_api_log_sinks.py and test_log_sinks_syslog.py make",
    "major-upgrade.md": "two statements, each with names of an owner's own",
    "monitoring.md": "calls with a password in their place; test_api_metrics.py makes them",
    "moving-clusters.md": "commands on two hosts, whose calls test_fleet_moves.py makes",
    "operating.md": "bodies of answers, which the tests of the API compare with their schema",
    "performance.md": "make bench, and what it printed once",
    "replicas.md": "commands on a cluster, which test_nodes_faces.py and test_cli_parity.py type",
    "store.md": "what a fleet says when members are lost; test_store_fleet.py loses them",
    "pools.md": "bodies of answers, and a call whose answer does not end",
    "privileges.md": "requests, which test_engine_privileges.py and test_api_privileges.py make",
}
SHOWS = re.compile(r"^ *```|^\n( {4,}\S[^\n]*\n)+(?=\n|\Z)", re.MULTILINE)


def showing() -> list[Path]:
    """Return the pages that have a block, fenced or indented, which is not the going on of a list."""
    return [page for page in PAGES if SHOWS.search(page.read_text())]


@pytest.mark.parametrize("page", showing(), ids=lambda page: page.name)
def test_a_page_with_code_has_a_test_or_a_reason_why_not(page: Path) -> None:
    assert (page.name in RUN) != (page.name in NOT_RUN)


@pytest.mark.parametrize("page", RUN)
def test_the_test_of_a_page_is_there_and_reads_it(page: str) -> None:
    text = (ROOT / "tests" / "integration" / RUN[page]).read_text()
    assert page in text


def test_every_page_of_these_lists_is_there() -> None:
    there = {page.name for page in [*BESIDE, *DOCS.glob("*.md")]}
    assert {*RUN, *NOT_RUN} <= there
