"""Each client against a real service: results have the declared types and are correct."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from cenote_client import _operations as operations
from tests.support.clients import KINDS, Driver, Refusal, driver
from tests.support.service import SMALLEST, Service, answer_of

pytestmark = pytest.mark.service("--requests-per-minute=0")

POOL = {"name": "backend-pool", "mode": "transaction", "size": 3, "db": "defaultdb", "user": "doadmin"}

# What each operation is about, besides the cluster, and what it sends: for a cluster that is not there.
SENT: dict[str, tuple[Any, ...]] = {
    "update_cluster_size": ({"size": "db-s-1vcpu-1gb", "num_nodes": 1},),
    "update_region": ({"region": "nyc1"},),
    "update_major_version": ({"version": "16"},),
    "rehearse_upgrade": ({"version": "16"},),
    "update_maintenance_window": ({"day": "monday", "hour": "13:00"},),
    "patch_config": ({"config": {"work_mem": 8}},),
    "update_autoscale": ({"storage": {"enabled": True, "threshold_percent": 80, "increment_gib": 10}},),
    "update_do_settings": ({"do_settings": {"service_cnames": ["db.example.com"]}},),
    "update_delete_protection": ({"enabled": False},),
    "update_undelete_days": ({"days": 3},),
    "update_firewall_rules": ({"rules": [{"type": "ip_addr", "value": "192.0.2.1"}]},),
    "update_online_migration": (
        {"source": {"host": "192.0.2.1", "port": 5432, "username": "u", "password": "p", "dbname": "d"}},
    ),
    "delete_online_migration": ("77b28fc8-19ff-11eb-8c9c-c68e24557488",),
    "discard_online_migration": ("77b28fc8-19ff-11eb-8c9c-c68e24557488",),
    "finish_online_migration": ("77b28fc8-19ff-11eb-8c9c-c68e24557488",),
    "add_user": ({"name": "app"},),
    "get_user": ("app",),
    "delete_user": ("app",),
    "update_user": ("app", {"settings": {"pg_allow_replication": False}}),
    "reset_auth": ("app", {}),
    "add": ({"name": "orders"},),
    "get": ("orders",),
    "delete": ("orders",),
    "add_connection_pool": (POOL,),
    "get_connection_pool": ("backend-pool",),
    "update_connection_pool": ("backend-pool", {"mode": "session", "size": 1, "db": "defaultdb"}),
    "delete_connection_pool": ("backend-pool",),
    "reconnect_connection_pool": ("backend-pool",),
    "get_pool_stats": ("backend-pool",),
    "create_replica": ({"name": "reader", "region": "nyc1", "size": "db-s-1vcpu-1gb"},),
    "get_replica": ("reader",),
    "destroy_replica": ("reader",),
    "promote_replica": ("reader",),
    "create_logsink": ({"sink_name": "s", "sink_type": "rsyslog", "config": {"server": "192.0.2.1"}},),
    "get_logsink": ("77b28fc8-19ff-11eb-8c9c-c68e24557488",),
    "update_logsink": ("77b28fc8-19ff-11eb-8c9c-c68e24557488", {"config": {"server": "192.0.2.1"}}),
    "delete_logsink": ("77b28fc8-19ff-11eb-8c9c-c68e24557488",),
}
ABOUT_A_CLUSTER = sorted(
    name.lower()
    for name, operation in vars(operations).items()
    if isinstance(operation, operations.Operation) and operation.path.startswith(operations.CLUSTER)
)


@pytest.fixture(scope="module", params=KINDS)
def client(request: pytest.FixtureRequest, running: Service) -> Iterator[Driver]:
    with client_of(running, request.param) as created:
        yield created


@contextmanager
def client_of(running: Service, kind: str, token: str | None = None) -> Iterator[Driver]:
    found = running.environment()
    with driver(
        kind, token or found["DIGITALOCEAN_TOKEN"], found["DIGITALOCEAN_API_URL"], found["SSL_CERT_FILE"]
    ) as created:
        yield created


@pytest.fixture(scope="module")
def cluster(client: Driver) -> Iterator[Any]:
    """An online cluster of this client."""
    made = client.databases.create_cluster(SMALLEST | {"name": f"c-{uuid4().hex[:8]}", "tags": ["ours"]})
    yield client.databases.wait_until_online(made["database"]["id"], timeout=60)
    assert client.databases.destroy_cluster(made["database"]["id"]) is None
    assert misses(client, "get_cluster", made["database"]["id"])


@pytest.fixture(scope="module")
def scratch(client: Driver) -> Iterator[str]:
    """A cluster for operations whose effect is not checked; they share it."""
    made = client.databases.create_cluster(SMALLEST | {"name": f"s-{uuid4().hex[:8]}"})
    client.databases.wait_until_online(made["database"]["id"], timeout=60)
    yield made["database"]["id"]
    client.databases.destroy_cluster(made["database"]["id"])


def test_the_options_offer_what_a_cluster_can_be_made_of(client: Driver) -> None:
    offered = client.databases.list_options()["options"]["pg"]
    assert SMALLEST["region"] in offered["regions"]
    assert SMALLEST["size"] in offered["layouts"][0]["sizes"]


def test_a_cluster_is_found_by_its_id_its_tag_and_among_all(client: Driver, cluster: Any) -> None:
    id = cluster["id"]
    assert cluster["status"] == "online"
    assert client.databases.get_cluster(id)["database"]["connection"] == cluster["connection"]
    assert client.databases.get_cluster(database_cluster_uuid=id)["database"]["id"] == id
    tagged = client.databases.list_clusters(tag_name="ours", page=1, per_page=200)["databases"]
    assert id in [found["id"] for found in tagged]
    assert client.databases.list_clusters(tag_name="theirs")["databases"] == []
    assert id in [found["id"] for found in client.databases.iter_clusters(per_page=1)]


def test_the_certificate_of_a_cluster_makes_its_connection_verifiable(
    client: Driver, cluster: Any, tmp_path: Any
) -> None:
    encoded = client.databases.get_ca(cluster["id"])["ca"]["certificate"]
    file = tmp_path / "ca.crt"
    file.write_bytes(base64.b64decode(encoded))
    uri = cluster["connection"]["uri"]
    assert answer_of(uri, sslmode="verify-full", sslrootcert=str(file)) == 42


def test_a_user_is_added_found_given_a_new_password_and_removed(client: Driver, cluster: Any) -> None:
    databases, id = client.databases, cluster["id"]
    added = databases.add_user(id, {"name": "app@host+1"})["user"]
    assert databases.get_user(id, "app@host+1")["user"] == added
    assert added in databases.list_users(id, page=1, per_page=100)["users"]
    assert added in databases.iter_users(id, per_page=1)
    assert logs_in(cluster, added)

    assert databases.update_user(id, "app@host+1", {"settings": {"pg_allow_replication": False}})["user"][
        "name"
    ] == ("app@host+1")
    changed = databases.reset_auth(id, "app@host+1", {})["user"]
    assert changed["password"] != added["password"]
    assert not logs_in(cluster, added)
    assert logs_in(cluster, changed)

    assert databases.delete_user(id, "app@host+1") is None
    assert misses(client, "get_user", id, "app@host+1")


def test_a_database_is_added_found_and_removed(client: Driver, cluster: Any) -> None:
    databases, id = client.databases, cluster["id"]
    assert databases.add(id, {"name": "orders+2026"}) == {"db": {"name": "orders+2026"}}
    assert databases.get(id, "orders+2026") == {"db": {"name": "orders+2026"}}
    assert {"name": "orders+2026"} in databases.list(id, page=1, per_page=100)["dbs"]
    assert {"name": "orders+2026"} in databases.iter_dbs(id, per_page=1)
    assert databases.delete(id, "orders+2026") is None
    assert misses(client, "get", id, "orders+2026")


def test_a_pool_is_added_connects_is_changed_and_removed(client: Driver, cluster: Any) -> None:
    databases, id = client.databases, cluster["id"]
    added = databases.add_connection_pool(id, POOL)["pool"]
    assert databases.get_connection_pool(id, POOL["name"])["pool"] == added
    assert databases.list_connection_pools(id, page=1, per_page=100)["pools"] == [added]
    assert databases.iter_connection_pools(id) == [added]
    uri = databases.pool_uri(id, POOL["name"])
    assert uri == added["connection"]["uri"]
    assert databases.pool_uri(id, POOL["name"], private=True) == added["private_connection"]["uri"]
    assert answer_of(uri) == 42

    change = {"mode": "session", "size": 2, "db": "defaultdb"}
    assert databases.update_connection_pool(id, POOL["name"], change) is None
    changed = databases.get_connection_pool(database_cluster_uuid=id, pool_name=POOL["name"])["pool"]
    assert (changed["mode"], changed["size"], changed["user"]) == ("session", 2, "doadmin")
    assert answer_of(uri) == 42

    assert databases.delete_connection_pool(id, POOL["name"]) is None
    assert misses(client, "get_connection_pool", id, POOL["name"])


def test_the_configuration_is_read_and_changed_key_by_key(client: Driver, cluster: Any) -> None:
    databases, id = client.databases, cluster["id"]
    before = databases.get_config(id)["config"]
    assert databases.patch_config(id, {"config": {"work_mem": before["work_mem"] + 1}}) is None
    assert databases.get_config(id)["config"] == before | {"work_mem": before["work_mem"] + 1}


def test_trusted_sources_are_set_kept_and_cleared(client: Driver, cluster: Any) -> None:
    databases, id = client.databases, cluster["id"]
    home = {"type": "ip_addr", "value": "127.0.0.0/8", "description": "this machine"}
    assert databases.update_firewall_rules(id, {"rules": [home]}) is None
    (kept,) = databases.list_firewall_rules(id)["rules"]
    assert kept.items() >= home.items()
    databases.update_firewall_rules(id, {"rules": [kept, {"type": "ip_addr", "value": "192.0.2.1"}]})
    rules = databases.list_firewall_rules(id)["rules"]
    assert kept in rules
    assert len(rules) == 2
    databases.update_firewall_rules(id, {"rules": []})
    assert databases.list_firewall_rules(id)["rules"] == []


def test_names_of_ones_own_are_set(client: Driver, cluster: Any) -> None:
    names = {"do_settings": {"service_cnames": ["db.example.com"]}}
    assert client.databases.update_do_settings(cluster["id"], names) is None
    assert client.databases.get_do_settings(cluster["id"]) == names


def test_a_cluster_is_given_another_size_and_is_online_again(client: Driver, scratch: str) -> None:
    databases = client.databases
    wanted = {"size": "db-s-1vcpu-2gb", "num_nodes": 1}
    assert databases.update_cluster_size(scratch, wanted) is None
    assert databases.wait_until_online(scratch, timeout=60)["size"] == "db-s-1vcpu-2gb"


def test_a_cluster_moves_to_another_region_and_is_online_again(client: Driver, scratch: str) -> None:
    regions = client.databases.list_options()["options"]["pg"]["regions"]
    assert client.databases.update_region(scratch, {"region": regions[-1]}) is None
    assert client.databases.wait_until_online(scratch, timeout=60)["region"] == regions[-1]


def test_what_a_cluster_has_none_of_is_an_empty_list(client: Driver, cluster: Any) -> None:
    assert client.databases.list_replicas(cluster["id"])["replicas"] == []
    assert client.databases.get_autoscale(cluster["id"])["autoscale"]["storage"]["enabled"] is False


@pytest.mark.parametrize("name", ABOUT_A_CLUSTER)
def test_every_operation_misses_a_cluster_that_is_not_there(client: Driver, name: str) -> None:
    assert misses(client, name, str(uuid4()), *SENT.get(name, ()))


@pytest.mark.parametrize("name", sorted(set(ABOUT_A_CLUSTER) - {"destroy_cluster"}))
def test_every_operation_is_done_or_refused_in_words(client: Driver, scratch: str, name: str) -> None:
    outcome = client.outcome(name, scratch, *SENT.get(name, ()))
    if isinstance(outcome, Refusal):
        assert outcome.status in (404, 409, 412, 422)
        assert outcome.id
        assert outcome.request_id
        assert len(outcome.message.split()) > 2


def test_what_the_service_refuses_says_why(client: Driver, cluster: Any) -> None:
    id = cluster["id"]
    taken = client.refusal("create_cluster", SMALLEST | {"name": cluster["name"]})
    assert taken.status == 422
    assert "cluster name is not available" in taken.message
    sideways = client.refusal("add_connection_pool", id, POOL | {"mode": "sideways"})
    assert sideways.status == 422
    assert "sideways" in sideways.message
    administrator = client.refusal("delete_user", id, "doadmin")
    assert administrator.status == 422
    assert "doadmin" in administrator.message


def test_what_goes_on_in_pools_is_typed(client: Driver, cluster: Any) -> None:
    client.databases.add_connection_pool(cluster["id"], POOL | {"name": "looked-at"})
    one = client.databases.get_pool_stats(cluster["id"], "looked-at")["stats"]
    assert (one["size"], one["clients"]) == (3, {"active": 0, "waiting": 0})
    found = client.databases.list_pool_stats(cluster["id"])["stats"]
    assert "looked-at" in [stats["name"] for stats in found]
    client.databases.delete_connection_pool(cluster["id"], "looked-at")


@pytest.mark.parametrize("kind", ["cenote_client", "cenote_client, async"])
def test_tokens_and_the_audit_trail_have_methods_of_their_own(running: Service, kind: str) -> None:
    with client_of(running, kind) as administrator:
        of_service = administrator.cenote
        made = of_service.create_token({"name": f"of {kind}", "scopes": ["database:read"]})["token"]
        assert made["id"] in [token["id"] for token in of_service.list_tokens()["tokens"]]
        assert of_service.revoke_token(made["id"]) is None
        newest = of_service.list_audit(per_page=1)["entries"]
        assert [entry["what"] for entry in newest] == [f"DELETE /v2/cenote/tokens/{made['id']}"]
        assert newest[0] in of_service.iter_audit(per_page=5)
        assert of_service.list_audit(cluster_uuid=str(uuid4()))["entries"] == []
        assert "*" in of_service.get_own_token()["token"]["scopes"]
        assert len(of_service.list_hosts()["hosts"]) == 1
        assert of_service.list_activity([str(uuid4()), str(uuid4())])["activity"] == []


def test_the_limit_that_the_service_tells_is_kept(client: Driver) -> None:
    client.databases.list_options()
    limit = client.client.rate_limit
    assert limit.limit == 100_000
    assert 0 < limit.remaining < 100_000


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_that_is_none_is_refused(running: Service, kind: str) -> None:
    with client_of(running, kind, token="cenote_v1_" + "0" * 64) as stranger:
        refusal = stranger.refusal("list_clusters")
    assert refusal.status == 401
    assert "Unable to authenticate you" in refusal.message


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_may_do_what_its_scopes_allow_and_no_more(running: Service, kind: str) -> None:
    narrow = running.cenote("token", "create", f"reader of {kind}", "--scope", "database:read").strip()
    with client_of(running, kind, token=narrow) as reader:
        assert isinstance(reader.databases.list_clusters()["databases"], list)
        assert reader.refusal("create_cluster", SMALLEST | {"name": "not-allowed"}).status == 403


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_is_made_from_what_cenote_env_exports(
    running: Service, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = running.environment()
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    with client_of(running, kind) as known:
        made = type(known.client).from_env()
        try:
            assert made.endpoint == found["DIGITALOCEAN_API_URL"]
            answer = known.finished(made.databases.list_clusters())
        finally:
            known.finished(made.close())
    assert isinstance(answer["databases"], list)


def misses(client: Driver, operation: str, *arguments: Any) -> bool:
    """Return whether the call fails because its resource does not exist."""
    return client.refusal(operation, *arguments).status == 404


def logs_in(cluster: Any, user: Any) -> bool:
    connection = cluster["connection"]
    try:
        return bool(
            answer_of(connection["uri"], user=user["name"], password=user["password"], dbname="defaultdb")
            == 42
        )
    except psycopg.OperationalError:
        return False
