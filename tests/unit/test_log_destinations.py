"""Where no log may be sent, and what a setting opens."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.logs.destinations import Address, blocked_reason, embedded_ipv4, parse_network

OWN = ip_address("203.0.113.9")


def refused(text: str, *allowed: str) -> str | None:
    address = ip_address(text)
    return blocked_reason(address, [parse_network(one) for one in allowed], lambda one: one == OWN)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "169.254.0.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "203.0.113.9",
        "::",
        "::1",
        "fe80::1",
        "fe80::a9fe:a9fe",
        "ff02::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        "::ffff:203.0.113.9",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:7f00:1::80ff:fffe",
    ],
)
def test_what_leads_to_the_host_or_to_what_a_cloud_tells_is_refused(text: str) -> None:
    assert refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "198.18.0.1",
        "8.8.8.8",
        "fd12::1",
        "2a00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
    ],
)
def test_private_and_public_networks_are_allowed(text: str) -> None:
    assert refused(text) is None


def test_a_setting_opens_what_it_names_and_no_more() -> None:
    assert refused("127.0.0.1", "127.0.0.1") is None
    assert refused("127.0.0.2", "127.0.0.1")
    assert refused("127.0.0.2", "10.0.0.0/8", "127.0.0.0/8") is None
    assert refused("::ffff:127.0.0.1", "127.0.0.1") is None
    assert refused("::1", "127.0.0.1")
    assert refused("::1", "::1") is None
    assert refused("203.0.113.9", "203.0.113.0/24") is None


addresses: st.SearchStrategy[Address] = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@given(addresses)
def test_an_address_within_another_form_is_judged_like_the_address_itself(address: Address) -> None:
    if isinstance(address, IPv4Address):
        mapped = IPv6Address((0xFFFF << 32) | int(address))
        translated = IPv6Address((0x64_FF9B << 96) | int(address))
        for form in (mapped, translated):
            assert embedded_ipv4(form) == address
            assert refused(str(form)) == refused(str(address))
    elif address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        assert refused(str(address))
