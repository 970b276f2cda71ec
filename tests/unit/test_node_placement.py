"""The choice of hosts and of ports for clusters of several nodes, for any hosts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cenote.errors import Busy, Invalid, Unavailable
from cenote.model.records import Node
from cenote.model.topology import shares_host
from cenote.rules import node_placement, scheduling
from cenote.rules.node_placement import choose
from cenote.rules.scheduling import Candidate, Overcommit, Placement, Wanted
from tests.support.wanted import CLUSTER
from tests.unit.test_scheduling import SMALL, fleets, host, limits, wishes


def reachable(id: str, **changes: Any) -> Candidate:
    taken = changes.pop("taken", frozenset())
    known = {"patroni": "4.1.5", "fleet_address": f"127.0.1.{ord(id[0]) - 96}"}
    return Candidate(host(id, **known | changes), taken=taken)


def names(placed: tuple[Placement, ...]) -> list[str]:
    return [one.host.id for one in placed]


with_patroni = st.builds(
    lambda fleet, found: [
        Candidate(
            replace(one.host, patroni="4.1.5" if has else "", fleet_address="h" if has else ""),
            one.state,
            one.drained,
            one.promised,
            one.taken,
        )
        for one, has in zip(fleet, found, strict=True)
    ],
    st.shared(fleets, key="fleet"),
    st.shared(fleets, key="fleet").flatmap(
        lambda fleet: st.lists(st.booleans(), min_size=len(fleet), max_size=len(fleet))
    ),
)


@given(wishes, st.integers(2, 3), with_patroni, limits, st.booleans())
def test_nodes_are_placed_on_hosts_that_take_them_or_refused_in_words(
    wanted: Wanted, count: int, fleet: list[Candidate], factors: Overcommit, distinct: bool
) -> None:
    known = {one.host.id: one for one in fleet}
    refusal = ""
    try:
        placed = choose(wanted, count, fleet, factors, distinct=distinct)
    except (Busy, Invalid, Unavailable) as error:
        refusal, placed = str(error), ()
    if not placed:
        assert refusal.endswith(".")
        return
    assert len(placed) == count
    anywhere = replace(wanted, host="", patroni=True)
    for number, one in enumerate(placed):
        wish = anywhere if number else replace(wanted, patroni=True)
        assert not scheduling.hindrance(wish, known[one.host.id], factors)
    used = Counter(names(placed))
    if distinct:
        assert max(used.values()) == 1
    for id, number in used.items():
        here = [one for one in placed if one.host.id == id]
        assert len({one.port for one in here}) == number  # a server each
        assert len({(one.pool_port, one.metrics_port) for one in here}) == 1  # one pooler for all
        ports = frozenset[int]().union(*(one.ports for one in here))
        assert len(ports) == number + 2
        assert not ports & (known[id].taken | set(known[id].host.busy_ports))
    if len(used) > 1:
        assert all(one.host.fleet_address for one in placed)


def test_nodes_stand_on_different_hosts_with_the_same_ports() -> None:
    placed = choose(SMALL, 3, [reachable("a"), reachable("b", taken=frozenset({25060})), reachable("c")])
    assert sorted(names(placed)) == ["a", "b", "c"]
    assert {(one.port, one.pool_port, one.metrics_port) for one in placed} == {(25062, 25063, 25071)}


def test_they_stand_in_different_zones_where_there_are_some() -> None:
    fleet = [reachable("a", zone="east"), reachable("b", zone="east"), reachable("c", zone="west", cpus=1)]
    fleet[2] = Candidate(replace(fleet[2].host, memory_mib=2_048))
    assert set(names(choose(SMALL, 2, fleet))) == {"a", "c"}
    assert set(names(choose(SMALL, 3, fleet))) == {"a", "b", "c"}


def test_with_fewer_hosts_some_share_one_and_its_pooler() -> None:
    placed = choose(SMALL, 3, [reachable("a"), reachable("b")])
    assert sorted(Counter(names(placed)).values()) == [1, 2]
    assert {one.pool_port for one in placed} == {25061}
    alone = choose(SMALL, 2, [Candidate(host("a", patroni="4.1.5"))])
    assert [(one.port, one.pool_port) for one in alone] == [(25060, 25061), (25062, 25061)]


def test_one_that_wants_hosts_of_its_own_is_refused_with_fewer() -> None:
    fleet = [reachable("a"), reachable("b"), reachable("c", versions={})]
    with pytest.raises(Busy, match=r"3 nodes on different hosts need 3 hosts.*db-c has no PostgreSQL 15"):
        choose(SMALL, 3, fleet, distinct=True)
    with pytest.raises(Busy, match=r"db-z cannot be reached by others \(--address\)"):
        choose(SMALL, 2, [reachable("a"), reachable("z", fleet_address="")], distinct=True)
    assert len(set(names(choose(SMALL, 2, fleet, distinct=True)))) == 2


def test_hosts_that_others_cannot_reach_take_no_part_in_spreading() -> None:
    fleet = [reachable("a", memory_mib=2_048), reachable("z", fleet_address="")]
    assert len(set(names(choose(SMALL, 2, fleet)))) == 1


def test_without_patroni_several_nodes_are_refused_and_one_is_not() -> None:
    fleet = [Candidate(host("a"))]
    with pytest.raises(Busy, match=r"No host has Patroni.*ask for one node\."):
        choose(SMALL, 2, fleet)
    assert names(choose(SMALL, 1, fleet)) == ["a"]


def test_room_for_one_node_is_none_for_a_second_one_on_the_same_host() -> None:
    fleet = [reachable("a", memory_mib=1_500)]
    with pytest.raises(Busy, match="No host has room"):
        choose(SMALL, 2, fleet, Overcommit(memory=1.0))


def test_further_nodes_get_the_ports_of_the_cluster_on_hosts_of_their_own() -> None:
    first = Node(name="node-1", host="a", port=25064, pool_port=25065, metrics_port=25070)
    cluster = replace(CLUSTER, nodes=(first,))
    fleet = [reachable("a", taken=frozenset(first.ports)), reachable("b"), reachable("c")]
    placed = node_placement.more(cluster, 2, fleet, SMALL)
    assert sorted(names(placed)) == ["b", "c"]
    assert {(one.port, one.pool_port, one.metrics_port) for one in placed} == {(25064, 25065, 25070)}
    [beside] = node_placement.more(cluster, 1, fleet[:1], SMALL)
    assert (beside.port, beside.pool_port, beside.metrics_port) == (25060, 25065, 25070)
    assert shares_host(replace(cluster, nodes=(first, replace(first, name="node-2"))))
    assert not shares_host(cluster)
