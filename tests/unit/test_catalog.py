from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from cenote.model import catalog
from cenote.model.fleet_records import Host


def host(name: str, **versions: str) -> Host:
    return Host(
        id=name,
        name=name,
        address="127.0.0.1",
        memory_mib=1024,
        cpus=1,
        versions={major.removeprefix("v"): full for major, full in versions.items()},
        first_port=1,
        last_port=2,
    )


def test_a_size_says_in_its_slug_what_it_has() -> None:
    assert catalog.SIZES["so1_5-24vcpu-192gb"] == catalog.Size(
        "so1_5-24vcpu-192gb", 24, 192 * 1024, 4620 * 1024
    )


@pytest.mark.parametrize(
    ("slug", "mib"), [("db-s-1vcpu-1gb", 10240), ("db-s-1vcpu-2gb", 30720), ("db-s-2vcpu-4gb", 61440)]
)
def test_the_storage_of_small_sizes_is_what_clients_know(slug: str, mib: int) -> None:
    assert catalog.SIZES[slug].disk_mib == mib


@pytest.mark.parametrize(
    ("slug", "capacity"),
    [
        ("db-s-1vcpu-1gb", 22),
        ("db-s-1vcpu-2gb", 47),
        ("db-s-2vcpu-4gb", 97),
        ("db-s-4vcpu-8gb", 197),
        ("db-s-6vcpu-16gb", 397),
        ("gd-8vcpu-32gb", 797),
        ("gd-16vcpu-64gb", 997),
        ("so1_5-32vcpu-256gb", 997),
    ],
)
def test_pools_share_the_connections_of_the_published_table(slug: str, capacity: int) -> None:
    assert catalog.pool_capacity(catalog.SIZES[slug]) == capacity


@pytest.mark.parametrize(
    ("slug", "clients"),
    [("db-s-1vcpu-1gb", 5_000), ("db-s-6vcpu-16gb", 8_000), ("so1_5-32vcpu-256gb", 50_000)],
)
def test_a_pooler_admits_clients_by_memory_between_a_floor_and_a_ceiling(slug: str, clients: int) -> None:
    assert catalog.max_clients(catalog.SIZES[slug]) == clients


def test_versions_are_those_of_all_hosts_in_numeric_order_each_with_its_newest_release() -> None:
    found = catalog.versions([host("a", v15="15.9", v9="9.6"), host("b", v15="15.18", v16="16.2")])
    assert list(found.items()) == [("9", "9.6"), ("15", "15.18"), ("16", "16.2")]


def test_without_hosts_there_are_no_versions() -> None:
    assert catalog.versions([]) == {}


def test_a_version_is_offered_until_half_a_year_before_its_support_ends() -> None:
    assert catalog.end_of_life("15") == datetime(2027, 11, 11, tzinfo=UTC)
    assert catalog.end_of_availability("15") == datetime(2027, 5, 11, tzinfo=UTC)


def test_the_end_of_a_version_that_is_not_in_the_table_is_not_known() -> None:
    assert catalog.end_of_life("99") is None
    assert catalog.end_of_availability("99") is None


def test_an_extension_is_offered_when_every_host_with_the_version_has_it() -> None:
    one = replace(host("a", v15="15.1"), extensions={"15": ("hstore", "pg_trgm")})
    two = replace(host("b", v15="15.2", v16="16.1"), extensions={"15": ("pg_trgm",), "16": ("citext",)})
    assert catalog.extensions([one, two], "15") == ["pg_trgm"]
    assert catalog.extensions([one, two], "16") == ["citext"]
    assert catalog.extensions([one, two], "17") == []
