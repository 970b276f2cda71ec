"""Which ports of a host a node gets."""

from __future__ import annotations

from cenote.model.fleet_records import Host
from cenote.rules.port_allocation import free_metrics_port, free_pair


def host(first: int, last: int, *busy: int) -> Host:
    return Host(
        id="here",
        name="here",
        address="127.0.0.1",
        memory_mib=1024,
        cpus=1,
        versions={},
        first_port=first,
        last_port=last,
        busy_ports=busy,
    )


def test_pairs_come_from_below_and_ports_for_metrics_from_above() -> None:
    assert free_pair(host(10, 19), set()) == 10
    assert free_pair(host(10, 19), {10, 11}) == 12
    assert free_metrics_port(host(10, 19), set()) == 19
    assert free_metrics_port(host(10, 19), {19}) == 18


def test_what_others_use_is_passed_over() -> None:
    assert free_pair(host(10, 19, 11), {12}) == 14
    assert free_metrics_port(host(10, 19, 19), {18}) == 17


def test_where_all_is_taken_there_is_none() -> None:
    assert free_pair(host(10, 13), {11, 12}) is None
    assert free_metrics_port(host(10, 11), {10, 11}) is None
    assert free_pair(host(10, 10), set()) is None
