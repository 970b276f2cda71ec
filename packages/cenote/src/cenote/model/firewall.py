"""Trusted sources: the firewall rules of a cluster.

Without rules a cluster is open to all addresses.  With rules, only matching addresses may connect, and only
``ip_addr`` rules match any: droplets, Kubernetes clusters, tags and apps have no addresses here.
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
Networks: TypeAlias = tuple[Network, ...] | None  # None: all addresses; empty: none

MAX_RULES = 100
MAX_VALUE_LENGTH = MAX_DESCRIPTION_LENGTH = 255
EVERYWHERE: tuple[Network, ...] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))


def networks(rules: Iterable[FirewallRule]) -> Networks:
    """Return the networks that may connect, collapsed and in a stable order."""
    rules = tuple(rules)
    if not rules:
        return None
    allowed = [parse_network(rule.value) for rule in rules if rule.type is SourceType.IP_ADDR]
    four = collapse_addresses(network for network in allowed if isinstance(network, IPv4Network))
    six = collapse_addresses(network for network in allowed if isinstance(network, IPv6Network))
    return (*four, *six)


def admits(allowed: Networks, address: IPv4Address | IPv6Address) -> bool:
    return allowed is None or any(address in network for network in allowed)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return a client's address from a server's statistics; None for anything else, such as a unix socket."""
    try:
        return ip_address(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class RequestedRule:
    """A rule of a request; ``id`` is set when it refers to an existing one."""

    type: str
    value: str
    id: str = ""
    description: str = ""


def replace_rules(
    before: Sequence[FirewallRule], requested: Sequence[RequestedRule], at: datetime
) -> tuple[FirewallRule, ...]:
    """Return the rules after all were replaced; raise Invalid when one of them is not allowed.

    An existing rule keeps its id and creation time; it is found by id, else by type and value.  Duplicates
    are merged.
    """
    if len(requested) > MAX_RULES:
        raise Invalid(f"rules: a cluster has at most {MAX_RULES} trusted sources, not {len(requested)}.")
    left = {rule.id: rule for rule in before}
    after: dict[tuple[SourceType, str], FirewallRule] = {}
    for number, rule in enumerate(requested):
        kind = _checked(number, rule)
        if (kind, rule.value) in after:
            continue
        existing = _with_id(left, rule) or _with_value(left.values(), kind, rule.value)
        if existing is not None:
            del left[existing.id]
        after[kind, rule.value] = FirewallRule(
            id=uuid4() if existing is None else existing.id,
            type=kind,
            value=rule.value,
            created_at=at if existing is None else existing.created_at,
            description=rule.description,
        )
    return tuple(after.values())


def _with_id(rules: dict[UUID, FirewallRule], requested: RequestedRule) -> FirewallRule | None:
    try:
        return rules.get(UUID(requested.id)) if requested.id else None
    except ValueError:
        return None


def _with_value(rules: Iterable[FirewallRule], kind: SourceType, value: str) -> FirewallRule | None:
    return next((rule for rule in rules if (rule.type, rule.value) == (kind, value)), None)


def _checked(number: int, rule: RequestedRule) -> SourceType:
    """Return the type of a rule; raise Invalid when the rule is not allowed."""
    field = f"rules[{number}]"
    try:
        kind = SourceType(rule.type)
    except ValueError:
        raise Invalid(
            f"{field}.type: {rule.type[:40]!a} is not a type of source; types are {', '.join(SourceType)}."
        ) from None
    if not 1 <= len(rule.value) <= MAX_VALUE_LENGTH or not rule.value.isprintable():
        raise Invalid(f"{field}.value: must be 1 to {MAX_VALUE_LENGTH} printable characters.")
    if len(rule.description) > MAX_DESCRIPTION_LENGTH or not rule.description.isprintable():
        raise Invalid(f"{field}.description: must be at most {MAX_DESCRIPTION_LENGTH} printable characters.")
    if kind is SourceType.IP_ADDR:
        try:
            parse_network(rule.value)
        except ValueError:
            raise Invalid(
                f"{field}.value: {rule.value[:60]!a} is neither an IP address nor a network such as "
                "192.0.2.0/24 or 2001:db8::/32."
            ) from None
    return kind


def parse_network(text: str) -> Network:
    """Return the network of a source; host bits are ignored, as in ``pg_hba.conf``.

    An IPv4-mapped IPv6 address is converted to IPv4, as the servers see its clients.
    """
    if "%" in text:
        raise ValueError("an address with a zone is valid on one host only")
    network = ip_network(text, strict=False)
    inner = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if inner is not None and network.prefixlen >= 96:
        return IPv4Network((inner, network.prefixlen - 96))
    return network
