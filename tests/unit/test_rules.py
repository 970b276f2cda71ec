from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cenote import rules
from cenote.errors import Invalid, NotFound
from cenote.model import catalog
from cenote.model.records import CertificateAuthority, Cluster, Database, Node, Pool, PoolMode, User, UserRole

NASTY = (
    "",
    "*",
    "%include",
    "%include /etc/passwd",
    "a\nb",
    "abc\n",
    "abc\r",
    "abc\x00",
    "abc\t",
    "a b c",
    "a;b=c",
    "a=b",
    "'; drop table x; --",
    'a"b"c',
    "a\\b\\c",
    "#abc",
    "[pgbouncer]",
    "+abc",
    "@abc",
    "/abc",
    "äöü",
    "abcｄ",
    "a" * 64,
)
RESERVED = ("postgres", "Postgres", "template0", "template1", "TEMPLATE1", "pgbouncer", "PgBouncer")


def user(name: str, role: UserRole = UserRole.NORMAL) -> User:
    return User(name=name, verifier="SCRAM-SHA-256$secret", sealed_password="sealed", role=role)


def cluster(*pools: Pool, size: str = "db-s-1vcpu-1gb") -> Cluster:
    return Cluster(
        id=uuid4(),
        name="backend",
        version="15",
        size=size,
        region="nyc1",
        created_at=datetime.now(UTC),
        storage_mib=10240,
        project_id=uuid4(),
        private_network_id=uuid4(),
        authority=CertificateAuthority(certificate="", sealed_key=""),
        nodes=(Node(name="node-1", host="here", port=25060, pool_port=25061),),
        users=(user("doadmin", UserRole.PRIMARY), user("app")),
        databases=(Database(name="defaultdb"), Database(name="orders")),
        pools=pools,
    )


def pool(name: str, size: int = 1, database: str = "defaultdb", user: str = "doadmin") -> Pool:
    return Pool(name=name, database=database, size=size, user=user)


def refused(check: Callable[[], object]) -> str:
    with pytest.raises(Invalid) as raised:
        check()
    return raised.value.message


# -- Names


def is_let_in(check: Callable[[str], str], name: str) -> bool:
    try:
        return check(name) == name
    except Invalid:
        return False


@given(st.text())
@example("pool\n")
@example("%include")
def test_any_pool_name_is_refused_or_is_what_pgbouncer_takes(name: str) -> None:
    if is_let_in(rules.pool_name, name):
        assert re.fullmatch(r"[A-Za-z0-9_.-]{3,63}", name)
        assert name[0] not in ".-"
        assert name.lower() not in RESERVED


@given(st.text(alphabet="abcXYZ019_.-@$+ '\"\\\n%*;=#", max_size=70))
def test_any_user_or_database_name_is_refused_or_harmless(name: str) -> None:
    for check in (rules.user_name, rules.database_name):
        if is_let_in(check, name):
            assert re.fullmatch(r"[A-Za-z0-9_.@$+-]{1,63}", name)
            assert name[0] not in ".@$+-"
            assert not name.lower().startswith(("pg_", "cenote_"))


@given(st.text(alphabet="abz019-_A.", max_size=70))
def test_any_cluster_name_is_refused_or_a_label_of_a_host_name(name: str) -> None:
    if is_let_in(lambda text: rules.cluster_name(text, in_domain=True), name):
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", f"private-{name}")


@pytest.mark.parametrize("name", NASTY)
def test_names_that_could_mean_more_than_a_name_are_refused_everywhere(name: str) -> None:
    for check in (rules.pool_name, rules.user_name, rules.database_name):
        refused(lambda check=check: check(name))  # type: ignore[misc]
    refused(lambda: rules.cluster_name(name, in_domain=False))


@pytest.mark.parametrize("name", RESERVED)
def test_names_of_the_servers_own_are_refused(name: str) -> None:
    for check in (rules.pool_name, rules.user_name, rules.database_name):
        assert "reserved" in refused(lambda check=check: check(name))  # type: ignore[misc]


@pytest.mark.parametrize("name", ["pg_monitor", "PG_x", "cenote_agent", "cenote", "public", "none"])
def test_roles_of_the_server_and_of_ours_are_refused(name: str) -> None:
    assert "reserved" in refused(lambda: rules.user_name(name))


@pytest.mark.parametrize("name", ["backend-pool", "a.b", "_x_", "0pool", "a" * 63])
def test_ordinary_pool_names_are_let_in(name: str) -> None:
    assert rules.pool_name(name + "x" * (3 - len(name))) != ""


@pytest.mark.parametrize("name", ["a", "app-01", "jane@example.com", "User_1", "$x" and "x$", "a+b"])
def test_ordinary_user_and_database_names_are_let_in(name: str) -> None:
    assert rules.user_name(name) == rules.database_name(name) == name


@pytest.mark.parametrize("name", ["ab", "a" * 64, "-ab", "ab-", "a_b", "Abc", "a.b", "ab\n"])
def test_cluster_names_are_lowercase_letters_digits_and_hyphens(name: str) -> None:
    assert "name" in refused(lambda: rules.cluster_name(name, in_domain=False))


def test_in_a_domain_a_cluster_name_leaves_room_for_what_goes_before_it() -> None:
    assert "55" in refused(lambda: rules.cluster_name("a" * 56, in_domain=True))
    assert "private-" in refused(lambda: rules.cluster_name("private-x", in_domain=True))
    assert rules.cluster_name("private-" + "a" * 55, in_domain=False)


# -- What a cluster is created with


def test_another_engine_is_answered_in_the_words_that_clients_know() -> None:
    assert refused(lambda: rules.engine("mysql")) == "operation is not supported for this cluster type"
    assert "'pg'" in refused(lambda: rules.engine("postgres"))


def test_without_a_version_the_newest_is_taken() -> None:
    found = {"9": "9.6", "15": "15.18", "16": "16.4"}
    assert rules.version(None, found) == rules.version("", found) == "16"


def test_an_unknown_version_is_told_which_there_are() -> None:
    message = refused(lambda: rules.version("99", {"15": "15.18", "16": "16.4"}))
    assert message.startswith("invalid cluster engine version")
    assert "15, 16" in message


def test_without_any_version_the_reason_is_said() -> None:
    assert "not installed on any host" in refused(lambda: rules.version(None, {}))


@pytest.mark.parametrize(
    ("check", "field"),
    [
        (lambda: rules.size("db-s-9vcpu-9gb"), "size"),
        (lambda: rules.region("mars1"), "region"),
        (lambda: rules.num_nodes(4), "num_nodes"),
        (lambda: rules.num_nodes(0), "num_nodes"),
        (lambda: rules.storage_mib(10239, catalog.SIZES["db-s-1vcpu-1gb"]), "storage_size_mib"),
        (lambda: rules.storage_mib(2**60, catalog.SIZES["db-s-1vcpu-1gb"]), "storage_size_mib"),
        (lambda: rules.tags(["a b"]), "tags"),
        (lambda: rules.tags([""]), "tags"),
        (lambda: rules.tags([str(number) for number in range(101)]), "tags"),
        (lambda: rules.optional_uuid("project_id", "x"), "project_id"),
        (lambda: rules.pool_mode("Transaction"), "mode"),
    ],
)
def test_a_refused_value_is_told_with_the_name_of_its_field(check: Callable[[], object], field: str) -> None:
    assert refused(check).startswith(f"{field}: ")


def test_storage_is_the_sizes_own_unless_more_is_asked_for() -> None:
    size = catalog.SIZES["db-s-2vcpu-4gb"]
    assert rules.storage_mib(None, size) == 61440
    assert rules.storage_mib(81920, size) == 81920


def test_tags_are_kept_in_order_without_repetition() -> None:
    assert rules.tags(["b", "a:1", "b"]) == ("b", "a:1")
    assert rules.tags(None) == ()


# -- Pools


def test_a_pool_that_is_too_large_is_told_how_many_are_left_of_how_many() -> None:
    message = refused(lambda: rules.add_pool(cluster(pool("first", 15)), pool("second", 8)))
    assert message.startswith("size: 8 ")
    assert "7 of 22" in message


def test_pools_may_take_all_that_is_left() -> None:
    assert len(rules.add_pool(cluster(pool("first", 15)), pool("second", 7)).pools) == 2


@pytest.mark.parametrize("size", [0, -1])
def test_a_pool_needs_a_connection(size: int) -> None:
    assert refused(lambda: rules.add_pool(cluster(), pool("first", size))).startswith("size: ")


def test_a_second_pool_of_a_name_is_refused_in_the_words_that_clients_know() -> None:
    message = refused(lambda: rules.add_pool(cluster(pool("first")), pool("first")))
    assert message == "pool name is not available"


def test_the_twenty_second_pool_is_refused() -> None:
    full = cluster(*(pool(f"pool-{number}") for number in range(21)))
    assert "at most 21 pools" in refused(lambda: rules.add_pool(full, pool("pool-22")))


def test_a_pool_needs_a_database_and_a_user_that_are_there() -> None:
    assert refused(lambda: rules.add_pool(cluster(), pool("first", database="x"))).startswith("db: ")
    assert refused(lambda: rules.add_pool(cluster(), pool("first", user="x"))).startswith("user: ")


def test_a_pool_needs_no_user() -> None:
    assert rules.add_pool(cluster(), pool("first", user="")).pools[0].user == ""


def changed(before: Cluster, name: str, size: int = 1, user: str | None = None) -> Cluster:
    return rules.change_pool(before, name, size=size, mode=PoolMode.SESSION, database="orders", user=user)


def test_a_changed_pool_counts_its_own_connections_as_left() -> None:
    before = cluster(pool("first", 20), pool("second", 2))
    assert changed(before, "first", size=20).pools[0].mode is PoolMode.SESSION
    message = refused(lambda: changed(before, "first", size=21))
    # The number is the one that is shown as left everywhere.
    assert "size: 21 is too large: 0 of 22 connections are left" in message
    assert "besides the 20 of this pool" in message


def test_changing_a_pool_without_a_user_keeps_the_one_it_has() -> None:
    before = cluster(pool("first", user="app"))
    assert changed(before, "first").pools[0].user == "app"
    assert changed(before, "first", user="").pools[0].user == ""


def test_changing_a_pool_keeps_the_order_of_pools() -> None:
    after = changed(cluster(pool("first"), pool("second")), "first")
    assert [one.name for one in after.pools] == ["first", "second"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-1, 25), st.sampled_from("+-~"))))
def test_pools_never_promise_more_than_there_is(steps: list[tuple[str, int, str]]) -> None:
    now = cluster()
    for letter, size, step in steps:
        name = f"pool-{letter}"
        try:
            if step == "+":
                now = rules.add_pool(now, pool(name, size))
            elif step == "-":
                now = rules.remove_pool(now, name)
            else:
                now = changed(now, name, size=size)
        except (Invalid, NotFound):
            continue
        assert sum(one.size for one in now.pools) <= 22
        assert all(one.size > 0 for one in now.pools)
        assert len({one.name for one in now.pools}) == len(now.pools)


# -- Users and databases


def test_a_second_user_or_database_of_a_name_is_refused() -> None:
    assert refused(lambda: rules.add_user(cluster(), user("app"))) == "user name is not available"
    assert refused(lambda: rules.add_database(cluster(), "orders")) == "database name is not available"


def test_what_every_cluster_has_can_not_be_deleted() -> None:
    assert "doadmin" in refused(lambda: rules.remove_user(cluster(), "doadmin"))
    assert "defaultdb" in refused(lambda: rules.remove_database(cluster(), "defaultdb"))


def test_what_a_pool_uses_can_not_be_deleted_and_the_pools_are_named() -> None:
    used = cluster(pool("first", user="app"), pool("second", user="app", database="orders"))
    assert "2 pools use it: first, second" in refused(lambda: rules.remove_user(used, "app"))
    assert "1 pool uses it: second" in refused(lambda: rules.remove_database(used, "orders"))


def test_what_no_pool_uses_can_be_deleted() -> None:
    assert rules.remove_user(cluster(), "app").user("app") is None
    assert rules.remove_database(cluster(), "orders").database("orders") is None


def test_a_new_password_changes_nothing_else_of_a_user() -> None:
    after = rules.change_password(cluster(), "doadmin", verifier="v", sealed_password="s")
    assert after.users[0] == User(name="doadmin", verifier="v", sealed_password="s", role=UserRole.PRIMARY)
    assert after.users[1] == user("app")


@pytest.mark.parametrize(
    "change",
    [
        lambda: rules.remove_pool(cluster(), "x"),
        lambda: changed(cluster(), "x"),
        lambda: rules.remove_user(cluster(), "x"),
        lambda: rules.change_password(cluster(), "x", verifier="", sealed_password=""),
        lambda: rules.remove_database(cluster(), "x"),
    ],
)
def test_what_is_not_there_is_not_found(change: Callable[[], object]) -> None:
    with pytest.raises(NotFound):
        change()


@given(st.text(min_size=1))
def test_a_message_shows_what_was_sent_in_ascii_on_one_line(text: str) -> None:
    for check in (
        lambda: rules.size(text + "!"),
        lambda: rules.region(text + "!"),
        lambda: rules.add_pool(cluster(), pool("first", database=text + "!")),
    ):
        message = refused(check)
        assert message.isascii()
        assert message.isprintable()
        assert len(message) < 1500
