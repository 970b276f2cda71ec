"""The names at which clients reach clusters: a host's address, or NAME.DOMAIN in a domain of the operator's.

The domain is that of the service as a whole: a host that was started without one uses that of the others, or
a certificate would lose names that clients use.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address

from cenote.model.fleet_records import Host, HostDomain
from cenote.model.records import Cluster, Node
from cenote.model.topology import a_standby, writer_or_first

PRIVATE, STANDBY = "private-", "replica-"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?")
_REMOTE_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_REMOTE_NAME = re.compile(rf"{_REMOTE_LABEL}(?:\.{_REMOTE_LABEL})*\.?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,15}")  # of an IPv6 address: the name or the number of an interface
LONGEST_DOMAIN = 180  # a name has at most 253 characters, and up to 72 go before the domain


def is_domain(text: str) -> bool:
    """Return whether a domain, in lower case and without a dot at its end, can be that of clusters."""
    return len(text) <= LONGEST_DOMAIN and all(map(is_label, text.split(".")))


def is_label(text: str) -> bool:
    """Return whether a text can be one part of a host name (RFC 1123, section 2.1)."""
    return _LABEL.fullmatch(text) is not None


def is_host(text: str) -> bool:
    """Return whether a text can stand in a URI and a certificate as an address or a host name."""
    try:
        return "%" not in text and bool(ip_address(text))
    except ValueError:
        return _HOST.fullmatch(text) is not None


def is_remote_host(text: str) -> bool:
    """Return whether a resolver can be asked for a host that a customer names: a host name or an address.

    Python's getaddrinfo raises UnicodeError for labels that are empty or too long, and ValueError for a null
    character, which the zone of an address could have.  Some resolvers parse any number as an address: 127.1,
    0x7f.1, 2130706433.
    """
    address, percent, zone = text.partition("%")
    try:
        parsed = ip_address(address)
    except ValueError:
        return (
            len(text) <= 253
            and _REMOTE_NAME.fullmatch(text) is not None
            and _NUMBER.fullmatch(last_label(text)) is None
        )
    return not percent or (parsed.version == 6 and _ZONE.fullmatch(zone) is not None)


def last_label(name: str) -> str:
    return name.rstrip(".").rpartition(".")[2]


def spelled(name: str) -> str:
    """Return an address as certificates spell it, a host name unchanged."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name


def domain_of(found: Iterable[HostDomain]) -> str | None:
    """Return the domain that hosts were started with; the same one everywhere should they differ."""
    return min((one.domain for one in found), default=None)


def domains_of(found: Iterable[HostDomain], own: str | None) -> tuple[str, ...]:
    """Return the domains that names of certificates are in: one's own and those of all hosts.

    So two hosts with different domains take no name out of a certificate that clients of the other one use.
    """
    others = sorted({one.domain for one in found} - {own})
    return (own, *others) if own else tuple(others)


def in_domain(cluster_name: str, domain: str) -> tuple[str, str]:
    """Return a cluster's public and private name in a domain."""
    return f"{cluster_name}.{domain}", f"{PRIVATE}{cluster_name}.{domain}"


def of_standby(cluster_name: str, domain: str) -> tuple[str, str]:
    """Return the public and private name in a domain that lead to a standby."""
    public = f"{STANDBY}{cluster_name}"
    private = f"{PRIVATE}{public}"  # of a long name it is no label, and the public one serves for both
    return f"{public}.{domain}", f"{private if is_label(private) else public}.{domain}"


def address_of(node: Node, hosts: Mapping[str, Host]) -> str | None:
    """Return the address of a node's host; it is what that host says of itself, so it is checked.

    None without a record of the host, also.
    """
    host = hosts.get(node.host)
    return host.address if host is not None and is_host(host.address) else None


def wanted_in_dns(
    cluster: Cluster, hosts: Mapping[str, Host], domain: str, leader: str | None = None
) -> dict[str, str]:
    """Return where each name of a cluster is to lead, "" for a host that has no address for others.

    Names that may not go into a zone, of clusters from before the domain, are left out.
    """
    writer, standby = writer_or_first(cluster, leader), a_standby(cluster, leader)
    found = dict.fromkeys(in_domain(cluster.name, domain), writer)
    if standby is not None:
        found |= dict.fromkeys(of_standby(cluster.name, domain), standby)
    return {
        name: _target(address_of(node, hosts))
        for name, node in found.items()
        if all(map(is_label, name.split(".")))
    }


def of_certificate(
    name: str,
    nodes: Iterable[Node],
    hosts: Mapping[str, Host],
    domains: Collection[str],
    *,
    standbys: bool = False,
) -> tuple[str, ...]:
    """Return the names of a cluster's certificate: those in the domains, and its nodes' hosts.

    With ``standbys`` those that lead to one, too.  Nodes that are not there yet count: clients have to be
    able to verify the target of a move as soon as it takes writes.
    """
    names = [one for domain in domains for one in in_domain(name, domain)]
    if standbys:
        names += [one for domain in domains for one in of_standby(name, domain)]
    names += [address for node in nodes if (address := address_of(node, hosts)) is not None]
    return tuple(dict.fromkeys(spelled(one) for one in (*names, *LOOPBACK)))


def _target(address: str | None) -> str:
    """Return what a name can lead to; a host name without a dot is one of that machine alone."""
    if address is None:
        return ""
    try:
        return str(ip_address(address))
    except ValueError:
        name = address.lower().removesuffix(".")
        return name if "." in name and all(map(is_label, name.split("."))) else ""
