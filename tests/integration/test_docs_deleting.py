"""The commands of docs/deleting.md, on a real service."""

from __future__ import annotations

from pathlib import Path

from tests.support import shell
from tests.support.pages import blocks
from tests.support.service import online_cluster, service

TYPED = [block.text for block in blocks("deleting.md") if block.language == "console"]


def test_the_commands_print_what_the_page_says(tmp_path: Path) -> None:
    with service() as running, running.client() as client:
        online_cluster(client, "backend")
        for text in TYPED:
            shell.type_in(text, tmp_path, **shell.at(running))
