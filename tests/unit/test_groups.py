"""The range of a network for which none is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Network
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.errors import Invalid
from cenote.model import groups
from cenote.model.groups import DEFAULT_NETWORKS, VPC

FULL = [f"10.{number}.0.0/16" for number in range(256)]


def network(ip_range: str) -> VPC:
    return VPC(
        id=uuid4(), name="n", region="nyc1", ip_range=ip_range, created_at=datetime(2026, 1, 1, tzinfo=UTC)
    )


@given(
    st.lists(st.tuples(st.integers(0, 2**18 - 1), st.integers(16, 28)), max_size=30),
)
def test_a_range_that_is_given_is_the_first_that_overlaps_with_no_other(asked: list[tuple[int, int]]) -> None:
    others = [network(str(IPv4Network((10 << 24 | low << 4, prefix), strict=False))) for low, prefix in asked]
    taken = [IPv4Network(one.ip_range) for one in [*others, *DEFAULT_NETWORKS.values()]]
    free = IPv4Network("10.0.0.0/8").subnets(new_prefix=20)
    expected = next(one for one in free if not any(one.overlaps(other) for other in taken))
    assert groups.ip_range(None, [*others, *DEFAULT_NETWORKS.values()]) == str(expected)


def test_the_last_range_is_given_and_then_none_until_one_is_asked_for() -> None:
    most = [network(one) for one in FULL[:-1]]
    last = [network(f"10.255.{number}.0/20") for number in range(0, 256, 16)]
    assert groups.ip_range(None, [*most, *last[:-1]]) == last[-1].ip_range
    with pytest.raises(Invalid, match=r"no /20 of 10\.0\.0\.0/8 is free; ask for a range"):
        groups.ip_range(None, [*most, *last])
    assert groups.ip_range("192.168.0.0/20", [*most, *last]) == "192.168.0.0/20"
    elsewhere = [network(f"172.{number}.0.0/16") for number in range(16, 32)]
    assert groups.ip_range(None, elsewhere) == "10.0.0.0/20"
