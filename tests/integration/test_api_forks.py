"""Forks through the API, with a real store and hosts whose reports the tests write."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from cenote.api.service import Settings
from cenote.model.backups import Backup, BackupReport, BackupType
from cenote.model.fleet_records import Host
from cenote.model.migrations import MigrationSource, OnlineMigration
from cenote.model.records import BackupPlan, Cluster
from cenote.model.status_records import NodeStatus
from cenote.rules.record_formats import WITH_BACKUPS
from tests.support.api import BACKEND, HOST, POOL, Api, Apis, running_apis

REPOSITORY = "s3://bucket/prefix"
A, B, C = (
    replace(HOST, id=id, name=f"db-{id}", memory_mib=8192, disk_mib=1_000_000, repository=repository)
    for id, repository in (("a", REPOSITORY), ("b", REPOSITORY), ("c", "file:///srv/own"))
)
AT_A = Settings(wait_seconds=0, host_id="a")
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
PLAN = BackupPlan(sealed_passphrase="sealed by ring host")


@pytest.fixture(scope="module")
def apis() -> Iterator[Apis]:
    yield from running_apis()


def record(api: Api, path: str) -> Cluster:
    stored = api.store.cluster(UUID(path.rpartition("/")[2]))
    assert stored is not None
    return stored.value


def backups(*ages: timedelta, size_mib: int = 100, **fields: Any) -> BackupReport:
    made = (
        Backup(
            label=f"{NOW - age:%Y%m%d-%H%M%S}F",
            type=BackupType.FULL,
            started_at=NOW - age - timedelta(minutes=1),
            stopped_at=NOW - age,
            size=size_mib << 20,
            repository_size=1,
        )
        for age in ages
    )
    return BackupReport(backups=tuple(made), archived_at=NOW, repository=REPOSITORY, **fields)


async def source(api: Api, report: BackupReport | None, *, reason: str = "", **fields: Any) -> str:
    """Create a cluster whose agent has reported these backups; return its path."""
    path = await api.add_cluster(name="source", cenote={"host": "db-a"}, **fields)
    await api.store.update_cluster(record(api, path).id, lambda one: replace(one, backups=PLAN))
    stored = api.store.cluster(record(api, path).id)
    assert stored is not None
    status = NodeStatus(
        reached=stored.revision,
        tried=stored.revision,
        at=datetime.now(UTC),
        reason=reason,
        failing=bool(reason),
        backups=report,
        used_mib=100,
    )
    await api.hosts["a"].backed_up(stored.value.id, "node-1", report)
    await api.write_report(stored.value.id, status)
    return path


def body(name: str = "fork", at: datetime | str | None = None, **fields: Any) -> dict[str, Any]:
    restore = {"database_name": "source"}
    if at is not None:
        restore["backup_created_at"] = at if isinstance(at, str) else f"{at:%Y-%m-%dT%H:%M:%SZ}"
    return BACKEND | {"name": name, "backup_restore": restore} | fields


async def forked(api: Api, *arguments: Any, **fields: Any) -> Cluster:
    made = (await api.call("POST", "/v2/databases", 201, json=body(*arguments, **fields)))["database"]
    assert made["status"] == "forking"
    return record(api, made["id"])


async def refused(api: Api, status: int, *arguments: Any, **fields: Any) -> str:
    return await api.refusal("POST", "/v2/databases", status, json=body(*arguments, **fields))


def test_a_fork_to_a_moment_comes_from_the_backups_with_the_record_of_then(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await source(api, backups(DAY))
        before = datetime.now(UTC)
        await api.call("POST", f"{path}/pools", 201, json=POOL)
        then = datetime.now(UTC)
        await api.call("DELETE", f"{path}/pools/{POOL['name']}", 204)
        found = record(api, path)
        for name, moment, pools in (("early", before, 0), ("then", then, 1)):
            fork = await forked(api, name, moment.isoformat().replace("+00:00", "Z"))
            assert len(fork.pools) == pools
            restoration = fork.restoration
            assert restoration is not None
            assert (restoration.source, restoration.target) == (found.id, moment)
            assert (restoration.live, restoration.fork, restoration.node) == (False, True, "node-1")
            assert restoration.sealed_passphrase == PLAN.sealed_passphrase
            assert fork.authority != found.authority
            assert fork.users[0].verifier != found.users[0].verifier
            assert not fork.nodes[0].ports & found.nodes[0].ports
            assert fork.nodes[0].host == "a"

    apis.run(scenario, AT_A, (A, B, C))


def test_a_fork_to_now_is_copied_on_the_same_host_if_that_serves(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await source(api, backups(DAY))
        near = await forked(api, "near")
        assert near.restoration is not None
        assert (near.restoration.live, near.restoration.target, near.nodes[0].host) == (True, None, "a")
        far = await forked(api, "far", cenote={"host": "db-b"})
        assert far.restoration is not None
        assert (far.restoration.live, far.nodes[0].host) == (False, "b")
        assert far.restoration.target is not None  # what is acknowledged by now is waited for
        told = await refused(api, 422, "elsewhere", cenote={"host": "db-c"})
        assert told == f"cenote.host: db-c does not have the backups of source, which are in {REPOSITORY}."

    apis.run(scenario, AT_A, (A, B, C))


def test_without_backups_there_is_a_copy_and_no_moment(apis: Apis) -> None:
    hosts: tuple[Host, ...] = tuple(replace(host, repository="") for host in (A, B))

    async def scenario(api: Api) -> None:
        await source(api, None)
        copy = await forked(api, "copy")
        assert copy.restoration is not None
        assert copy.restoration.live
        assert "--backups" in await refused(api, 422, "moment", NOW)
        assert "on its own host only" in await refused(api, 412, "far", cenote={"host": "db-b"})

    apis.run(scenario, AT_A, hosts)


def test_before_the_first_backup_a_moment_is_answered_with_412(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await source(api, BackupReport())
        assert "no backup yet" in await refused(api, 412, "early", NOW)

    apis.run(scenario, AT_A, (A, B))


def test_a_moment_outside_of_the_window_is_refused_with_the_window(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await source(api, backups(3 * DAY, DAY))
        oldest = f"{NOW - 3 * DAY:%Y-%m-%d %H:%M:%S} to "
        for name, moment in (("before", NOW - 4 * DAY), ("after", NOW + DAY)):
            assert oldest in await refused(api, 422, name, moment)
        for name, moment in (("first", NOW - 3 * DAY), ("second", NOW - DAY), ("third", NOW - 2 * DAY)):
            await forked(api, name, moment)

    apis.run(scenario, AT_A, (A, B))


def test_a_version_a_name_and_a_storage_that_do_not_fit_are_refused(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await source(api, backups(DAY, size_mib=20_000), storage_size_mib=40_960)
        assert "15" in await refused(api, 422, "other", NOW, version="16")
        assert "at least 25600" in await refused(api, 422, "small", NOW, storage_size_mib=10_240)
        assert (await forked(api, "default", NOW)).storage_mib == 40_960
        assert (await forked(api, "chosen", NOW, storage_size_mib=30_720)).storage_mib == 30_720
        unknown = body("fork") | {"backup_restore": {"database_name": "nobody"}}
        assert "no cluster named" in await api.refusal("POST", "/v2/databases", 422, json=unknown)
        assert await refused(api, 422, "default", NOW) == "cluster name is not available"

    apis.run(scenario, AT_A, (A, B))


def test_a_fork_that_would_take_changes_from_the_source_of_a_migration_is_refused(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await source(api, backups(DAY))
        origin = MigrationSource(host="old", port=5432, dbname="d", username="u", sealed_password="s")
        migration = OnlineMigration(id=uuid4(), source=origin, asked_at=NOW - DAY / 2)
        await api.store.update_cluster(
            record(api, path).id, lambda one: replace(one, online_migration=migration)
        )
        for moment in (None, NOW):
            assert "An online migration into source is under way" in await refused(api, 412, "fork", moment)
        early = await forked(api, "early", NOW - DAY * 3 / 4)
        assert early.online_migration is None

    apis.run(scenario, AT_A, (A, B))


def test_what_a_fork_is_to_take_over_cannot_be_changed_before(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await source(api, backups(DAY))
        fork = await forked(api)
        path = f"/v2/databases/{fork.id}"
        for method, part, given in (
            ("POST", "users", {"name": "app"}),
            ("POST", "dbs", {"name": "orders"}),
            ("POST", "pools", POOL),
        ):
            assert "cluster is forking" in await api.refusal(method, f"{path}/{part}", 412, json=given)
        await api.call("DELETE", path, 204)

    apis.run(scenario, AT_A, (A, B))


def test_a_fork_is_refused_while_a_host_cannot_read_its_record(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await source(api, backups(DAY))
        assert "restores" in await refused(api, 412, "fork", NOW)

    apis.run(scenario, AT_A, (A, replace(B, reads=WITH_BACKUPS)))
