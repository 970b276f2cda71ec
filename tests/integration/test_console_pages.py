"""What people do in the console, in a browser without scripts."""

from __future__ import annotations

import base64
import csv
import io
import os
import re
import signal
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from cenote.console import audit, setting_help
from cenote.model.parameters import EXTENSIONS, FAILOVER, POOLER, POSTGRESQL
from cenote_client import Client, InvalidError
from tests.support.console import Sheet, Visitor, base_of, create, id_in, visitor
from tests.support.service import WITHOUT_LIMITS, Service, online, online_cluster
from tests.support.waiting import wait_until

pytestmark = pytest.mark.service(*WITHOUT_LIMITS)

MOST_BYTES = 100 * 1024
EVIL = "<script>alert(1)</script>\"'{{ 7 * 7 }}"


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


# -- Clusters


def test_a_cluster_is_created_found_and_deleted_by_its_name(somebody: Visitor, client: Client) -> None:
    made = create(somebody, "short-lived", size="db-s-1vcpu-2gb")
    assert "short-lived is being created." in made.text
    id = id_in(made)
    assert online(client, id)["size"] == "db-s-1vcpu-2gb"
    assert "Online" in somebody.open(f"/console/clusters/{id}").text

    listed = somebody.open("/console/clusters?name=short")
    assert "short-lived" in listed.text
    assert "pages" not in listed.text

    settings = somebody.open(f"/console/clusters/{id}/settings")
    refused = somebody.send(settings, "Delete short-lived", 422, name="short-live")
    assert "Type the cluster's name to confirm: short-lived" in refused.text
    gone = somebody.send(refused, "Delete short-lived", name="short-lived")
    assert gone.path == "/console/clusters"
    assert "Cluster short-lived deleted." in gone.text
    somebody.open(f"/console/clusters/{id}", 404)


def test_what_was_done_is_said_once(somebody: Visitor, cluster: dict[str, Any]) -> None:
    sheet = somebody.open(f"{base_of(cluster)}/settings")
    assert "from 06:00 UTC." in somebody.send(sheet, "Save window", hour="06:00").text
    assert "from 06:00 UTC." not in somebody.open(f"{base_of(cluster)}/settings").text


def test_a_refused_form_says_why_in_the_words_of_the_api_and_keeps_what_was_typed(
    somebody: Visitor, client: Client
) -> None:
    asked = somebody.open("/console/clusters/new")
    chosen = {"size": "gd-2vcpu-8gb", "sure": "gd-2vcpu-8gb"}  # also on a small host
    refused = somebody.send(asked, "Create cluster", 422, name="Not good", region="ams3", **chosen)
    assert "a cluster's name consists of lowercase letters" in refused.text
    kept = refused.form("Create cluster").fields
    assert (kept["name"], kept["size"], kept["region"]) == (["Not good"], ["gd-2vcpu-8gb"], ["ams3"])


def test_the_form_shows_what_each_size_gives(somebody: Visitor) -> None:
    text = somebody.open("/console/clusters/new").text
    assert re.search("db-s-2vcpu-4gb (larger than the host )?2 4 GiB 60 GiB 100 97 5,000", text)


def test_a_search_without_a_hit_and_a_page_that_is_not_there_say_so(
    somebody: Visitor, cluster: dict[str, Any]
) -> None:
    assert "No cluster has “zzz” in its name." in somebody.open("/console/clusters?name=zzz").text
    assert "This page of the list does not exist." in somebody.open("/console/clusters?page=99").text
    for odd in ("0", "-1", "x", "²", "9" * 20):
        somebody.open(f"/console/clusters?page={odd}")


# -- Connections


def test_the_certificate_can_be_downloaded(
    somebody: Visitor, client: Client, cluster: dict[str, Any]
) -> None:
    answer = somebody.http.get(f"{base_of(cluster)}/ca.crt")
    told = client.request("GET", f"/v2/databases/{cluster['id']}/ca")["ca"]["certificate"]
    assert answer.content == base64.b64decode(told)
    assert answer.content.startswith(b"-----BEGIN CERTIFICATE-----")
    assert answer.headers["content-disposition"] == 'attachment; filename="pages-ca.crt"'


def test_what_the_page_gives_connects(somebody: Visitor, cluster: dict[str, Any], tmp_path: Any) -> None:
    asked = somebody.open(f"{base_of(cluster)}/connect?check=ca")
    told = somebody.http.post(
        f"{base_of(cluster)}/connect",
        data={"form_token": asked.form("Show password").fields["form_token"][0], "check": "ca"},
        headers={"accept": "application/json"},
    ).json()["texts"]
    ca = tmp_path / "ca.crt"
    ca.write_bytes(somebody.http.get(f"{base_of(cluster)}/ca.crt").content)
    with psycopg.connect(told["text-uri"].replace("ca.crt", str(ca))) as connection:
        assert connection.info.dbname == "defaultdb"


def test_every_driver_has_its_words(somebody: Visitor, cluster: dict[str, Any]) -> None:
    text = somebody.open(f"{base_of(cluster)}/connect").text
    for words in ("psql", "psycopg", "SQLAlchemy", "Django", "Prisma", "node-postgres", "JDBC", "Go (pgx)"):
        assert words in text


# -- Users, databases, sources


def test_a_user_and_its_database_come_and_go(
    somebody: Visitor, client: Client, cluster: dict[str, Any]
) -> None:
    base = base_of(cluster)
    added = somebody.send(somebody.open(f"{base}/users"), "Add user", name="shop", access="readonly")
    assert "User shop can log in." in added.text
    made = somebody.send(added, "Add database", name="shop-data", owner="shop")
    assert "Database shop-data created." in made.text

    before = client.request("GET", f"/v2/databases/{cluster['id']}/users/shop")["user"]
    asked = somebody.open(f"{base}/users/shop/reset")
    assert "Programs that use the old one can no longer connect" in asked.text
    unchanged = client.request("GET", f"/v2/databases/{cluster['id']}/users/shop")["user"]
    assert before["password"] == unchanged["password"]
    reset = somebody.send(asked, "Reset password")
    assert "Password of shop reset" in reset.text
    after = client.request("GET", f"/v2/databases/{cluster['id']}/users/shop")["user"]
    assert before["password"] != after["password"]
    assert after["password"] in reset.text
    assert after["password"] not in somebody.open(f"{base}/users").source

    for path, button in (
        (f"{base}/databases/shop-data/delete", "Delete database"),
        (f"{base}/users/shop/delete", "Delete user"),
    ):
        gone = somebody.send(somebody.open(path), button)
        assert "deleted." in gone.text
    left = client.request("GET", f"/v2/databases/{cluster['id']}")["database"]
    assert [user["name"] for user in left["users"]] == ["doadmin"]
    assert left["db_names"] == ["defaultdb"]


def test_what_cannot_be_deleted_says_why(somebody: Visitor, cluster: dict[str, Any]) -> None:
    asked = somebody.open(f"{base_of(cluster)}/users/doadmin/delete")
    assert "can't be deleted" in somebody.send(asked, "Delete user", 422).text


def test_a_source_comes_and_goes_and_the_others_stay(
    somebody: Visitor, client: Client, cluster: dict[str, Any], sources: str
) -> None:
    sheet = somebody.open(f"{base_of(cluster)}/sources")
    assert "Your address, as the service sees it: 127.0.0.1" in sheet.text
    sheet = somebody.send(sheet, "Add", value="127.0.0.1", description="here")
    somebody.send(sheet, "Add", value="192.0.2.0/24")
    own, kept = client.request("GET", sources)["rules"]
    asked = somebody.open(f"{base_of(cluster)}/sources/{own['uuid']}/remove")
    assert "Your own address, 127.0.0.1 as the service sees it" in asked.text
    sheet = somebody.send(asked, "Remove 127.0.0.1")
    assert client.request("GET", sources)["rules"] == [kept]
    refused = somebody.send(sheet, "Add", 422, value="300.1.1.1")
    assert refused.form("Add").fields["value"] == ["300.1.1.1"]
    asked = somebody.open(f"{base_of(cluster)}/sources/{kept['uuid']}/remove")
    assert "all addresses may connect" in asked.text
    assert client.request("GET", sources)["rules"] == [kept]
    somebody.send(asked, "Remove 192.0.2.0/24")
    assert client.request("GET", sources)["rules"] == []


# -- Configuration


def test_only_what_was_changed_is_sent_and_an_emptied_field_goes_back(
    somebody: Visitor, client: Client, cluster: dict[str, Any]
) -> None:
    place = f"/v2/databases/{cluster['id']}/config"
    before = client.request("GET", place)["config"]
    sheet = somebody.open(f"{base_of(cluster)}/config")
    fields: dict[str, Any] = {
        "work_mem": "17",
        "jit": "false",
        "pgbouncer.server_lifetime": "700",
        "cenote.query_wait_timeout": "9",
    }
    changed = somebody.send(sheet, "Save settings", **fields)
    assert "4 settings applied." in changed.text
    now = client.request("GET", place)["config"]
    assert (now["work_mem"], now["jit"]) == (17, False)
    assert (now["pgbouncer"]["server_lifetime"], now["cenote"]["query_wait_timeout"]) == (700, 9)
    emptied: Any = dict.fromkeys(fields, "")
    somebody.send(changed, "Save settings", **emptied)
    assert client.request("GET", place)["config"] == before
    assert "No settings were changed." in somebody.send(sheet, "Save settings").text


def test_saving_an_old_form_leaves_alone_what_others_have_changed_meanwhile(
    somebody: Visitor, client: Client, cluster: dict[str, Any]
) -> None:
    place = f"/v2/databases/{cluster['id']}/config"
    before = client.request("GET", place)["config"]
    old = somebody.open(f"{base_of(cluster)}/config")
    client.request("PATCH", place, json={"config": {"work_mem": before["work_mem"] + 3}})
    refused = somebody.send(old, "Save settings", 422, jit="false", timezone="Nowhere")
    assert refused.form("Save settings").fields["jit"] == ["false"]
    saved = somebody.send(refused, "Save settings", timezone="Europe/Berlin")
    assert "2 settings applied." in saved.text
    now = client.request("GET", place)["config"]
    changed = {"work_mem": before["work_mem"] + 3, "jit": False, "timezone": "Europe/Berlin"}
    assert now == before | changed
    client.request("PATCH", place, json={"config": dict.fromkeys(changed)})


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("work_mem", "9999", "work_mem: 9999 is out of range: 1 to 1024 MB"),
        ("work_mem", "much", "work_mem: 'much' is not a number."),
        ("timezone", "Nowhere", "timezone:"),
    ],
)
def test_a_refused_setting_is_marked_and_kept(
    somebody: Visitor, cluster: dict[str, Any], field: str, value: str, said: str
) -> None:
    sheet = somebody.open(f"{base_of(cluster)}/config")
    typed: Any = {field: value}
    refused = somebody.send(sheet, "Save settings", 422, **typed)
    assert said in refused.text
    [marked] = [given for _, given in refused.elements if given.get("aria-invalid") == "true"]
    assert (marked["name"], marked["value"]) == (field, value)


def test_every_setting_is_explained() -> None:
    assert set(setting_help.POSTGRESQL) == set(POSTGRESQL)
    assert set(setting_help.FAILOVER) == set(FAILOVER)
    assert set(setting_help.POOLER) == set(POOLER)
    assert set(setting_help.EXTENSIONS) == set(EXTENSIONS)


# -- Activity, administration


def test_the_ends_of_both_logs_are_shown(somebody: Visitor, cluster: dict[str, Any]) -> None:
    base = f"{base_of(cluster)}/activity"
    assert "database system is ready to accept connections" in somebody.open(base).text
    assert "process up: PgBouncer" in somebody.open(f"{base}?log=pgbouncer").text


def test_activity_shows_what_was_changed_by_whom_from_where_and_whether_it_is_done(
    somebody: Visitor, cluster: dict[str, Any], client: Client
) -> None:
    path = f"/v2/databases/{cluster['id']}/pools"
    pool = {"name": "told", "size": 2, "mode": "transaction", "db": "defaultdb", "user": "doadmin"}
    client.request("POST", path, json=pool)
    changed = {"size": 3, "mode": "session", "db": "defaultdb", "user": "doadmin"}
    client.request("PUT", f"{path}/told", json=changed)
    shown = wait_until("both changes are in force", 60, lambda: done(somebody, base_of(cluster)))
    assert shown is not None
    client.request("DELETE", f"{path}/told")
    assert "pool told: added (size 2, mode transaction, database defaultdb, user doadmin)" in shown.text
    assert "pool told: size: from 2 to 3 pool told: mode: from transaction to session" in shown.text
    assert "cluster pages: added (PostgreSQL" in shown.text
    assert "from 127.0.0.1" in shown.text
    overview = somebody.open(base_of(cluster)).text
    assert "pool told: removed (size 3" in overview


def test_activity_shows_what_cenote_did_by_itself(
    somebody: Visitor, cluster: dict[str, Any], running: Service
) -> None:
    pid_file = running.data_dir / "clusters" / cluster["id"] / "pg" / "postmaster.pid"
    os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
    base = f"{base_of(cluster)}/activity"
    shown = wait_until(
        "the new start is shown", 60, lambda: found_in(somebody.open(base), "started PostgreSQL")
    )
    assert shown is not None
    assert "started PostgreSQL Cenote itself Done" in shown.text


def done(somebody: Visitor, base: str) -> Sheet | None:
    shown = somebody.open(f"{base}/activity")
    return shown if "Done" in shown.text and "Pending" not in shown.text else None


def test_the_audit_log_is_shown_filtered_and_downloaded(
    somebody: Visitor, cluster: dict[str, Any], client: Client
) -> None:
    path = f"/v2/databases/{cluster['id']}/dbs"
    client.request("POST", path, json={"name": "odd.one"})
    client.request("DELETE", f"{path}/odd.one")
    assert somebody.open("/console/audit").form("Filter").method == "get"
    shown = somebody.open("/console/audit?search=odd.one&token=&cluster_uuid=")
    assert "database odd.one: added" in shown.text
    assert "database odd.one: removed" in shown.text
    assert "1–2 of 2" in shown.text
    assert f"POST {path}" in shown.text
    assert "admin from 127.0.0.1" in shown.text
    assert "No entries match." in somebody.open("/console/audit?token=nobody").text
    of_cluster = somebody.open(f"/console/audit?cluster_uuid={cluster['id']}&search=POST&page=1")
    assert "cluster pages: added" in of_cluster.text
    assert "UUID" in somebody.open("/console/audit?cluster_uuid=x", 422).text

    answer = somebody.http.get("/console/audit.csv?search=odd.one")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["changes"] for row in rows] == ["database odd.one: removed", "database odd.one: added"]
    assert {(row["token"], row["address"], row["cluster"]) for row in rows} == {
        ("admin", "127.0.0.1", "pages")
    }


def test_a_refused_change_is_in_the_audit_log(
    somebody: Visitor, cluster: dict[str, Any], client: Client
) -> None:
    path = f"/v2/databases/{cluster['id']}/users/doadmin"
    with pytest.raises(InvalidError):
        client.request("DELETE", path)
    find = f"/console/audit?search={path}"
    shown = wait_until("the refusal is shown", 30, lambda: found_in(somebody.open(find), "Refused, 422"))
    assert shown is not None
    assert f"DELETE {path}" in shown.text


def found_in(sheet: Sheet, text: str) -> Sheet | None:
    return sheet if text in sheet.text else None


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x"])
def test_no_cell_of_a_file_is_a_formula(text: str) -> None:
    assert audit._cell(text) == f"'{text}"
    assert audit._cell(f"x{text}") == f"x{text}"


def test_a_token_is_shown_once_works_and_is_revoked(somebody: Visitor, running: Service) -> None:
    made = somebody.send(
        somebody.open("/console/tokens"),
        "Create token",
        201,
        name="ci",
        scopes=["database:read"],
        expires="1",
    )
    text = next(word for word in made.text.split() if word.startswith("cenote_v1_"))
    with running.client(text) as limited:
        assert limited.request("GET", "/v2/cenote/token")["token"]["scopes"] == ["database:read"]
    listed = somebody.open("/console/tokens")
    assert text not in listed.source
    links = [given["href"] or "" for tag, given in listed.elements if tag == "a" and "href" in given]
    asked = somebody.open([link for link in links if link.endswith("/revoke")][-1])
    assert "Revoke ci?" in asked.text
    somebody.send(asked, "Revoke token")
    with visitor(running, "") as other:
        assert "Token not accepted" in other.sign_in(text, expected=401).text


@pytest.mark.parametrize("expires", ["2", "-1", "never", []])
def test_no_token_is_made_whose_end_nobody_has_chosen(somebody: Visitor, expires: str | list[str]) -> None:
    asked = somebody.open("/console/tokens")
    refused = somebody.send(asked, "Create token", 422, name="endless", expires=expires)
    assert "Choose when the token expires" in refused.text
    assert "endless" not in somebody.open("/console/tokens").text


def test_a_protected_cluster_has_no_way_to_delete_it(somebody: Visitor, cluster: dict[str, Any]) -> None:
    settings = f"{base_of(cluster)}/settings"
    protected = somebody.send(somebody.open(settings), "Protect from deletion")
    assert "is protected from deletion" in protected.text
    refused = somebody.send(somebody.open(settings), "Turn protection off", 422, do="delete", name="pages")
    assert "cenote cluster unprotect pages" in refused.text
    somebody.send(somebody.open(settings), "Turn protection off")
    assert "Type the cluster's name to confirm" in somebody.open(settings).text


def test_hosts_show_what_they_have_and_what_was_promised(somebody: Visitor, cluster: dict[str, Any]) -> None:
    text = somebody.open("/console/hosts").text
    assert "allocated" in text
    assert cluster["semantic_version"] in text


# -- Text from elsewhere


@pytest.mark.usefixtures("sources")
def test_what_somebody_types_is_text_on_every_page_that_shows_it(
    somebody: Visitor, cluster: dict[str, Any]
) -> None:
    base = base_of(cluster)
    answers: list[Sheet] = [
        somebody.open(f"/console/clusters?name={EVIL}"),
        somebody.send(somebody.open("/console/clusters/new"), "Create cluster", 422, name=EVIL),
        somebody.send(somebody.open(f"{base}/users"), "Add user", 422, name=EVIL),
        somebody.send(somebody.open(f"{base}/users"), "Add database", 422, name=EVIL),
        somebody.send(somebody.open(f"{base}/sources"), "Add", 422, value=EVIL),
        somebody.send(somebody.open(f"{base}/config"), "Save settings", 422, work_mem=EVIL),
        somebody.send(somebody.open(f"{base}/settings"), "Resize", 422, size=EVIL),
        somebody.send(somebody.open(f"{base}/settings"), "Delete pages", 422, name=EVIL),
        somebody.send(somebody.open("/console/tokens"), "Create token", 201, name=EVIL, scopes=["*"]),
        somebody.send(somebody.open(f"{base}/sources"), "Add", value="192.0.2.9", description=EVIL),
        somebody.send(somebody.open(f"{base}/settings"), "Add tag", 422, tag=EVIL),
        somebody.open(f"{base}/users/{EVIL.replace('/', '')}/reset"),
        somebody.open(f"{base}/activity?search={quote(EVIL)}&severity={quote(EVIL)}&sort={quote(EVIL)}"),
        somebody.open(f"/console/clusters?tag={quote(EVIL)}&sort=name"),
        somebody.open(f"{base}/users?x={quote(EVIL)}"),
        somebody.open(f"{base}/pools?minutes={quote(EVIL)}&sort={quote(EVIL)}&x={quote(EVIL)}"),
        somebody.open(f"{base}/users/{EVIL.replace('/', '')}/delete"),
        somebody.open(f"/console/{EVIL}", 404),
        somebody.open(f"{base}/connect?pool={EVIL}", 404),
        somebody.open(f"{base}/activity?log={EVIL}"),
        somebody.open(f"/console/audit?search={quote(EVIL)}"),
        somebody.open("/console/audit"),
    ]
    shown = 0
    for sheet in answers:
        scripts = [given for tag, given in sheet.elements if tag == "script"]
        assert [script for script in scripts if not script.get("src")] == [], sheet.path
        assert "alert(1)</script>" not in sheet.source
        typed = [value for form in sheet.forms for values in form.fields.values() for value in values]
        shown += EVIL in typed or EVIL in sheet.text
    assert shown >= 8, "most of these pages show what was typed"


def test_every_page_is_smaller_than_100_kb(somebody: Visitor, cluster: dict[str, Any]) -> None:
    tabs = ("", "/connect", "/pools", "/users", "/sources", "/config", "/activity", "/settings")
    paths = [base_of(cluster) + tab for tab in tabs]
    others = (
        "/console/clusters",
        "/console/clusters/new",
        "/console/tokens",
        "/console/hosts",
        "/console/audit",
    )
    for path in (*paths, *others):
        assert len(somebody.open(path).answer.content) < MOST_BYTES, path


# -- What no browser sends

ODD = [
    b"\xff\xfe=\x00",
    b"a=%zz&&",
    b"do=show&user=%00",
    b"do=untag&tag=%0d%0a",
    b"do=tag&tag=%00",
    b"do=nothing",
    b"x=" + b"y" * 300_000,
]
ODD_PATHS = (
    *("", "/users", "/sources", "/config", "/settings", "/connect", "/pools?minutes=60"),
    *("/users/x%0d%0ax-evil:%201/delete", "/users/x%0d%0ax-evil:%201/reset", "/sources/x/remove"),
)


@pytest.mark.parametrize("body", ODD, ids=[str(number) for number in range(len(ODD))])
def test_an_odd_form_is_refused_and_breaks_nothing(
    somebody: Visitor, cluster: dict[str, Any], body: bytes
) -> None:
    token = somebody.open("/console/clusters").form("Sign out").fields["form_token"][0]
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json"):
        headers = {"x-form-token": token, "content-type": kind}
        for path in ODD_PATHS:
            for base in (base_of(cluster), "/console/clusters/x%0d%0ax-evil:%201"):
                answer = somebody.http.post(
                    base + path, content=body, headers=headers, follow_redirects=False
                )
                assert answer.status_code < 500, (path, kind, answer.text)
                assert "x-evil" not in answer.headers


# -- Deleted clusters


def test_a_deleted_cluster_is_brought_back_or_removed_for_good(running: Service, somebody: Visitor) -> None:
    with running.client() as client:
        id = online_cluster(client, "mistake")["id"]
        settings = somebody.open(f"/console/clusters/{id}/settings")
        assert "For 7 days it can be undeleted" in settings.text
        client.request("DELETE", f"/v2/databases/{id}")
        listed = somebody.open("/console/deleted")
        assert "mistake" in listed.text
        assert somebody.send(listed, "Undelete mistake").text.count("Cluster mistake is back.") == 1
        online(client, id)
        client.request("DELETE", f"/v2/databases/{id}")
        taken = online_cluster(client, "mistake")["id"]
        again = somebody.open("/console/deleted")
        refused = somebody.send(again, "Undelete mistake", 422, name="mistake")
        assert f"mistake is the name of the cluster {taken}" in refused.text
        asked = somebody.open(f"/console/deleted/{id}/purge")
        assert "Remove mistake for good?" in asked.text
        gone = somebody.send(asked, "Remove for good")
        assert id not in gone.text
        client.request("DELETE", f"/v2/databases/{taken}")
