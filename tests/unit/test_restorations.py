"""What a fork takes over from its source."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from msgspec.structs import replace

from cenote.errors import Busy, Invalid
from cenote.model.backups import BackupReport
from cenote.model.records import (
    Access,
    Configuration,
    Database,
    FirewallRule,
    MaintenanceWindow,
    MajorUpgrade,
    Restoration,
    SourceType,
    User,
)
from cenote.rules import restorations
from tests.support.backup_reports import HOUR, NOON, REPORT, SECOND
from tests.support.wanted import CLUSTER, user


def test_the_record_of_a_moment_is_the_one_that_was_replaced_next() -> None:
    first, second = replace(CLUSTER, name="first"), replace(CLUSTER, name="second")
    past = [(NOON, first), (NOON + HOUR, second)]
    found = [
        restorations.record_at(past, CLUSTER, NOON + after).name
        for after in (-HOUR, timedelta(0), SECOND, HOUR, 2 * HOUR)
    ]
    assert found == ["first", "second", "second", CLUSTER.name, CLUSTER.name]


def test_the_storage_has_to_hold_what_is_restored_and_a_quarter_more() -> None:
    assert restorations.needed_mib(REPORT, 400, NOON) == 125
    assert restorations.needed_mib(REPORT, 400, NOON + HOUR) == 250
    assert restorations.needed_mib(REPORT, 400, None) == 500
    assert restorations.needed_mib(None, 400, None) == 500
    restorations.check_storage(10240, 10240)
    with pytest.raises(Invalid, match=r"at least 11264\.$"):
        restorations.check_storage(10240, 10241)


def test_a_fork_has_the_version_of_the_backup_that_it_begins_with() -> None:
    first, last = REPORT.backups
    report = replace(REPORT, backups=(replace(first, version="15"), replace(last, version="17")))
    now = replace(CLUSTER, version="17")

    def version(target: datetime | None, report: BackupReport = report) -> str:
        return restorations.version(replace(CLUSTER, version="16"), now, report, target, is_live=False)

    assert version(NOON + SECOND) == "15"
    assert version(NOON + 2 * HOUR) == version(None) == "17"
    assert version(NOON + SECOND, REPORT) == "16"  # an earlier agent did not report it
    upgraded = replace(now, major_upgrade=MajorUpgrade(source="15", asked_at=NOON))
    for source, expected in ((now, "17"), (upgraded, "15")):
        assert restorations.version(source, source, report, None, is_live=True) == expected
    seen = restorations.version(upgraded, upgraded, report, None, is_live=True, of_server="17")
    assert seen == "17"  # its statistics are being collected


SOURCE = replace(
    CLUSTER,
    users=(
        user("doadmin"),
        replace(user("app"), access=Access.READONLY, allow_replication=True, number=3, sealed_password="old"),
        User(name="by_sql", verifier="", sealed_password=""),
    ),
    databases=(Database(name="defaultdb"), Database(name="orders", owner="app", number=2)),
    configuration=Configuration(postgresql={"work_mem": 8}, unused={"backup_hour": 3}),
    maintenance_window=MaintenanceWindow(day="monday", hour="04:00"),
    firewall=(FirewallRule(id=uuid4(), type=SourceType.IP_ADDR, value="192.0.2.1", created_at=NOON),),
    tags=("web",),
    service_names=("db.example.com",),
    delete_protection=True,
)
CHOSEN = replace(
    CLUSTER, id=uuid4(), name="fork", users=(user("doadmin", "new"),), databases=(), pools=(), tags=("copy",)
)


def fresh(name: str) -> User:
    return User(name=name, verifier=f"new {name}", sealed_password=f"sealed {name}")


def test_a_fork_takes_users_databases_pools_and_settings_and_no_password() -> None:
    fork = restorations.fork(CHOSEN, SOURCE, fresh)
    assert [one.name for one in fork.users] == ["doadmin", "app", "by_sql"]
    admin, app, by_sql = fork.users
    assert admin.verifier == "new"
    assert (app.verifier, app.sealed_password) == ("new app", "sealed app")
    assert (app.access, app.allow_replication, app.number) == (Access.READONLY, True, 3)
    assert by_sql.verifier == ""
    assert fork.databases == SOURCE.databases
    assert fork.pools == SOURCE.pools
    assert fork.configuration == SOURCE.configuration
    assert fork.maintenance_window == SOURCE.maintenance_window


def test_what_a_fork_has_of_its_own_is_not_its_sources() -> None:
    fork = restorations.fork(CHOSEN, SOURCE, fresh)
    for field in (
        "id",
        "name",
        "nodes",
        "tags",
        "service_names",
        "delete_protection",
        "authority",
        "backups",
    ):
        assert getattr(fork, field) == getattr(CHOSEN, field), field


def test_what_a_fork_takes_over_cannot_be_changed_before_it_has_it() -> None:
    forking = replace(CHOSEN, restoration=Restoration(node="node-1", source=uuid4(), asked_at=NOON))
    restorations.check_adopted(forking, replace(forking, firewall=SOURCE.firewall))
    for change in ({"users": ()}, {"databases": SOURCE.databases}, {"pools": SOURCE.pools}):
        with pytest.raises(Busy, match="cluster is forking"):
            restorations.check_adopted(forking, replace(forking, **change))
        restorations.check_adopted(CHOSEN, replace(CHOSEN, **change))
