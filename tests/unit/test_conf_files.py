"""The files as a whole: what stands in them; a customer's name changes its own entry and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cenote import rules
from cenote.conf import hba, pgbouncer, postgresql
from cenote.errors import Invalid
from cenote.model import catalog
from cenote.model.firewall import Networks
from cenote.model.records import Configuration, Pool, PoolMode
from cenote.rules import sizing
from tests.support import readers

PLACE = pgbouncer.Instance(
    directory=Path("/data/clusters/1/pgbouncer"),
    socket_directory=Path("/data/run/1"),
    certificate=Path("/data/clusters/1/tls/server.pem"),
    listen=("127.0.0.1", "::1"),
    port=25061,
    server=pgbouncer.Server(25060),
    max_clients=5000,
)
OFFICES = [ip_network(text) for text in ("192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32")]
POOLS = (Pool(name="backend-pool", database="defaultdb", size=10, user="doadmin"),)
TEXT = st.text(alphabet="abzA09_.-@$+ '\"\\%#;=*[]/,\n\t\x00ä", max_size=70) | st.text(max_size=70)


VERIFIER = "SCRAM-SHA-256$4096:c2FsdA==$a+/=:b+/="
USERS = {"doadmin": VERIFIER}


def lines_added(render: Callable[[], str], before: str) -> list[str] | None:
    """The lines that an entry adds to a file, or None when it is refused; all other lines have to stay."""
    try:
        after = render().split("\n")
    except Invalid:
        return None
    added, rest = [], before.split("\n")
    for line in after:
        if rest and line == rest[0]:
            rest.pop(0)
        else:
            added.append(line)
    assert not rest, "a line went or changed"
    return added


def is_let_in(check: Callable[[str], str], name: str) -> bool:
    try:
        return bool(check(name))
    except Invalid:
        return False


def everyone(names: Iterable[str]) -> str:
    return hba.render_ident("root", "postgres", names)


@given(name=TEXT, database=TEXT, owner=TEXT)
@example(name="%include /etc/passwd", database="d", owner="")
@example(name="abc\n[pgbouncer]\nauth_type = any", database="d", owner="")
@example(name="abc", database="d' user='postgres", owner="")
@example(name="abc", database="d", owner="u'\nlisten_port = 1")
def test_a_pool_adds_its_own_line_to_pgbouncers_file_or_is_refused(
    name: str, database: str, owner: str
) -> None:
    pool = Pool(name=name, database=database, size=3, mode=PoolMode.SESSION, user=owner)
    users = USERS | {owner: VERIFIER}
    added = lines_added(
        lambda: pgbouncer.render(PLACE, (*POOLS, pool), users), pgbouncer.render(PLACE, POOLS, USERS)
    )
    if added is not None:
        [line] = added
        expected = {"host": "/data/run/1", "port": "25060", "dbname": database, "pool_mode": "session"}
        expected |= {"pool_size": "3"}
        named = {"user": owner, "password": VERIFIER}
        expected |= named if owner else {"max_db_connections": "3"}
        assert readers.database_line(line) == (name, expected)


@given(name=TEXT)
@example(name='a" ""\n"cenote')
def test_a_user_adds_its_own_line_to_the_userlist_or_is_refused(name: str) -> None:
    before = pgbouncer.render_userlist(USERS)
    added = lines_added(lambda: pgbouncer.render_userlist(USERS | {name: VERIFIER}), before)
    if added is not None:
        [line] = added
        assert readers.userlist(line) == (name, VERIFIER)


@given(name=TEXT, owner=TEXT)
@example(name="abc", owner="all")
@example(name="abc", owner='u"  0.0.0.0/0  trust\nhost all all')
def test_a_pool_with_a_user_adds_rules_for_itself_alone_or_is_refused(name: str, owner: str) -> None:
    pool = Pool(name=name, database="d", size=1, user=owner)
    added = lines_added(lambda: pgbouncer.render_hba((*POOLS, pool)), pgbouncer.render_hba(POOLS))
    if added is not None and owner:
        assert [readers.tokens(line) for line in added] == [
            [kind, f'"{name}', who, address, method]
            for kind, who, method in (("hostssl", f'"{owner}', "scram-sha-256"), ("host", "all", "reject"))
            for address in ("0.0.0.0/0", "::/0")
        ]
    elif added is not None:
        assert added == []


@given(name=TEXT)
@example(name="all")
@example(name="+postgres")
@example(name='x"\ncenote  root  "postgres')
def test_a_user_adds_its_own_line_to_the_user_map_or_is_refused(name: str) -> None:
    added = lines_added(lambda: everyone(["doadmin", name]), everyone(["doadmin"]))
    if added is not None:
        [line] = added
        assert readers.tokens(line) == ["cenote", '"postgres', f'"{name}']


@given(name=st.text(alphabet="abzA09_.-@$+", max_size=70), owner=st.text(alphabet="abz09_.-@$+", max_size=70))
def test_every_name_that_the_rules_let_in_can_be_written(name: str, owner: str) -> None:
    if is_let_in(rules.user_name, owner):
        pgbouncer.render_userlist({owner: VERIFIER})
        everyone([owner])
        if is_let_in(rules.pool_name, name):
            pool = Pool(name=name, database=owner, size=1, user=owner)
            pgbouncer.render(PLACE, [pool], {owner: VERIFIER})
            pgbouncer.render_hba([pool])


@given(text=TEXT)
def test_a_text_reaches_its_own_setting_or_is_refused(text: str) -> None:
    def settings(text: str) -> str:
        return postgresql.render(postgresql.base_settings("15"), {"cluster_name": text})

    try:
        written = settings(text)
    except Invalid:
        return
    assert readers.postgresql(written) == readers.postgresql(settings("x")) | {"cluster_name": text}


@pytest.mark.parametrize("version", ["13", "17", "18"])
def test_a_setting_is_written_only_for_the_versions_that_know_it(version: str) -> None:
    known = "autovacuum_worker_slots" in postgresql.base_settings(version)
    assert known == (int(version) >= 18)


@pytest.mark.parametrize(
    ("memory_mib", "expected"), [(64, "1MB"), (1024, "4MB"), (4096, "16MB"), (262_144, "16MB")]
)
def test_the_buffers_of_the_log_grow_with_the_memory_up_to_a_segment(memory_mib: int, expected: str) -> None:
    assert sizing.settings(memory_mib, vcpus=1, connections=25)["wal_buffers"] == expected


def test_the_order_of_the_records_makes_no_other_file() -> None:
    pools = (*POOLS, Pool(name="another", database="d", size=1))
    users = USERS | {"app": VERIFIER}
    other = dict(reversed(users.items()))
    assert pgbouncer.render(PLACE, pools, users) == pgbouncer.render(PLACE, pools[::-1], other)
    assert pgbouncer.render_hba(pools) == pgbouncer.render_hba(pools[::-1])
    assert pgbouncer.render_userlist(users) == pgbouncer.render_userlist(other)
    assert everyone(["a", "b"]) == everyone(["b", "a"])


def test_a_later_layer_of_settings_wins() -> None:
    text = postgresql.render({"port": "1", "ssl": "on"}, {"port": "2"})
    assert readers.postgresql(text) == {"port": "2", "ssl": "on"}


@pytest.mark.parametrize("size", catalog.SIZES.values(), ids=catalog.SIZES.keys())
@pytest.mark.parametrize("machine_mib", [256, 2048, 512 * 1024])
def test_the_settings_of_every_size_fit_into_what_it_may_use(size: catalog.Size, machine_mib: int) -> None:
    memory = min(size.memory_mib, machine_mib)
    connections = catalog.pool_capacity(size) + catalog.RESERVED_CONNECTIONS
    settings = sizing.settings(memory, size.vcpus, connections)
    mib = {name: int(value[:-2]) for name, value in settings.items() if value.endswith("MB")}
    assert mib["shared_buffers"] <= memory // 2
    assert mib["effective_cache_size"] <= memory
    assert 1 <= mib["work_mem"] <= max(1, memory // 4 // connections)
    assert 16 <= mib["maintenance_work_mem"] <= 1024
    assert int(settings["max_connections"]) == connections


def test_the_map_lets_the_service_be_the_superuser_and_the_pooler_each_role() -> None:
    lines = [readers.tokens(line) for line in everyone(["app", "doadmin"]).splitlines()]
    assert [line for line in lines if line] == [
        ["cenote", '"root', '"postgres'],
        ["cenote", '"postgres', '"postgres'],
        ["cenote", '"postgres', '"app'],
        ["cenote", '"postgres', '"doadmin'],
    ]


def test_nobody_reaches_postgresql_from_the_network_without_tls_and_scram() -> None:
    lines = [readers.tokens(line) for line in hba.render().splitlines()]
    assert [line for line in lines if line] == [
        ["local", "all", "all", "peer", "map=cenote"],
        ["local", "replication", "postgres", "peer", "map=cenote"],
        ["host", "all", "postgres", "all", "reject"],
        ["hostssl", "all", "all", "all", "scram-sha-256"],
    ]


def test_pgbouncers_console_is_for_the_service_alone() -> None:
    rules = [readers.tokens(line) for line in pgbouncer.render_hba(POOLS).splitlines()]
    assert rules[:2] == [
        ["local", "pgbouncer", "cenote", "trust"],
        ["local", "all", "all", "reject"],
    ]
    rejected = [rule[:3] for rule in rules if rule[-1] == "reject"]
    assert ["host", "pgbouncer", "all"] in rejected
    assert ["host", "all", "cenote"] in rejected
    assert all(rule[0] == "hostssl" for rule in rules if rule[-1] == "scram-sha-256")
    assert [rule[-1] for rule in rules].count("trust") == 1


def test_what_sql_has_shut_is_refused_before_anybody_is_admitted() -> None:
    pools = (
        Pool(name="own", database="orders", size=1, user="app"),
        Pool(name="of-all", database="orders", size=1),
        Pool(name="other", database="shut", size=1),
    )
    shut = pgbouncer.Shut({"shut", "closed"}, {"orders": ("app", "reader")})
    rules = [readers.tokens(line) for line in pgbouncer.render_hba(pools, (), shut, autodb=True).splitlines()]
    refused = [tuple(rule[1:3]) for rule in rules if rule[0] == "host" and rule[3] == "::/0"][2:]
    assert refused == [
        ('"of-all', '"app'),
        ('"of-all', '"reader'),
        ('"other', "all"),
        *[('"own', "all")] * 2,
        ('"closed', "all"),
        ('"orders', '"app'),
        ('"orders', '"reader'),
        ('"shut', "all"),
    ]
    lines = pgbouncer.render_hba(pools, None, shut).splitlines()
    assert not any('"closed"' in line or '"orders"' in line for line in lines), "no client names a database"
    assert lines.index('host  "own"  all  ::/0  reject') < lines.index(
        'hostssl  "own"  "app"  ::/0  scram-sha-256'
    )


def test_a_database_that_is_for_few_admits_these_and_then_nobody() -> None:
    pools = (
        Pool(name="of-all", database="orders", size=1),
        Pool(name="own", database="orders", size=1, user="app"),
        Pool(name="other", database="orders", size=1, user="reader"),
    )
    shut = pgbouncer.Shut(all_but={"orders": ("app",), "nobody": ()})
    lines = pgbouncer.render_hba(pools, None, shut, autodb=True).splitlines()
    rules = [readers.tokens(line) for line in lines]
    found = [(*rule[1:3], rule[-1]) for rule in rules if "::/0" in rule][2:]
    assert found == [
        ('"of-all', '"app', "scram-sha-256"),
        ('"of-all', "all", "reject"),
        ('"other', "all", "reject"),
        ('"other', '"reader', "scram-sha-256"),
        ('"other', "all", "reject"),
        ('"own', '"app', "scram-sha-256"),
        ('"own', "all", "reject"),
        ('"nobody', "all", "reject"),
        ('"orders', '"app', "scram-sha-256"),
        ('"orders', "all", "reject"),
        ("all", "all", "scram-sha-256"),
    ]


@pytest.mark.parametrize("before", [None, (), tuple(OFFICES[:1]), tuple(OFFICES)])
@pytest.mark.parametrize("after", [None, tuple(OFFICES[1:]), tuple(OFFICES)])
def test_other_sources_take_the_place_of_the_former_ones_and_the_rest_of_the_file_stays(
    before: Networks, after: Networks
) -> None:
    pools = (*POOLS, Pool(name="second", database="defaultdb", size=1, user="a  user"))
    found = pgbouncer.with_sources(pgbouncer.render_hba(pools, before), after)
    if before != ():  # with no source at all, the file has no line to put others in the place of
        assert found == pgbouncer.render_hba(pools, after)
    assert pgbouncer.with_sources(found, after) == found
    assert pgbouncer.with_sources(found, ()) == pgbouncer.render_hba(pools, ())


# -- Pools of clusters with several nodes

NODES = replace(PLACE, has_nodes=True, standby=pgbouncer.Server(25060, ("10.0.0.2", "10.0.0.3")))


def entries(text: str) -> dict[str, dict[str, str]]:
    section = text.partition("[databases]\n")[2].partition("\n\n")[0]
    return dict(map(readers.database_line, section.splitlines()))


def test_each_pool_leads_to_standbys_under_another_name() -> None:
    found = entries(pgbouncer.render(NODES, POOLS, USERS))
    assert found["backend-pool"]["host"] == "/data/run/1"
    assert found["backend-pool.standby"] == found["backend-pool"] | {"host": "10.0.0.2,10.0.0.3"}
    assert "server_tls_sslmode = verify-ca" in pgbouncer.render(NODES, POOLS, USERS)
    assert list(entries(pgbouncer.render(PLACE, POOLS, USERS))) == ["backend-pool"]


def test_whoever_may_not_use_a_pool_may_not_use_it_under_its_other_name() -> None:
    pools = (*POOLS, Pool(name="open-pool", database="orders", size=1))
    shut = pgbouncer.Shut(databases={"orders"})
    text = pgbouncer.render_hba(pools, tuple(OFFICES), shut, standbys=True)
    for name in ("backend-pool", "open-pool"):
        assert f'"{name}"' in text
        mine, other = (
            [line.replace(f'"{name}{end}"', "") for line in text.splitlines() if f'"{name}{end}"' in line]
            for end in ("", ".standby")
        )
        assert mine == other


def test_a_pool_that_has_such_a_name_already_keeps_it_and_new_ones_are_refused() -> None:
    former = Pool(name="backend-pool.standby", database="orders", size=1)
    found = entries(pgbouncer.render(NODES, (*POOLS, former), USERS))
    assert list(found) == ["backend-pool", "backend-pool.standby", "backend-pool.standby.standby"]
    assert found["backend-pool.standby"]["dbname"] == "orders"
    assert not is_let_in(rules.pool_name, former.name)


pool_names = st.text(alphabet="ab.-_9", min_size=1, max_size=20) | st.just("a.standby")
servers = st.sampled_from(
    (pgbouncer.Server(1), pgbouncer.Server(25060, ("10.0.0.9",)), pgbouncer.Server(9, ("10.0.0.8", "::1")))
)


@given(st.lists(pool_names, unique=True, max_size=4), servers, servers, servers, TEXT)
@example(["a"], pgbouncer.Server(1), pgbouncer.Server(2), pgbouncer.Server(3), "x = host='y' port=7 ")
def test_pools_that_are_led_elsewhere_are_as_if_they_had_been_written_so(
    names: list[str],
    former: pgbouncer.Server,
    server: pgbouncer.Server,
    standby: pgbouncer.Server,
    connect_query: str,
) -> None:
    pools = [Pool(name=name, database="d = host='a' port=1 ", size=1) for name in names]
    chosen = Configuration(
        pgbouncer={"autodb_pool_size": 3}, cenote={"connect_query": connect_query} if connect_query else {}
    )
    before = lines_or_none(lambda: pgbouncer.render(replace(NODES, server=former), pools, USERS, chosen))
    if before is None:
        return
    after = pgbouncer.render(replace(NODES, server=server, standby=standby), pools, USERS, chosen)
    assert pgbouncer.led_to(before, names, server, standby, PLACE.socket_directory) == after


def lines_or_none(render: Callable[[], str]) -> str | None:
    try:
        return render()
    except Invalid:
        return None
