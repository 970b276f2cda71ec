"""The choice of a host and of ports for a node, for any hosts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cenote.errors import Busy, CenoteError, Invalid, Unavailable
from cenote.model.catalog import SIZES
from cenote.model.fleet_records import ALL_ROLES, Host, HostRole
from cenote.model.records import Node
from cenote.rules import scheduling
from cenote.rules.host_states import HostState
from cenote.rules.scheduling import Candidate, Overcommit, Promise, Wanted, choose, fits, hindrance, promises
from tests.support.wanted import CLUSTER

SMALL = Wanted(version="15", memory_mib=1024, storage_mib=10_240)
ROLES = (ALL_ROLES, (HostRole.API, HostRole.STORE), (HostRole.DATABASE,))
FIRST, LAST = 25060, 25071
REFUSALS = (Busy, Invalid, Unavailable)


def host(id: str, **changes: Any) -> Host:
    usual: dict[str, Any] = {
        "name": f"db-{id}",
        "address": "127.0.0.1",
        "memory_mib": 16_384,
        "cpus": 4,
        "versions": {"15": "15.18"},
        "first_port": FIRST,
        "last_port": LAST,
        "disk_mib": 200_000,
    }
    return Host(id=id, **usual | changes)


ports = st.frozensets(st.integers(FIRST, LAST), max_size=12)
candidates = st.builds(
    Candidate,
    st.builds(
        host,
        st.sampled_from("abcde"),
        memory_mib=st.sampled_from((512, 2048, 16_384)),
        disk_mib=st.sampled_from((0, 20_000, 200_000)),
        versions=st.sampled_from(({"15": "15.18"}, {"16": "16.4"}, {"15": "15.18", "16": "16.4"}, {})),
        zone=st.sampled_from(("", "east", "west")),
        roles=st.sampled_from(ROLES),
        busy_ports=ports.map(lambda found: tuple(sorted(found))),
    ),
    state=st.sampled_from(HostState),
    drained=st.booleans(),
    promised=st.builds(
        Promise, memory_mib=st.integers(0, 20_000), storage_mib=st.integers(0, 200_000), nodes=st.just(1)
    ),
    taken=ports,
)
fleets = st.lists(candidates, max_size=5, unique_by=lambda one: one.host.id)
wishes = st.builds(
    Wanted,
    version=st.sampled_from(("15", "16")),
    memory_mib=st.sampled_from((1024, 8192)),
    storage_mib=st.sampled_from((10_240, 100_000)),
    host=st.sampled_from(("", "", "a", "db-b", "nobody")),
    zone=st.sampled_from(("", "", "east", "north")),
)
limits = st.builds(
    Overcommit, memory=st.sampled_from((None, 1.0, 2.0)), storage=st.sampled_from((None, 1.0, 1.5))
)


def open_pairs(one: Candidate, others: list[Candidate]) -> list[int]:
    """The first ports of pairs on a host that none of the others uses, with one more for metrics."""
    closed = set(one.taken).union(*(other.taken | set(other.host.busy_ports) for other in others))
    closed |= set(one.host.busy_ports)
    free = set(range(one.host.first_port, one.host.last_port + 1)) - closed
    pairs = [port for port in range(FIRST, LAST, 2) if {port, port + 1} <= free]
    return [port for port in pairs[:1] if free - {port, port + 1}]


@given(wishes, fleets, limits)
def test_a_node_is_placed_on_a_host_that_takes_it_with_free_ports_or_refused_in_words(
    wanted: Wanted, fleet: list[Candidate], factors: Overcommit
) -> None:
    able = [one for one in fleet if not hindrance(wanted, one, factors)]
    if not any(open_pairs(one, [one]) for one in able):
        with pytest.raises(REFUSALS, match=r"\.$"):
            choose(wanted, fleet, factors)
        return
    found = choose(wanted, fleet, factors)
    chosen = next(one for one in able if one.host == found.host)
    own = {found.port, found.pool_port, found.metrics_port}
    assert len(own) == 3
    assert not own & (chosen.taken | set(chosen.host.busy_ports))
    assert all(FIRST <= port <= LAST for port in own)
    if any(open_pairs(one, fleet) for one in able):
        assert all(not own & (one.taken | set(one.host.busy_ports)) for one in fleet)


@given(wishes, candidates, limits)
def test_what_is_promised_stays_below_the_factor(wanted: Wanted, one: Candidate, factors: Overcommit) -> None:
    if hindrance(wanted, one, factors):
        return
    if factors.memory is not None:
        assert one.promised.memory_mib + wanted.memory_mib <= one.host.memory_mib * factors.memory
    if factors.storage is not None and one.host.disk_mib:
        assert one.promised.storage_mib + wanted.storage_mib <= one.host.disk_mib * factors.storage


@given(st.integers(0, 1_000_000), st.integers(0, 1_000_000))
def test_without_factors_nothing_is_refused_for_lack_of_room(memory: int, storage: int) -> None:
    full = Candidate(host("a"), promised=Promise(memory_mib=memory, storage_mib=storage, nodes=1))
    assert choose(SMALL, [full]).host.id == "a"


def test_clusters_spread_evenly_and_each_has_ports_of_its_own() -> None:
    fleet = {id: Candidate(host(id, last_port=26_000)) for id in "abc"}
    seen: list[int] = []
    for _ in range(12):
        found = choose(SMALL, fleet.values())
        one = fleet[found.host.id]
        own = {found.port, found.pool_port, found.metrics_port}
        seen += own
        promised = Promise(
            memory_mib=one.promised.memory_mib + SMALL.memory_mib,
            storage_mib=one.promised.storage_mib + SMALL.storage_mib,
            nodes=one.promised.nodes + 1,
        )
        fleet[one.host.id] = Candidate(one.host, promised=promised, taken=one.taken | own)
    assert [one.promised.nodes for one in fleet.values()] == [4, 4, 4]
    assert len(seen) == len(set(seen))


def test_a_larger_host_gets_more() -> None:
    large, small = Candidate(host("a", memory_mib=32_768)), Candidate(host("b", memory_mib=8192))
    assert choose(SMALL, [large, small]).host.id == "a"
    used = Candidate(large.host, promised=Promise(memory_mib=28_672, nodes=7))
    assert choose(SMALL, [used, small]).host.id == "b"


def test_storage_counts_like_memory() -> None:
    full = Candidate(host("a"), promised=Promise(storage_mib=190_000, nodes=1))
    busy = Candidate(host("b"), promised=Promise(memory_mib=12_000, nodes=1))
    assert choose(SMALL, [full, busy]).host.id == "b"


def test_ports_that_are_taken_everywhere_else_are_used_when_no_others_are_left() -> None:
    here = Candidate(host("a"))
    there = Candidate(host("b"), taken=frozenset(range(FIRST, LAST + 1)))
    assert choose(SMALL, [here, there]).port == FIRST


@pytest.mark.parametrize(
    ("wanted", "changes", "error", "words"),
    [
        ({"host": "nobody"}, {}, Invalid, "cenote.host: no host that runs clusters is named 'nobody'."),
        ({"zone": "west"}, {}, Invalid, "no host is in the zone 'west'; there is east."),
        ({"host": "db-a", "zone": "west"}, {}, Invalid, "no host is in the zone 'west'"),
        ({"version": "17"}, {}, Unavailable, "No host with PostgreSQL 17 is up."),
        ({}, {"state": HostState.DOWN}, Unavailable, "is up. db-a does not answer."),
        ({}, {"state": HostState.AWAY}, Unavailable, "is up. db-a does not answer."),
        ({}, {"drained": True}, Busy, "No host takes new clusters now. db-a is being drained."),
        (
            {"memory_mib": 65_536},
            {},
            Busy,
            "No host has room for 64 GiB of memory and 10 GiB of storage. db-a has 16 GiB of memory left. "
            "Choose a smaller size, delete a cluster, or add a host.",
        ),
        ({"storage_mib": 1_000_000}, {}, Busy, "db-a has 195 GiB of storage left."),
    ],
)
def test_a_refusal_says_what_is_missing(
    wanted: dict[str, Any], changes: dict[str, Any], error: type[CenoteError], words: str
) -> None:
    asked = replace(SMALL, **wanted)
    one = Candidate(host("a", zone="east"), **changes)
    api_only = Candidate(host("z", roles=(HostRole.API,), zone="west"))
    with pytest.raises(error) as raised:
        choose(asked, [one, api_only], Overcommit(memory=1.0, storage=1.0))
    assert words in raised.value.message


def test_many_hosts_are_not_all_named() -> None:
    fleet = [Candidate(host(f"{number:02}"), drained=True) for number in range(20)]
    with pytest.raises(Busy, match=r"db-04 is being drained; and 15 more\.$"):
        choose(SMALL, fleet)


def test_a_node_counts_until_it_is_removed_from_its_host() -> None:
    node = Node(name="node-2", host="there", port=1, pool_port=2)
    cluster = replace(CLUSTER, left=(node,))
    memory = SIZES[cluster.size].memory_mib
    assert promises([cluster, cluster])["there"] == Promise(
        memory_mib=2 * memory, storage_mib=2 * cluster.storage_mib, nodes=2
    )
    assert promises([]) == {}


def test_what_fits_is_what_needs_no_overcommitment_unless_there_is_a_factor() -> None:
    large = Wanted(version="15", memory_mib=32_768, storage_mib=10_240)
    one = Candidate(host("a"))
    assert fits(SMALL, one)
    assert not fits(large, one)
    assert fits(large, one, Overcommit(memory=2.0))
    assert (
        scheduling.left_in_words(one) == "16 GiB of 16 GiB of memory left, 195 GiB of 195 GiB of storage left"
    )
    promised = Promise(memory_mib=20_480, nodes=1)
    assert "4 GiB more memory allocated than there is" in scheduling.left_in_words(
        Candidate(one.host, promised=promised)
    )
