"""What the console asks about first, tags, and the search of logs, in a browser without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from cenote_client import Client
from tests.support.console import Visitor, base_of, id_in
from tests.support.service import WITHOUT_LIMITS, online_cluster

pytestmark = pytest.mark.service(*WITHOUT_LIMITS)


@pytest.fixture(scope="module")
def cluster(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = online_cluster(client, "pages")
    return found


@pytest.fixture
def sources(client: Client, cluster: dict[str, Any]) -> Iterator[str]:
    """The path of the trusted sources, which are removed after the test: they would shut others out."""
    path = f"/v2/databases/{cluster['id']}/firewall"
    yield path
    client.request("PUT", path, json={"rules": []})


def test_a_first_source_without_ones_own_address_is_asked_about(
    somebody: Visitor, client: Client, cluster: dict[str, Any], sources: str
) -> None:
    sheet = somebody.open(f"{base_of(cluster)}/sources")
    asked = somebody.send(sheet, "Add", value="192.0.2.7", description="office")
    assert "Admit 192.0.2.7 only?" in asked.text
    assert "Your own address, 127.0.0.1 as the service sees it" in asked.text
    assert client.request("GET", sources)["rules"] == []
    added = somebody.send(asked, "Add 192.0.2.7")
    assert "192.0.2.7 added" in added.text
    [rule] = client.request("GET", sources)["rules"]
    assert (rule["value"], rule["description"]) == ("192.0.2.7", "office")
    # The address is shut out already: another source makes it no worse.
    assert "192.0.2.8 added" in somebody.send(added, "Add", value="192.0.2.8").text


@pytest.mark.parametrize("value", ["127.0.0.1", "127.0.0.0/8", "0.0.0.0/0", "::ffff:127.0.0.1"])
def test_a_first_source_with_ones_own_address_is_added_at_once(
    somebody: Visitor, client: Client, cluster: dict[str, Any], sources: str, value: str
) -> None:
    sheet = somebody.open(f"{base_of(cluster)}/sources")
    assert "added to the trusted sources." in somebody.send(sheet, "Add", value=value).text
    assert len(client.request("GET", sources)["rules"]) == 1


def test_a_cluster_larger_than_its_host_is_asked_about_with_figures(
    somebody: Visitor, client: Client
) -> None:
    asked = somebody.open("/console/clusters/new")
    size = "so1_5-32vcpu-256gb"
    warned = somebody.send(asked, "Create cluster", name="huge", size=size, tags="one, two", region="ams3")
    hosts = client.request("GET", "/v2/cenote/hosts")["hosts"]
    assert f"CPUs: the size has 32, the host {hosts[0]['cpus']}." in warned.text
    assert "Memory: the size has 256 GiB, the host" in warned.text
    assert "huge" not in [one["name"] for one in client.request("GET", "/v2/databases")["databases"]]
    kept = warned.form("Create anyway").fields
    assert (kept["size"], kept["tags"], kept["region"]) == ([size], ["one, two"], ["ams3"])
    # Another size than the one that was confirmed is asked about again.
    again = somebody.send(warned, "Create anyway", size="so1_5-24vcpu-192gb")
    assert "Memory: the size has 192 GiB" in again.text
    made = somebody.send(again, "Create anyway")
    assert "huge is being created." in made.text
    cluster = client.request("GET", f"/v2/databases/{id_in(made)}")["database"]
    assert (cluster["size"], cluster["tags"]) == ("so1_5-24vcpu-192gb", ["one", "two"])
    client.request("DELETE", f"/v2/databases/{cluster['id']}")


def test_a_resize_to_more_than_the_host_has_is_asked_about(
    somebody: Visitor, client: Client, cluster: dict[str, Any]
) -> None:
    sheet = somebody.open(f"{base_of(cluster)}/settings")
    warned = somebody.send(sheet, "Resize", size="so1_5-32vcpu-256gb")
    assert "Memory: the size has 256 GiB, the host" in warned.text
    assert warned.has_form("Resize anyway")
    assert client.request("GET", f"/v2/databases/{cluster['id']}")["database"]["size"] == cluster["size"]


def test_tags_are_added_shown_filtered_by_and_removed(
    somebody: Visitor, client: Client, cluster: dict[str, Any]
) -> None:
    place = f"/v2/databases/{cluster['id']}"
    sheet = somebody.send(somebody.open(f"{base_of(cluster)}/settings"), "Add tag", tag="team:shop")
    assert "Tag team:shop added." in sheet.text
    assert client.request("GET", place)["database"]["tags"] == ["team:shop"]
    assert "team:shop" in somebody.open(base_of(cluster)).text
    listed = somebody.open("/console/clusters?tag=team%3Ashop")
    assert "Clusters with the tag team:shop Show all" in listed.text
    assert "pages" in listed.text
    assert "No cluster has the tag other." in somebody.open("/console/clusters?tag=other").text
    refused = somebody.send(sheet, "Add tag", 422, tag="no tag")
    assert refused.form("Add tag").fields["tag"] == ["no tag"]
    assert "Tag team:shop removed." in somebody.send(refused, "Remove tag team:shop").text
    assert client.request("GET", place)["database"]["tags"] == []


def test_a_log_is_searched_and_downloaded_with_its_control_characters_as_symbols(
    somebody: Visitor, cluster: dict[str, Any]
) -> None:
    with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as connection:
        for text in ("plain straw", "needle \x1b[31m \x07 \u202e <b>"):
            with pytest.raises(psycopg.errors.RaiseException):
                connection.execute("DO $$ BEGIN RAISE EXCEPTION '%', '" + text + "'; END $$")
    base = f"{base_of(cluster)}/activity"
    assert somebody.open(base).form("Filter").method == "get"
    shown = somebody.open(f"{base}?log=postgres&search=NEEDLE&severity=error")
    assert "needle ␛[31m ␇ � <b>" in shown.text
    assert "plain straw" not in shown.text
    assert "\x1b" not in shown.source
    assert "No messages match" in somebody.open(f"{base}?search=nowhere-to-be-found").text
    answer = somebody.http.get(f"{base}/log.txt?search=needle&severity=error")
    assert answer.headers["content-disposition"] == 'attachment; filename="pages-postgres.log"'
    assert answer.headers["content-type"].startswith("text/plain")
    assert "needle ␛[31m ␇ � <b>" in answer.text
    assert "plain straw" not in answer.text


def test_a_long_message_is_shortened_on_the_page_and_whole_in_the_file(
    somebody: Visitor, cluster: dict[str, Any]
) -> None:
    with (
        psycopg.connect(cluster["connection"]["uri"], autocommit=True) as connection,
        pytest.raises(psycopg.errors.RaiseException),
    ):
        connection.execute("DO $$ BEGIN RAISE EXCEPTION '%', repeat('long ', 9000); END $$")
    base = f"{base_of(cluster)}/activity"
    assert "more characters in the file" in somebody.open(f"{base}?search=long+long").text
    assert "long " * 9000 in somebody.http.get(f"{base}/log.txt?search=long+long").text


def test_a_script_that_refreshes_a_page_takes_no_message_from_it(
    somebody: Visitor, cluster: dict[str, Any]
) -> None:
    place = f"{base_of(cluster)}/settings"
    token = somebody.open(place).form("Save window").fields["form_token"][0]
    form = {"form_token": token, "do": "window", "day": "monday", "hour": "07:00"}
    answer = somebody.http.post(place, data=form, follow_redirects=False)
    assert answer.status_code == 303
    script = somebody.http.get(place, headers={"sec-fetch-dest": "empty"})
    assert "from 07:00 UTC." not in script.text
    assert "from 07:00 UTC." in somebody.open(place).text
    assert "from 07:00 UTC." not in somebody.open(place).text


def test_tables_are_sorted_by_the_headings_of_their_columns(
    somebody: Visitor, client: Client, cluster: dict[str, Any]
) -> None:
    place = f"/v2/databases/{cluster['id']}"
    for name in ("zoe", "Bob", "amy"):
        client.request("POST", f"{place}/users", json={"name": name})
    base = base_of(cluster)

    def order(query: str, *names: str) -> list[str]:
        text = somebody.open(f"{base}/users{query}").text
        return sorted(names, key=text.index)

    assert order("?sort=name", "zoe", "Bob", "amy") == ["amy", "Bob", "zoe"]
    assert order("?sort=-name", "zoe", "Bob", "amy") == ["zoe", "Bob", "amy"]
    sheet = somebody.open(f"{base}/users?sort=name&databases=-owner")
    links = {given.get("href") for tag, given in sheet.elements if tag == "a"}
    assert {"?databases=-owner&sort=-name", "?sort=name&databases=owner"} <= links
    for name in ("zoe", "Bob", "amy"):
        client.request("DELETE", f"{place}/users/{name}")


def test_clusters_are_sorted_across_pages_and_the_search_keeps_the_order(
    somebody: Visitor, client: Client, cluster: dict[str, Any]
) -> None:
    online_cluster(client, "another")
    text = somebody.open("/console/clusters?sort=name").text
    assert text.index("another") < text.index("pages")
    sheet = somebody.open("/console/clusters?sort=-name&tag=x&name=y")
    assert sheet.form("Search").fields == {"name": ["y"], "sort": ["-name"], "tag": ["x"]}
    somebody.open("/console/clusters?sort=nonsense")
