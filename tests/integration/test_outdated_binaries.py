"""Programs that are replaced while servers run from them."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from cenote.host import processes
from cenote.model.changes import Restart, Stop
from cenote.model.records import Cluster, MaintenanceWindow, Pool
from cenote.model.topology import writer_or_first
from cenote.rules import maintenance
from tests.support import records
from tests.support.api import Api, Apis
from tests.support.folders import server_folder
from tests.support.lab import Lab, Share
from tests.support.load import load


@pytest.fixture
def programs() -> Iterator[Path]:
    """A folder for copies of programs that other accounts may run."""
    with server_folder(on_disk=True) as folder:
        yield folder


def install(place: Lab, folder: Path, *names: str) -> None:
    """Put copies of the programs into a folder, as a package manager does: by renaming new files."""
    known = {"postgres": place.host.binaries[place.version] / "postgres", "pgbouncer": place.host.pgbouncer}
    for name in names or known:
        shutil.copy(known[name], folder / f"{name}.new")
        (folder / f"{name}.new").rename(folder / name)


def from_copies(place: Lab, folder: Path) -> Lab:
    """The same host, whose servers run from copies of the programs."""
    install(place, folder)
    other = Lab(place.folder)
    other.host = dataclasses.replace(
        place.host, binaries={place.version: folder}, pgbouncer=folder / "pgbouncer"
    )
    return other


def closed() -> MaintenanceWindow:
    """A window that will not open for days."""
    day = maintenance.DAYS[(datetime.now(UTC).weekday() + 3) % 7]
    return MaintenanceWindow(day=day, hour="00:00")


def opened() -> MaintenanceWindow:
    now = datetime.now(UTC) - timedelta(hours=1)
    return MaintenanceWindow(day=maintenance.DAYS[now.weekday()], hour=f"{now:%H:%M}")


def new_cluster(place: Lab, window: MaintenanceWindow) -> Cluster:
    pool = Pool(name="backend-pool", database="defaultdb", size=4, user="doadmin")
    return replace(place.new_cluster(), pools=(pool,), maintenance_window=window)


def uri(cluster: Cluster) -> str:
    port = writer_or_first(cluster).pool_port
    return f"postgres://doadmin:{records.PASSWORD}@127.0.0.1:{port}/backend-pool?sslmode=require"


def test_a_replaced_program_is_left_alone_until_somebody_asks_and_then_no_client_notices(
    labs: Share, programs: Path
) -> None:
    async def scenario(host: Lab) -> None:
        place = from_copies(host, programs)
        cluster = new_cluster(place, closed())
        await place.converge(cluster)
        server = place.wanted(cluster).server
        before = processes.find(server)
        assert before is not None
        assert not processes.is_outdated(before, server)
        install(host, programs, "postgres")
        assert processes.is_outdated(before, server)
        assert await place.plan(cluster) == []
        with load(uri(cluster)) as busy:
            cluster = replace(cluster, update_asked_at=datetime.now(UTC))
            done = await place.converge(cluster)
            busy.proceed(50)
        assert busy.errors == []
        assert [change for change in done if isinstance(change, Restart)]
        after = processes.find(server)
        assert after is not None
        assert after != before
        assert not processes.is_outdated(after, server)
        assert await place.plan(cluster) == []

    labs(scenario)


def test_in_the_maintenance_window_replaced_programs_are_put_to_use(labs: Share, programs: Path) -> None:
    async def scenario(host: Lab) -> None:
        place = from_copies(host, programs)
        cluster = new_cluster(place, opened())
        await place.converge(cluster)
        assert await place.plan(cluster) == []
        install(host, programs)
        done = await place.converge(cluster)
        assert [change for change in done if isinstance(change, Restart)]
        stopped = [change.program.name for change in done if isinstance(change, Stop)]
        assert stopped == ["PgBouncer"]
        for program in (place.wanted(cluster).server, place.wanted(cluster).bouncer):
            process = processes.find(program)
            assert process is not None
            assert not processes.is_outdated(process, program)
        assert await place.plan(cluster) == []

    labs(scenario)


def test_a_program_that_is_away_for_a_moment_is_no_update(labs: Share, programs: Path) -> None:
    async def scenario(host: Lab) -> None:
        place = from_copies(host, programs)
        cluster = new_cluster(place, opened())
        await place.converge(cluster)
        (programs / "postgres").unlink()
        assert await place.plan(cluster) == []

    labs(scenario)


def test_the_window_is_moved_and_shown(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("PUT", f"{cluster}/maintenance", 204, json={"day": "friday", "hour": "13:00:00"})
        shown = (await api.call("GET", cluster, 200))["database"]["maintenance_window"]
        assert shown == {"day": "friday", "hour": "13:00:00", "pending": False, "description": []}
        body = {"day": "someday", "hour": "13:00"}
        assert (await api.refusal("PUT", f"{cluster}/maintenance", 422, json=body)).startswith("day: ")
        await api.call("PUT", f"{cluster}/install_update", 204)

    apis.run(scenario)


def test_what_waits_for_the_window_is_shown(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.report(cluster)
        [stored] = api.store.clusters()
        status = api.store.status(stored.value.id, "node-1")
        assert status is not None
        await api.write_report(stored.value.id, replace(status, outdated=("PostgreSQL",)))
        shown = (await api.call("GET", cluster, 200))["database"]["maintenance_window"]
        assert shown["pending"] is True
        assert shown["description"] == ["Restart PostgreSQL with the program that is installed now"]

    apis.run(scenario)
