"""Which backups of the service are due, and which are removed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from cenote.host.identity import Identity
from cenote.server import service_copies

HOST = Identity(id=UUID("11111111-0000-4000-8000-000000000000"), name="db/1")
OTHER = Identity(id=UUID("22222222-0000-4000-8000-000000000000"), name="db/1")
NOW = datetime(2026, 11, 29, 10, 30, tzinfo=UTC)
DAY = timedelta(days=1)


def names(host: Identity, *ago: int) -> list[str]:
    return [service_copies.name_of(host, NOW - days * DAY) for days in ago]


def test_a_name_tells_host_and_time_and_is_the_name_of_a_file() -> None:
    assert names(HOST, 0) == ["service-db_1-11111111-20261129T103000Z.cenote"]


def test_only_backups_of_the_host_count_whatever_it_was_called() -> None:
    renamed = Identity(id=HOST.id, name="another-name")
    found = [*names(OTHER, 0), *names(renamed, 3), *names(HOST, 5), "service.cenote", "notes.txt"]
    assert service_copies.newest_of(found, HOST, NOW) == NOW - 3 * DAY
    assert service_copies.newest_of([], HOST, NOW) is None


@pytest.mark.parametrize(
    ("age", "due"),
    [(DAY - timedelta(seconds=1), False), (DAY, True), (-timedelta(minutes=1), False)],
    ids=["younger", "a-day-old", "of-a-moment-ahead"],
)
def test_a_backup_is_due_when_the_newest_is_a_day_old(age: timedelta, due: bool) -> None:
    assert service_copies.is_due(NOW - age, NOW, DAY) is due
    assert service_copies.is_due(None, NOW, DAY)


def test_of_each_day_the_newest_is_kept() -> None:
    hours = [service_copies.name_of(HOST, NOW - timedelta(hours=hour)) for hour in (0, 1, 2, 24, 25)]
    assert service_copies.surplus(hours, HOST, 2, NOW) == [hours[4], hours[2], hours[1]]


def test_the_oldest_of_this_host_go_and_nothing_else() -> None:
    found = [*names(OTHER, 9, 8, 7), *names(HOST, 1, 4, 2, 3), "service-11111111-notes.cenote", "x"]
    assert service_copies.surplus(found, HOST, 2, NOW) == names(HOST, 4, 3)
    assert service_copies.surplus(found, HOST, 9, NOW) == []


def test_a_backup_of_a_clock_that_was_wrong_counts_for_nothing_and_stays() -> None:
    found = names(HOST, -400, 0, 1, 2)
    assert service_copies.newest_of(found, HOST, NOW) == NOW
    assert service_copies.surplus(found, HOST, 2, NOW) == names(HOST, 2)
    assert service_copies.newest_of(names(HOST, -400), HOST, NOW) is None


def test_what_was_cut_off_of_this_host_is_found_and_nothing_else() -> None:
    [own], [other] = names(HOST, 0), names(OTHER, 0)
    left = f".{own}.0a1b2c3d"
    assert service_copies.cut_off([own, left, f".{other}.0a1b2c3d", ".x.cenote.0a1b2c3d"], HOST) == [left]


def test_what_pgbackrest_was_cut_off_at_is_found_too() -> None:
    [own], [other] = names(HOST, 1), names(OTHER, 1)
    left = f"{own}.pgbackrest.tmp"
    assert service_copies.cut_off([own, left, f"{other}.pgbackrest.tmp"], HOST) == [left]


def test_the_newest_of_all_hosts_is_restored() -> None:
    found = [*names(HOST, 3, 1), *names(OTHER, 2), "service-x.cenote", "README"]
    assert service_copies.newest_of_all(found, NOW) == names(HOST, 1)[0]
    assert service_copies.newest_of_all(["README"], NOW) is None
