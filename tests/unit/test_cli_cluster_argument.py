"""Looking up a cluster by name or ID, with as few requests as possible."""

from __future__ import annotations

import httpx
import pytest

from cenote.cli.lookup import find_cluster
from cenote.cli.printer import CommandError
from cenote_client import Client

ID = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30"
CLUSTERS = [{"id": ID, "name": "backend"}, {"id": "x", "name": "7a1d5c1e-0b5f-4d43-8f3a-111111111111"}]


def found(name_or_id: str) -> tuple[str, list[str]]:
    """Return the id of what is found, and the paths that were asked for."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path == "/v2/databases":
            return httpx.Response(200, json={"databases": CLUSTERS, "meta": {"total": 2}})
        if request.url.path == f"/v2/databases/{ID}":
            return httpx.Response(200, json={"database": CLUSTERS[0]})
        return httpx.Response(404, json={"id": "not_found", "message": "there is none"})

    with Client("token", endpoint="https://x", transport=httpx.MockTransport(answer)) as client:
        return find_cluster(client, name_or_id)["id"], asked


def test_an_id_takes_one_request_for_that_cluster() -> None:
    assert found(ID) == (ID, [f"/v2/databases/{ID}"])


def test_a_name_is_looked_for_in_the_list() -> None:
    assert found("backend") == (ID, ["/v2/databases"])


def test_a_name_that_looks_like_an_id_is_found_all_the_same() -> None:
    name = CLUSTERS[1]["name"]
    assert found(name) == ("x", [f"/v2/databases/{name}", "/v2/databases"])


@pytest.mark.parametrize("text", ["nobody", "11111111-1111-4111-8111-111111111111"])
def test_an_unknown_cluster_is_refused_with_the_command_that_lists_them(text: str) -> None:
    with pytest.raises(CommandError, match="cenote cluster list"):
        found(text)
