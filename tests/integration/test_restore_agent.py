"""Restores by the agent: real pgBackRest, real PostgreSQL; the test writes the records, not the API."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from psycopg.sql import SQL, Literal

from cenote.agent.restore_runner import RestoreRunner
from cenote.host import files, processes, restore_files, restored_copy, system_identifier
from cenote.model.changes import EndProcesses
from cenote.model.records import Cluster, Restoration
from cenote.model.restores import Restored
from cenote.model.timing import Timing
from cenote.security.backup_passphrases import new_plan
from tests.support import corruption, records
from tests.support.agent import Agents, AtWork, answers, running_agents
from tests.support.pgbackrest import NEEDS_PGBACKREST
from tests.support.ports import free_range
from tests.support.waiting import wait_until_async

SECONDS = 120
PARTS = "CREATE TABLE public.parts AS SELECT generate_series(1, 42) AS id"
pytestmark = NEEDS_PGBACKREST


@pytest.fixture(scope="module")
def agents() -> Iterator[Agents]:
    timing = Timing(
        backup_poll_interval=0.2, backup_retry_first=0.5, restore_retry_first=0.3, restore_retry_max=1.0
    )
    yield from running_agents(timing, keeps_backups=True)


async def backed_up(agent: AtWork, **changes: Any) -> Cluster:
    """Return a new cluster that has its first backup."""
    cluster = await agent.cluster(backups=new_plan(agent.lab.sealer), pools=(), **changes)
    await wait_until_async("it is backed up", SECONDS, lambda: backups(agent, cluster) > 0)
    return cluster


def backups(agent: AtWork, cluster: Cluster) -> int:
    report = agent.status(cluster).backups
    return 0 if report is None else len(report.backups)


async def restored(agent: AtWork, source: Cluster, **how: Any) -> Cluster:
    """Return a new cluster that is restored from another one, as soon as that is done."""
    fork = await asked(agent, source, **how)
    await is_restored(agent, fork)
    return fork


async def is_restored(agent: AtWork, fork: Cluster) -> Restored:
    """Wait until the data are there, and the record has been told what they are; return what was restored."""
    assert fork.restoration is not None
    paths, asked_at = agent.lab.wanted(fork).paths, fork.restoration.asked_at

    def done() -> Restored | None:
        state, stored = restore_files.read_state(paths.restore_state), agent.store.cluster(fork.id)
        is_told = stored is not None and stored.value.restoration is None
        return state.restored if is_told and state is not None and state.asked_at == asked_at else None

    found = await wait_until_async("it is restored", SECONDS, done)
    assert found is not None
    await agent.settled(fork)
    return found


async def asked(agent: AtWork, source: Cluster, **how: Any) -> Cluster:
    """Add the record of a cluster that is to be restored from another one; return it at once."""
    assert source.backups is not None or how.get("live")
    restoration = Restoration(
        node="node-1",
        source=source.id,
        asked_at=datetime.now(UTC),
        sealed_passphrase="" if source.backups is None else source.backups.sealed_passphrase,
    )
    fork = msgspec.structs.replace(
        records.cluster(agent.lab.sealer, port=free_range(2), version=agent.lab.version),
        restoration=msgspec.structs.replace(restoration, **how),
        backups=new_plan(agent.lab.sealer) if agent.lab.host.backups is not None else None,
    )
    await agent.store.add_cluster(fork)
    return fork


async def moment(agent: AtWork, cluster: Cluster) -> datetime:
    [(now,)] = await agent.lab.rows(cluster, "SELECT clock_timestamp()")
    assert isinstance(now, datetime)
    return now


async def archived(agent: AtWork, cluster: Cluster) -> str:
    """Have the server begin another segment of WAL; return the last one, once it is in the archive."""
    await agent.lab.rows(cluster, "SELECT pg_logical_emit_message(true, 'test', 'x')")
    [(name,)] = await agent.lab.rows(cluster, "SELECT pg_walfile_name(pg_switch_wal())")
    pattern = f"archive/{cluster.id}/*/*/{name}-*"
    await wait_until_async("it is archived", SECONDS, lambda: any(agent.lab.repository.glob(pattern)))
    return str(name)


async def count(agent: AtWork, cluster: Cluster, table: str = "public.parts") -> int:
    [(number,)] = await agent.lab.rows(cluster, f"SELECT count(*) FROM {table}", "defaultdb")
    return int(number)


def test_a_fork_has_the_rows_of_its_moment_and_nothing_later(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        source = await backed_up(agent)
        await agent.lab.run(source, PARTS, "defaultdb")
        target = await moment(agent, source)
        await agent.lab.run(source, "DROP TABLE public.parts", "defaultdb")
        fork = await restored(agent, source, target=target)
        assert await count(agent, fork) == 42
        state = restore_files.read_state(agent.lab.wanted(fork).paths.restore_state)
        assert state is not None
        said = state.restored
        assert said is not None
        assert said.target == target
        assert said.transaction_at is not None
        assert said.transaction_at < target
        assert said.label
        here, there = (agent.lab.wanted(one).paths.data for one in (fork, source))
        assert system_identifier.read(here) != system_identifier.read(there)
        paths = agent.lab.wanted(fork).paths
        assert not paths.draft.exists()
        assert not paths.restore_work.exists()
        await wait_until_async("it has backups of its own", SECONDS, lambda: backups(agent, fork) > 0)

    agents.run(scenario)


def test_a_quiet_moment_can_be_restored_since_the_source_writes_past_it(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        source = await backed_up(agent)
        await agent.lab.run(source, PARTS, "defaultdb")
        await asyncio.sleep(1.5)
        fork = await restored(agent, source, target=await moment(agent, source))  # nobody writes after it
        assert await count(agent, fork) == 42

    agents.run(scenario)


def test_a_living_server_is_copied_without_any_repository(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        source = await agent.cluster(pools=())
        assert source.backups is None
        await agent.lab.run(source, PARTS, "defaultdb")
        await agent.lab.run(source, "SELECT lo_from_bytea(4711, 'a large object')", "defaultdb")
        fork = await restored(agent, source, live=True)
        assert await count(agent, fork) == 42
        found = await agent.lab.rows(fork, "SELECT convert_from(lo_get(4711), 'UTF8')", "defaultdb")
        assert found == [("a large object",)]
        here, there = (agent.lab.wanted(one).paths.data for one in (fork, source))
        assert system_identifier.read(here) != system_identifier.read(there)

    agents.run(scenario)


def test_of_a_source_that_is_gone_only_what_the_archive_shows_is_restored(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        source = await backed_up(agent)
        await agent.lab.run(source, PARTS, "defaultdb")
        await archived(agent, source)
        target = await moment(agent, source)
        await agent.remove(source)
        fork = await asked(agent, source, target=target)
        said = await agent.reason(fork, "nothing in the archive shows")
        assert "Ask for the end of the archive instead" in said.reason
        assert not said.reached
        assert fork.restoration is not None
        whole = msgspec.structs.replace(fork.restoration, target=None, asked_at=datetime.now(UTC))
        fork = await agent.change(fork, restoration=whole)
        await is_restored(agent, fork)
        assert await count(agent, fork) == 42

    agents.run(scenario)


def test_a_later_backup_shows_that_the_archive_reaches_a_quiet_moment(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        source = await backed_up(agent)
        await agent.lab.run(source, PARTS, "defaultdb")
        await asyncio.sleep(1.1)
        target = await moment(agent, source)
        await asyncio.sleep(1.1)
        assert source.backups is not None
        plan = msgspec.structs.replace(source.backups, asked_at=datetime.now(UTC))
        source = await agent.change(source, backups=plan)
        await wait_until_async("it is backed up again", SECONDS, lambda: backups(agent, source) == 2)
        await agent.remove(source)
        fork = await restored(agent, source, target=target)
        assert await count(agent, fork) == 42

    agents.run(scenario)


def test_a_lost_cluster_comes_back_as_itself_and_goes_on_archiving(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        lost = await backed_up(agent)
        await agent.lab.run(lost, PARTS, "defaultdb")
        await archived(agent, lost)
        paths = agent.lab.wanted(lost).paths
        identifier = system_identifier.read(paths.data)
        await agent.lab.executor.do(EndProcesses(paths.cluster.root), agent.lab.session(lost))
        files.remove(paths.data)
        assert lost.backups is not None
        restoration = Restoration(
            node="node-1",
            source=lost.id,
            asked_at=datetime.now(UTC),
            sealed_passphrase=lost.backups.sealed_passphrase,
            fork=False,
        )
        back = await agent.change(lost, restoration=restoration)
        await is_restored(agent, back)
        assert await count(agent, back) == 42
        assert await answers(back, pool=None)
        assert system_identifier.read(paths.data) == identifier
        before = backups(agent, back)
        assert back.backups is not None
        plan = msgspec.structs.replace(back.backups, asked_at=datetime.now(UTC))
        back = await agent.change(back, backups=plan)
        await wait_until_async("it is backed up", SECONDS, lambda: backups(agent, back) == before + 1)
        history = agent.lab.repository.glob(f"archive/{lost.id}/*/00000002.history*")
        await wait_until_async("its history is archived", SECONDS, lambda: any(history))
        # What follows the restore can be restored, too, and so can what was before it.
        await agent.lab.run(back, "INSERT INTO public.parts VALUES (43)", "defaultdb")
        fork = await restored(agent, back, target=await moment(agent, back))
        assert await count(agent, fork) == 43

    agents.run(scenario)


def test_data_that_are_there_already_are_left_as_they_are(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        cluster = await backed_up(agent)
        await agent.lab.run(cluster, PARTS, "defaultdb")
        assert cluster.backups is not None
        restoration = Restoration(
            node="node-1",
            source=cluster.id,
            asked_at=datetime.now(UTC),
            sealed_passphrase=cluster.backups.sealed_passphrase,
            fork=False,
        )
        asking = await agent.change(cluster, restoration=restoration)
        await agent.reason(asking, "there are data already that were not restored for this")
        await agent.settled(await agent.change(cluster, restoration=None))
        assert await count(agent, cluster) == 42

    agents.run(scenario)


def test_a_moment_before_the_first_backup_is_refused_in_words(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        source = await backed_up(agent)
        fork = await asked(agent, source, target=source.created_at - timedelta(hours=1))
        said = await agent.reason(fork, "cannot be restored: the first backup ended")
        assert not said.reached

    agents.run(scenario)


def test_a_wrong_passphrase_is_told_and_the_right_one_helps(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        source = await backed_up(agent)
        await agent.lab.run(source, PARTS, "defaultdb")
        other = new_plan(agent.lab.sealer).sealed_passphrase
        fork = await asked(agent, source, sealed_passphrase=other, target=await moment(agent, source))
        await agent.reason(fork, "is the passphrase correct")
        assert source.backups is not None
        assert fork.restoration is not None
        right = msgspec.structs.replace(fork.restoration, sealed_passphrase=source.backups.sealed_passphrase)
        fork = await agent.change(fork, restoration=right)
        await is_restored(agent, fork)

    agents.run(scenario)


def test_a_repository_that_is_away_is_waited_for(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        source = await backed_up(agent)
        await agent.lab.run(source, PARTS, "defaultdb")
        target = await moment(agent, source)
        await archived(agent, source)
        stanza = agent.lab.repository / "backup" / str(source.id)
        aside = stanza.with_name("aside")
        stanza.rename(aside)
        try:
            fork = await asked(agent, source, target=target)
            await agent.reason(fork, "has no backups of")
        finally:
            aside.rename(stanza)
        await is_restored(agent, fork)

    agents.run(scenario)


def test_wal_that_is_missing_in_the_archive_is_told_and_nothing_ends_at_the_gap(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        source = await backed_up(agent)
        await agent.lab.run(source, PARTS, "defaultdb")
        lost = await archived(agent, source)
        await agent.lab.run(source, "INSERT INTO public.parts VALUES (43)", "defaultdb")
        await archived(agent, source)
        [path] = agent.lab.repository.glob(f"archive/{source.id}/*/*/{lost}-*")
        aside = path.with_name("aside")
        path.rename(aside)
        fork = await asked(agent, source, target=await moment(agent, source))
        end = await asked(agent, source)
        for one in (fork, end):
            await agent.reason(one, "WAL is missing in the archive")
            assert not agent.status(one).reached
        aside.rename(path)
        for one in (fork, end):
            await is_restored(agent, one)
            assert await count(agent, one) == 43

    agents.run(scenario)


@pytest.mark.parametrize("live", [False, True], ids=["backup", "living server"])
def test_without_room_nothing_is_copied(agents: Agents, monkeypatch: pytest.MonkeyPatch, live: bool) -> None:
    async def scenario(agent: AtWork) -> None:
        source = await backed_up(agent)
        with monkeypatch.context() as patch:
            patch.setattr(restored_copy, "_RESERVES", 10**9)  # of the disk are to stay free
            fork = await asked(agent, source, live=live)
            await agent.reason(fork, "there is no room for it")
            assert not files.names(agent.lab.wanted(fork).paths.draft)
        await is_restored(agent, fork)

    agents.run(scenario)


def test_tablespaces_are_refused_in_words(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        source = await agent.cluster(backups=new_plan(agent.lab.sealer), pools=())
        place = agent.lab.folder / "tablespace"
        files.make_directory(place, 0o700, agent.lab.account.owner)
        session = agent.lab.session(source)
        statement = SQL("CREATE TABLESPACE t LOCATION {}").format(Literal(str(place)))
        await session.run("defaultdb", "a tablespace", (statement,), False)
        await session.close()
        fork = await asked(agent, source, live=True)
        await agent.reason(fork, "it has tablespaces, which cannot be restored")
        await wait_until_async("it is backed up", SECONDS, lambda: backups(agent, source) > 0)
        await corruption.backed_up_again(agent, source)  # the first one may be from before
        there = await asked(agent, source)
        await agent.reason(there, "it has tablespaces, which cannot be restored")
        await agent.remove(source)
        gone = await asked(agent, source)
        await agent.reason(gone, "it has tablespaces, which cannot be restored")
        assert not any(agent.lab.wanted(one).paths.data.exists() for one in (fork, there, gone))

    agents.run(scenario)


def test_whatever_is_killed_nothing_half_done_is_offered_and_it_is_done_in_the_end(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        source = await backed_up(agent)
        await agent.lab.run(source, PARTS, "defaultdb")
        target = await moment(agent, source)
        await archived(agent, source)
        seed = random.randrange(10**6)
        print("seed", seed)
        chance = random.Random(seed)
        for live in (False, True):
            fork = await asked(agent, source, live=live, target=None if live else target)
            paths = agent.lab.wanted(fork).paths
            kills = 0
            while kills < 12 and not paths.data.exists():
                await asyncio.sleep(chance.uniform(0, 0.3))
                for folder in (paths.draft, paths.restore_work):
                    for process in processes.below(folder):
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(process.pid, signal.SIGKILL)
                            kills += 1
                has_data = paths.data.exists()
                state = restore_files.read_state(paths.restore_state)
                assert not has_data or (state is not None and state.restored is not None)
            await is_restored(agent, fork)
            assert await count(agent, fork) == 42

    agents.run(scenario)


def test_what_is_left_beside_complete_data_is_removed_at_the_next_start(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        cluster = await agent.cluster()
        paths = agent.lab.wanted(cluster).paths
        files.make_directory(paths.restore_work, 0o710, None)
        (paths.restore_work / "pgbackrest.conf").write_text("repo1-cipher-pass=secret\n")
        RestoreRunner(agent.host, agent.lab.executor, agent.lab.host).clear_up()
        assert not paths.restore_work.exists()
        assert paths.data.exists()
        assert await answers(cluster)

    agents.run(scenario)


def test_a_cluster_that_is_deleted_while_it_is_restored_leaves_nothing(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        source = await backed_up(agent)
        fork = await asked(agent, source, target=await moment(agent, source))
        paths = agent.lab.wanted(fork).paths
        await wait_until_async("it has begun", SECONDS, paths.draft.exists)
        await agent.remove(fork)
        await wait_until_async("nothing is left", SECONDS, lambda: agent.lab.remains(fork) == [])
        await asyncio.sleep(2)
        assert agent.lab.remains(fork) == []

    agents.run(scenario)
