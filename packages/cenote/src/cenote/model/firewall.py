"""Trusted sources: who may connect to a cluster, from the rules in its record.

Without a rule everybody may connect.  With one, only who matches one may, and only ``ip_addr`` rules match
anybody: a droplet, a Kubernetes cluster, a tag or an app is nothing that stands on a network here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)
from typing import TypeAlias
from uuid import UUID, uuid4

from cenote.errors import Invalid
from cenote.model.records import FirewallRule, SourceType

Network: TypeAlias = IPv4Network | IPv6Network
Networks: TypeAlias = tuple[Network, ...] | None  # None: everybody; empty: nobody

MAX_RULES = 100
MAX_VALUE_LENGTH = MAX_DESCRIPTION_LENGTH = 255
EVERYWHERE: tuple[Network, ...] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))


def networks(rules: Iterable[FirewallRule]) -> Networks:
    """Return the networks that may connect, without overlaps and in one order for the same rules."""
    rules = tuple(rules)
    if not rules:
        return None
    allowed = [_network(rule.value) for rule in rules if rule.type is SourceType.IP_ADDR]
    four = collapse_addresses(network for network in allowed if isinstance(network, IPv4Network))
    six = collapse_addresses(network for network in allowed if isinstance(network, IPv6Network))
    return (*four, *six)


def admits(allowed: Networks, address: IPv4Address | IPv6Address) -> bool:
    return allowed is None or any(address in network for network in allowed)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address of a client as a server names it; None for what is none, such as a unix socket."""
    try:
        return ip_address(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class RequestedRule:
    """A rule as a customer gives it; ``id`` is set when it names one that is there."""

    type: str
    value: str
    id: str = ""
    description: str = ""


def replace_rules(
    before: Sequence[FirewallRule], wanted: Sequence[RequestedRule], at: datetime
) -> tuple[FirewallRule, ...]:
    """Return the rules after a replacement of all; raise Invalid when one of them is not allowed.

    A rule that was there keeps its id and time: it is the one that is named by id, else the one that says the
    same.  Saying the same twice makes one rule.
    """
    if len(wanted) > MAX_RULES:
        raise Invalid(f"rules: a cluster has at most {MAX_RULES} trusted sources, these are {len(wanted)}.")
    left = {rule.id: rule for rule in before}
    after: dict[tuple[SourceType, str], FirewallRule] = {}
    for number, rule in enumerate(wanted):
        kind = _checked(number, rule)
        if (kind, rule.value) in after:
            continue
        kept = _with_id(left, rule) or _with_value(left.values(), kind, rule.value)
        if kept is not None:
            del left[kept.id]
        after[kind, rule.value] = FirewallRule(
            id=uuid4() if kept is None else kept.id,
            type=kind,
            value=rule.value,
            created_at=at if kept is None else kept.created_at,
            description=rule.description,
        )
    return tuple(after.values())


def _with_id(rules: dict[UUID, FirewallRule], wanted: RequestedRule) -> FirewallRule | None:
    try:
        return rules.get(UUID(wanted.id)) if wanted.id else None
    except ValueError:
        return None


def _with_value(rules: Iterable[FirewallRule], kind: SourceType, value: str) -> FirewallRule | None:
    return next((rule for rule in rules if (rule.type, rule.value) == (kind, value)), None)


def _checked(number: int, rule: RequestedRule) -> SourceType:
    """Return the type of a rule that is allowed."""
    field = f"rules[{number}]"
    try:
        kind = SourceType(rule.type)
    except ValueError:
        raise Invalid(
            f"{field}.type: {rule.type[:40]!a} is not a type of source; there are {', '.join(SourceType)}."
        ) from None
    if not 1 <= len(rule.value) <= MAX_VALUE_LENGTH or not rule.value.isprintable():
        raise Invalid(f"{field}.value: a source has 1 to {MAX_VALUE_LENGTH} printable characters.")
    if len(rule.description) > MAX_DESCRIPTION_LENGTH or not rule.description.isprintable():
        raise Invalid(
            f"{field}.description: a description has at most {MAX_DESCRIPTION_LENGTH} printable characters."
        )
    if kind is SourceType.IP_ADDR:
        try:
            _network(rule.value)
        except ValueError:
            raise Invalid(
                f"{field}.value: {rule.value[:60]!a} is neither an IP address nor a network such as "
                "192.0.2.0/24 or 2001:db8::/32."
            ) from None
    return kind


def _network(text: str) -> Network:
    """Return the network of a source; bits of the host in it count for nothing, as in ``pg_hba.conf``.

    An IPv4 address in the clothes of IPv6 is taken for what it is: that is how the servers see its clients.
    """
    if "%" in text:
        raise ValueError("an address with a zone means something on one machine only")
    network = ip_network(text, strict=False)
    inner = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if inner is not None and network.prefixlen >= 96:
        return IPv4Network((inner, network.prefixlen - 96))
    return network
