"""Addresses that logs may be sent to: protection against server-side request forgery (SSRF).

A customer names the destination, and the host of the clusters connects to it.  So addresses of the host
itself and of cloud metadata services are blocked: they would expose services that only the host can reach.
Private networks are allowed, since a company's log servers are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Networks: TypeAlias = Iterable[Network]

OWN_ADDRESS = "an address of this host"

_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
_METADATA = tuple(
    ip_network(text)
    for text in (
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle Cloud
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254/128",  # Google Cloud
    )
)
_THIS_NETWORK = IPv4Network("0.0.0.0/8")


def blocked_reason(address: Address, allowed: Networks, is_own: Callable[[Address], bool]) -> str | None:
    """Return why no log may be sent to an address, None if it is allowed."""
    inner = embedded_ipv4(address)
    if any(
        one.version == network.version and one in network for one in (address, inner) for network in allowed
    ):
        return None
    if any(inner.version == network.version and inner in network for network in _METADATA):
        return "an address of a cloud metadata service"
    if inner.is_unspecified or inner in _THIS_NETWORK:
        return OWN_ADDRESS
    if inner.is_loopback:
        return "a loopback address"
    if inner.is_link_local:
        return "a link-local address"
    if inner.is_multicast:
        return "a multicast address"
    if inner.is_reserved:
        return "a reserved address"
    return OWN_ADDRESS if is_own(inner) else None


def embedded_ipv4(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address is mapped or translated to, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if inner is not None:
        return inner
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return ip_address(int(address)) if address.scope_id else address


def parse_network(text: str) -> Network:
    """Parse a network in CIDR notation or a single address; raise ValueError for anything else."""
    return ip_network(text.strip(), strict=False)
