"""The differences between versions of a record: each field has words, and no secret is in them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cenote.model import groups, records
from cenote.model.event_records import Difference, Event, Note
from cenote.model.groups import Project, Tag
from cenote.model.migrations import MigrationReport, MigrationSource, OnlineMigration, Wish
from cenote.model.record import Record
from cenote.model.records import (
    Access,
    CertificateAuthority,
    Cluster,
    Configuration,
    Database,
    FirewallRule,
    LogSink,
    MaintenanceWindow,
    MetricsLogin,
    Move,
    MoveStage,
    Node,
    Pool,
    PoolMode,
    Removal,
    RemovalKind,
    RestartTurn,
    SinkType,
    SourceType,
    StorageAutoscale,
    Switchover,
    Token,
    User,
    UserRole,
)
from cenote.rules import differences, record_words
from cenote.rules.differences import in_words, of_cluster, of_group, of_metrics_login, of_token, summary
from cenote.rules.record_words import Kind

AT = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "SECRET"
USER = User(name="app", verifier=f"{SECRET}1", sealed_password=f"{SECRET}2")
POOL = Pool(name="backend-pool", database="shop", size=10, user="app")
RULE = FirewallRule(id=UUID(int=1), type=SourceType.IP_ADDR, value="10.0.0.0/8", created_at=AT)
SINK = LogSink(id=UUID(int=2), name="logs", type=SinkType.RSYSLOG, sealed_config=f"{SECRET}3")
REMOVAL = Removal(id=UUID(int=3), kind=RemovalKind.USER, name="old", at=AT)
CLUSTER = Cluster(
    id=UUID(int=9),
    name="backend",
    version="15",
    size="db-s-1vcpu-1gb",
    region="nyc1",
    created_at=AT,
    storage_mib=10240,
    project_id=UUID(int=10),
    private_network_id=UUID(int=11),
    authority=CertificateAuthority(certificate=f"{SECRET}4", sealed_key=f"{SECRET}5"),
    nodes=(Node(name="node-1", host="here", port=25060, pool_port=25061),),
    users=(USER,),
    databases=(Database(name="shop"),),
    removing=(REMOVAL,),
    pools=(POOL,),
    tags=("web",),
    firewall=(RULE,),
    configuration=Configuration(postgresql={"work_mem": 4}, cenote={"connect_query": f"select '{SECRET}6'"}),
    sinks=(SINK,),
)


def words(before: Cluster | None, after: Cluster) -> list[str]:
    return [in_words(one) for one in of_cluster(before, after)[0]]


def changed(**fields: Any) -> list[str]:
    return words(CLUSTER, replace(CLUSTER, **fields))


# -- Every field has words

MIGRATION = OnlineMigration(
    id=uuid4(),
    source=MigrationSource(
        host="db.example.com", port=5432, dbname="postgres", username="app", sealed_password=""
    ),
    asked_at=AT,
)
VALUES: dict[str, list[Any]] = {
    "assigned_at": [AT],
    "authority": [CertificateAuthority(certificate="c", sealed_key="k")],
    "autoscale": [StorageAutoscale(enabled=True, threshold_percent=80, increment_gib=10)],
    "configuration": [Configuration(postgresql={"work_mem": 8}), Configuration(pgbouncer={"x": True})],
    "created_at": [AT + timedelta(1)],
    "deleted_at": [AT],
    "delete_protection": [True],
    "distinct_hosts": [True],
    "promote_asked_at": [AT],
    "left": [(Node(name="node-2", host="there", port=1, pool_port=2),)],
    "move": [Move(source="node-1", target="node-2", asked_at=AT)],
    "online_migration": [MIGRATION],
    "switchover": [Switchover(source="node-1", target="node-2", asked_at=AT, until=AT)],
    "restart_turn": [RestartTurn(node="node-2", since=AT)],
    "maintenance_window": [MaintenanceWindow(day="monday", hour="04:00")],
    "update_asked_at": [AT],
    "removing": [(), (REMOVAL, replace(REMOVAL, name="other"))],
    "tags": [(), ("web", "more")],
}
OTHER: dict[Any, Any] = {
    UserRole: UserRole.PRIMARY,
    PoolMode: PoolMode.SESSION,
    SourceType: SourceType.TAG,
    SinkType: SinkType.OPENSEARCH,
    RemovalKind: RemovalKind.DATABASE,
    UUID: uuid4(),
    datetime: AT + timedelta(2),
    str: "another",
    int: 7,
    type(None): "another",
    tuple: ("another",),
}


def others(cluster: Cluster, name: str) -> Iterable[Cluster]:
    """Return clusters that differ in one field."""
    value = getattr(cluster, name)
    if name in VALUES:
        for other in VALUES[name]:
            yield replace(cluster, **{name: other})
    elif isinstance(value, tuple) and value and isinstance(value[0], Record):
        yield replace(cluster, **{name: ()})
        for field in value[0].__struct_fields__:
            one = replace(value[0], **{field: OTHER[type(getattr(value[0], field))]})
            yield replace(cluster, **{name: (one,)})
    else:
        yield replace(cluster, **{name: OTHER[type(value)]})


@pytest.mark.parametrize("name", Cluster.__struct_fields__)
def test_a_change_of_any_field_is_told(name: str) -> None:
    for other in others(CLUSTER, name):
        assert words(CLUSTER, other), other
        assert words(other, CLUSTER), other


def test_every_field_of_a_cluster_has_words() -> None:
    known = [*record_words.LISTS, *record_words.VALUES, *record_words.HIDDEN, *record_words.BOOKKEEPING]
    assert sorted([*known, *record_words.SPECIAL]) == sorted(Cluster.__struct_fields__)


def described() -> dict[type[Record], Kind]:
    found = {type(getattr(CLUSTER, name)[0]): kind for name, kind in record_words.LISTS.items()}
    return {
        **found,
        Removal: record_words.REMOVAL,
        Token: record_words.TOKEN,
        MetricsLogin: record_words.METRICS_LOGIN,
        **record_words.GROUPS,
    }


@pytest.mark.parametrize("record", described(), ids=lambda record: record.__name__)
def test_every_field_of_a_record_has_words(record: type[Record]) -> None:
    kind = described()[record]
    known = {*kind.named_by, *kind.fields, *kind.hidden, *kind.unsaid}
    assert known == set(record.__struct_fields__)


def test_no_field_that_is_told_is_sealed() -> None:
    for module in (records, groups):
        for _, record in inspect.getmembers(module, inspect.isclass):
            kind = described().get(record) if issubclass(record, Record) else None
            if kind is not None:
                assert not [name for name in kind.fields if "seal" in name or "verif" in name]


# -- What is said


def test_a_change_says_what_it_was_and_is() -> None:
    pool = replace(POOL, size=22, mode=PoolMode.SESSION, user="")
    assert changed(pools=(pool,)) == [
        "pool backend-pool: size: from 10 to 22",
        "pool backend-pool: mode: from transaction to session",
        "pool backend-pool: user: from app to each client's own",
    ]
    assert changed(size="db-s-2vcpu-4gb", storage_mib=20480) == [
        "size: from db-s-1vcpu-1gb to db-s-2vcpu-4gb",
        "storage: from 10 GiB to 20 GiB",
    ]
    assert changed(maintenance_window=MaintenanceWindow(day="monday", hour="04:00")) == [
        "maintenance window: from sunday 03:00 to monday 04:00"
    ]
    grows = StorageAutoscale(enabled=True, threshold_percent=80, increment_gib=10)
    assert changed(autoscale=grows) == ["growth of the storage: from off to by 10 GiB at 80 %"]


def test_what_is_added_and_removed_is_described() -> None:
    assert changed(pools=()) == [
        "pool backend-pool: removed (size 10, mode transaction, database shop, user app)"
    ]
    rule = replace(RULE, id=uuid4(), value="192.0.2.1", description="office")
    assert changed(firewall=(rule,)) == [
        "trusted source 10.0.0.0/8: removed",
        "trusted source 192.0.2.1: added (description office)",
    ]
    reader = User(name="reader", verifier=SECRET, sealed_password=SECRET, access=Access.READONLY)
    assert changed(users=(USER, reader)) == ["user reader: added (access to others' tables readonly)"]
    assert changed(tags=("db",)) == ["tag web: removed", "tag db: added"]


def test_a_new_password_is_told_without_it() -> None:
    user = replace(USER, verifier="new", sealed_password="new")
    assert changed(users=(user,)) == ["password of user app: changed"]


def test_settings_are_told_with_their_defaults() -> None:
    chosen = Configuration(
        postgresql={"jit": False}, pgbouncer={"min_pool_size": 2}, cenote={"x": ("a", "b")}
    )
    assert changed(configuration=chosen) == [
        "setting jit: from the default to off",
        "setting work_mem: from 4 to the default",
        "setting min_pool_size: from the default to 2",
        "setting cenote.connect_query: changed",
        "setting cenote.x: from the default to a, b",
    ]


def test_a_setting_of_another_type_but_the_same_value_is_no_difference() -> None:
    assert changed(configuration=CLUSTER.configuration) == []


def test_bookkeeping_is_told_only_when_nothing_else_is() -> None:
    assert changed(users=(), removing=()) == ["user app: removed"]
    assert changed(removing=()) == ["removal of user old: removed"]
    named = {str(UUID(int=10)): "default", str(UUID(int=12)): "shop"}
    other = replace(CLUSTER, project_id=UUID(int=12), assigned_at=AT)
    found, _ = of_cluster(CLUSTER, other, lambda id: named.get(id, id))
    assert [in_words(one) for one in found] == ["project: from default to shop"]


def test_a_cluster_that_is_made_and_deleted_is_described() -> None:
    described = "PostgreSQL 15, db-s-1vcpu-1gb, nyc1, 10 GiB of storage"
    assert words(None, CLUSTER) == [
        f"cluster backend: added ({described})",
        "tag web: added",
        "trusted source 10.0.0.0/8: added",
    ]
    assert changed(deleted_at=AT) == [f"cluster backend: removed ({described})"]


def test_a_move_is_told_by_its_hosts_and_not_by_its_nodes() -> None:
    [source], target = CLUSTER.nodes, Node(name="node-2", host="there", port=25060, pool_port=25061)
    move = Move(source="node-1", target="node-2", asked_at=AT)
    moving = replace(CLUSTER, nodes=(source, target), move=move)
    assert words(CLUSTER, moving) == ["move: added (from here to there)"]
    assert words(moving, replace(CLUSTER, left=(target,))) == ["move: removed (from here to there)"]
    switching = replace(moving, move=replace(move, stage=MoveStage.SWITCHING))
    assert words(moving, switching) == ["move: from copying to switching"]
    over = replace(CLUSTER, nodes=(target,), left=(source,))
    assert words(moving, over) == [], "its event says so"
    assert words(over, replace(over, left=())) == ["removal from its host of node-1: removed (host here)"]


def test_a_switch_is_told_by_its_nodes() -> None:
    switch = Switchover(source="node-1", target="node-2", asked_at=AT, until=AT)
    switching = replace(CLUSTER, switchover=switch)
    assert words(CLUSTER, switching) == ["switch: added (from node-1 to node-2)"]
    assert words(switching, CLUSTER) == ["switch: removed (from node-1 to node-2)"]
    in_place = replace(CLUSTER, switchover=replace(switch, target="node-1"))
    assert words(CLUSTER, in_place) == ["switch: added (held pools while node-1 restarts)"]
    again = replace(CLUSTER, switchover=replace(switch, tries=1))
    assert words(switching, again) == ["state of the switch: changed"]
    added = Node(name="node-2", host="there", port=25060, pool_port=25061, added_at=AT)
    told = "node node-2: added (host there, port 25060, port of the pools 25061)"
    assert changed(nodes=(*CLUSTER.nodes, added)) == [told]


def test_records_of_their_own_are_told() -> None:
    token = Token(id=uuid4(), name="ci", scopes=frozenset({"b", "a"}), created_at=AT)
    assert list(map(in_words, of_token(None, token))) == ["token ci: added (scopes a, b)"]
    assert list(map(in_words, of_token(token, None))) == ["token ci: removed (scopes a, b)"]
    assert list(map(in_words, of_group(None, Tag(name="web")))) == ["tag web: added"]
    project = Project(id=uuid4(), name="shop", created_at=AT, updated_at=AT)
    renamed = replace(project, name="store", updated_at=AT + timedelta(1))
    assert list(map(in_words, of_group(project, renamed))) == ["project shop: name: from shop to store"]
    login = MetricsLogin(username="one", sealed_password=SECRET, verifier=SECRET)
    other = MetricsLogin(username="two", sealed_password="b", verifier="c")
    assert list(map(in_words, of_metrics_login(login, other))) == [
        "login for metrics: user name: from one to two",
        "password of login for metrics: changed",
    ]


def test_many_and_long_differences_are_cut() -> None:
    pools = tuple(replace(POOL, name=f"pool{number}") for number in range(33))
    rule = replace(RULE, value="192.0.2.1", description="d\n" * 500)
    found, more = of_cluster(CLUSTER, replace(CLUSTER, pools=pools, firewall=(rule,)))
    assert (len(found), more) == (differences.MOST, 1 + 33 + 2 - differences.MOST)
    event = Event(id="1", at=AT, note=Note(what="x", token_id=uuid4()), changes=found, more=more)
    assert summary(event).endswith("; and 16 more")
    [_, added] = of_cluster(CLUSTER, replace(CLUSTER, firewall=(rule,)))[0]
    assert added.after is not None
    assert len(added.after) == differences.MOST_CHARACTERS
    assert added.after.isprintable()


def test_an_event_says_in_a_line_what_was_changed() -> None:
    changes = (Difference(what="storage", before="10 GiB", after="20 GiB"),)
    by_token = Event(id="1", at=AT, note=Note(what="PUT /x", token_id=uuid4()), changes=changes)
    assert summary(by_token) == "storage: from 10 GiB to 20 GiB"
    by_itself = replace(by_token, note=Note(what="increased its storage"))
    assert summary(by_itself) == "increased its storage: storage: from 10 GiB to 20 GiB"
    assert summary(replace(by_token, changes=())) == "PUT /x"


# -- Secrets

names = st.sampled_from(["a", "b", "c"])
secrets = st.integers(0, 3).map(lambda number: f"{SECRET}{number}")


def few(build: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(build, max_size=3, unique_by=lambda one: one.name).map(tuple)


clusters = st.builds(
    replace,
    st.just(CLUSTER),
    authority=st.builds(CertificateAuthority, certificate=secrets, sealed_key=secrets),
    users=few(
        st.builds(
            User,
            name=names,
            verifier=secrets,
            sealed_password=secrets,
            role=st.sampled_from(UserRole),
            access=st.none() | st.sampled_from(Access),
        )
    ),
    sinks=few(
        st.builds(LogSink, id=st.uuids(), name=names, type=st.sampled_from(SinkType), sealed_config=secrets)
    ),
    configuration=st.builds(
        Configuration,
        postgresql=st.dictionaries(names, st.integers(0, 3)),
        cenote=st.dictionaries(st.just("connect_query"), secrets),
    ),
    deleted_at=st.none() | st.just(AT),
)


@given(clusters, clusters)
def test_no_secret_is_told_and_every_difference_is(before: Cluster, after: Cluster) -> None:
    found, _ = of_cluster(before, after)
    assert SECRET not in msgspec.json.encode(found).decode()
    assert bool(found) == (before != after)
    assert SECRET not in msgspec.json.encode(of_cluster(None, after)).decode()


def test_an_online_migration_is_told_by_its_source_and_how_it_ends() -> None:
    def told(**fields: Any) -> list[str]:
        before = replace(CLUSTER, online_migration=MIGRATION)
        return words(before, replace(CLUSTER, online_migration=replace(MIGRATION, **fields)))

    named = "online migration from db.example.com"
    assert changed(online_migration=MIGRATION) == [f"{named}: added"]
    assert told(wish=Wish.FINISH) == [f"{named}: from under way to finishing"]
    assert told(opened=True) == [f"databases of the {named}: from closed to open"]
    assert told(outcome=MigrationReport(id=MIGRATION.id)) == []
