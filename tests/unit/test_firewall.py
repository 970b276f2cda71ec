"""Trusted sources: which addresses rules let in, and how a replacement of all rules keeps those that stay."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from uuid import uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cenote.conf import hba, pgbouncer
from cenote.errors import Invalid
from cenote.model import firewall
from cenote.model.firewall import RequestedRule
from cenote.model.records import FirewallRule, SourceType

BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 2, 2, tzinfo=UTC)


def rule(value: str, kind: SourceType = SourceType.IP_ADDR) -> FirewallRule:
    return FirewallRule(id=uuid4(), type=kind, value=value, created_at=BEFORE)


def lets_in(address: str, *rules: FirewallRule) -> bool:
    return firewall.admits(firewall.networks(rules), ip_address(address))


def test_without_a_rule_everybody_may_connect() -> None:
    assert lets_in("203.0.113.9")
    assert lets_in("2001:db8::1")


@pytest.mark.parametrize(
    ("value", "inside", "outside"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
        ("192.0.2.77/24", "192.0.2.1", "192.0.3.1"),
        ("10.0.0.0/255.0.0.0", "10.9.8.7", "11.0.0.0"),
        ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
        ("::/0", "2001:db8::1", "203.0.113.9"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("2001:DB8::1", "2001:db8::1", "2001:db8::2"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("::ffff:192.0.2.0/120", "192.0.2.200", "192.0.3.1"),
    ],
)
def test_an_address_rule_lets_in_its_network_and_nobody_else(value: str, inside: str, outside: str) -> None:
    assert lets_in(inside, rule(value))
    assert not lets_in(outside, rule(value))


@pytest.mark.parametrize("kind", [kind for kind in SourceType if kind is not SourceType.IP_ADDR])
def test_rules_that_are_no_addresses_let_nobody_in(kind: SourceType) -> None:
    assert not lets_in("127.0.0.1", rule("127.0.0.1", kind))
    assert not lets_in("::1", rule("127.0.0.1", kind))


def test_both_servers_are_told_the_same_networks() -> None:
    networks = firewall.networks([rule("192.0.2.0/25"), rule("192.0.2.128/25"), rule("2001:db8::1")])
    for text in (hba.render(networks), pgbouncer.render_hba((), networks)):
        lines = [line.split() for line in text.splitlines() if line.startswith("hostssl")]
        assert [line[3] for line in lines] == ["192.0.2.0/24", "2001:db8::1/128"]


def test_when_nobody_may_connect_no_line_lets_anybody_in_from_the_network() -> None:
    networks = firewall.networks([rule("backend", SourceType.TAG)])
    for text in (hba.render(networks), pgbouncer.render_hba((), networks)):
        assert [line for line in text.splitlines() if line.startswith("host") and "reject" not in line] == []
        assert "local " in text


def test_the_order_of_rules_changes_no_file() -> None:
    one, two = rule("192.0.2.1"), rule("198.51.100.0/24")
    assert hba.render(firewall.networks([one, two])) == hba.render(firewall.networks([two, one]))


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@given(st.lists(ADDRESSES, min_size=1, max_size=20), ADDRESSES)
def test_merged_networks_let_in_exactly_whom_the_rules_name(named: list[object], other: object) -> None:
    # An IPv4 address in the clothes of IPv6 is no client's address: the servers see its inside.
    assume(not any(isinstance(address, IPv6Address) and address.ipv4_mapped for address in [*named, other]))
    rules = [rule(str(address)) for address in named]
    for address in named:
        assert lets_in(str(address), *rules)
    assert lets_in(str(other), *rules) == (other in named)


# -- Replacing


def test_a_rule_that_stays_keeps_its_id_and_its_time() -> None:
    kept, gone = rule("192.0.2.1"), rule("192.0.2.2")
    wanted = [RequestedRule("ip_addr", "192.0.2.1"), RequestedRule("tag", "backend", description="ours")]
    first, second = firewall.replace_rules([kept, gone], wanted, LATER)
    assert first == kept
    assert second.id not in (kept.id, gone.id)
    assert (second.type, second.value, second.created_at, second.description) == (
        SourceType.TAG,
        "backend",
        LATER,
        "ours",
    )


def test_a_rule_that_is_named_by_its_id_keeps_it_with_another_value() -> None:
    old = rule("192.0.2.1")
    [changed] = firewall.replace_rules([old], [RequestedRule("ip_addr", "192.0.2.9", id=str(old.id))], LATER)
    assert (changed.id, changed.created_at, changed.value) == (old.id, BEFORE, "192.0.2.9")


def test_an_id_of_no_rule_here_is_not_taken_over() -> None:
    foreign = str(uuid4())
    [new] = firewall.replace_rules([], [RequestedRule("ip_addr", "192.0.2.9", id=foreign)], LATER)
    assert str(new.id) != foreign


def test_one_id_given_twice_makes_two_rules_with_ids_of_their_own() -> None:
    old = rule("192.0.2.1")
    wanted = [RequestedRule("ip_addr", f"192.0.2.{last}", id=str(old.id)) for last in (1, 2)]
    first, second = firewall.replace_rules([old], wanted, LATER)
    assert first.id == old.id
    assert second.id != old.id


def test_saying_the_same_twice_makes_one_rule() -> None:
    wanted = [RequestedRule("ip_addr", "192.0.2.1")] * 2
    assert len(firewall.replace_rules([], wanted, LATER)) == 1


def test_a_value_stands_as_it_was_written() -> None:
    [written] = firewall.replace_rules([], [RequestedRule("ip_addr", "2001:DB8:0::1/128")], LATER)
    assert written.value == "2001:DB8:0::1/128"


def test_a_hundred_rules_are_taken_and_one_more_is_not() -> None:
    hundred = [RequestedRule("ip_addr", f"192.0.2.{last}") for last in range(100)]
    assert len(firewall.replace_rules([], hundred, LATER)) == 100
    with pytest.raises(Invalid, match="at most 100"):
        firewall.replace_rules([], [*hundred, RequestedRule("ip_addr", "192.0.2.100")], LATER)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (RequestedRule("ip_addr", "192.0.2.256"), "neither an IP address"),
        (RequestedRule("ip_addr", "192.0.2.1/33"), "neither an IP address"),
        (RequestedRule("ip_addr", "fe80::1%eth0"), "neither an IP address"),
        (RequestedRule("ip_addr", "all"), "neither an IP address"),
        (RequestedRule("ip_addr", "192.0.2.1\n"), "printable"),
        (RequestedRule("ip_addr", ""), "1 to 255"),
        (RequestedRule("tag", "x" * 256), "1 to 255"),
        (RequestedRule("tag", "a\nb"), "printable"),
        (RequestedRule("host", "192.0.2.1"), "not a type of source"),
        (RequestedRule("tag", "a", description="x" * 256), "at most 255"),
    ],
)
def test_what_is_no_source_is_refused_with_its_place(wanted: RequestedRule, said: str) -> None:
    with pytest.raises(Invalid, match=rf"rules\[1\].*{said}"):
        firewall.replace_rules([], [RequestedRule("tag", "good"), wanted], LATER)
