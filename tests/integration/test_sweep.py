"""What an agent does with folders of clusters that no record has on its host."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from cenote.agent.emptying import Emptying
from cenote.host import processes, system, trash, unknown
from cenote.model.fleet_records import Host
from cenote.model.records import Cluster
from cenote.model.timing import Timing
from cenote.model.topology import node_key
from cenote.rules import deletions
from cenote.store import etcd_messages
from tests.support.agent import Agents, AtWork, answers, ask, running, running_agents
from tests.support.waiting import wait_until_async

SECONDS = 30


@pytest.fixture(scope="module")
def agents() -> Iterator[Agents]:
    yield from running_agents(Timing(sweep_interval=0.5, announce_interval=1.0))


async def kept(at: AtWork) -> Cluster:
    """A cluster with a row in it."""
    cluster = await at.cluster()
    await ask(cluster, "CREATE TABLE kept AS SELECT 42 AS value", pool=None)
    return cluster


async def without_record(at: AtWork, cluster: Cluster) -> Any:
    """Take a cluster's record out of etcd, as if the store were from before it; return what puts it back."""
    client, key = at.host._client, at.store.keys.cluster(cluster.id)
    found = await client.read(key)
    assert found is not None
    await client.transact(etcd_messages.TransactionRequest([], [etcd_messages.delete(key)], []))

    async def back() -> None:
        await client.transact(etcd_messages.TransactionRequest([], [etcd_messages.put(key, found.value)], []))

    return back


async def in_trash(at: AtWork, cluster: Cluster) -> trash.Entry:
    def found() -> trash.Entry | None:
        entries = [
            entry
            for entry in trash.entries(at.lab.layout)
            if entry.note is not None and entry.note.cluster == cluster.id
        ]
        return entries[0] if entries else None

    entry = await wait_until_async(f"{cluster.name} is in the trash", SECONDS, found)
    assert entry is not None
    return entry


def is_here(at: AtWork, cluster: Cluster) -> bool:
    paths = at.lab.layout.cluster(cluster.id)
    return paths.root.exists() or paths.sockets.exists() or bool(processes.below(paths.root))


async def gone(at: AtWork, cluster: Cluster) -> None:
    await wait_until_async("nothing of it is left", SECONDS, lambda: not is_here(at, cluster))


def announced(at: AtWork) -> Host:
    host = at.store.host("here")
    assert host is not None
    return host


def test_a_cluster_with_a_tombstone_is_stopped_and_kept_in_the_trash(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await kept(at)
        await at.store.forget_cluster(cluster.id)
        entry = await in_trash(at, cluster)
        await gone(at, cluster)
        assert entry.note is not None
        assert entry.note.name == cluster.name
        assert "was deleted" in entry.note.why
        data = entry.path / str(cluster.id) / "pg"
        assert (data / "PG_VERSION").exists()
        assert not (data / "postmaster.pid").exists(), "it was shut down in order"
        assert entry.path.parent.stat().st_mode & 0o777 == 0o700

    agents.run(scenario)


def deleted_entry(at: AtWork, cluster: Cluster, deleted_at: datetime) -> trash.Entry | None:
    return trash.find(at.lab.layout, cluster.id, deleted_at)


def test_a_cluster_that_is_deleted_again_before_it_is_back_is_kept_for_that(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster, first = await kept(at), datetime.now(UTC)
        await at.store.delete_cluster(cluster.id, first, days=7)

        async def put_away(deleted_at: datetime) -> None:
            def reported() -> bool:
                status = at.store.status(cluster.id, "node-1")
                return status is not None and status.kept and status.removed_for == deleted_at

            await wait_until_async("it is put away", SECONDS, reported)
            assert deleted_entry(at, cluster, deleted_at) is not None

        await put_away(first)
        second = datetime.now(UTC)

        def again(current: Cluster) -> Cluster:
            back = deletions.undeleted(current, current.name, current.nodes)
            return deletions.deleted(back, second, 7)

        await at.store.update_cluster(cluster.id, again, deleted=True)
        await put_away(second)
        assert deleted_entry(at, cluster, first) is None

        def undeleted(current: Cluster) -> Cluster:
            return deletions.undeleted(current, current.name, current.nodes)

        await at.store.update_cluster(cluster.id, undeleted, deleted=True)
        await at.settled(cluster)
        await ask(cluster, "INSERT INTO kept VALUES (43)", pool=None)
        assert await ask(cluster, "SELECT sum(value) FROM kept") == 85

    agents.run(scenario)


def test_the_trash_is_emptied_soon_when_the_disk_is_nearly_full(
    agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(at: AtWork) -> None:
        cluster, when = await kept(at), datetime.now(UTC)
        emptying, looks = Emptying(at.host, at.lab.host, None, lambda _: None), 3
        await at.store.delete_cluster(cluster.id, when, days=7)
        entry = await in_trash(at, cluster)
        for _ in range(looks):
            assert await emptying.empty() == 0
            await emptying.look()
        assert entry.path.exists()
        with monkeypatch.context() as patch:
            patch.setattr(system, "free_mib", lambda _: 1)
            await emptying.look()
        assert not entry.path.exists()

    agents.run(scenario)


def test_a_cluster_that_was_deleted_before_it_was_promoted_is_promoted_when_it_is_back(
    agents: Agents,
) -> None:
    async def scenario(at: AtWork) -> None:
        cluster, when = await kept(at), datetime.now(UTC)
        await at.store.delete_cluster(cluster.id, when, days=7)
        entry = await in_trash(at, cluster)
        # As the target of a move has left it.
        paths = at.lab.layout.node(cluster.id, "node-2")
        data = entry.path / paths.data.relative_to(at.lab.layout.clusters)
        (data.parent / "pg").rename(data)
        (data / "standby.signal").touch()
        [node] = cluster.nodes

        def undeleted(current: Cluster) -> Cluster:
            return deletions.undeleted(current, current.name, (replace(node, name="node-2"),))

        back = await at.store.update_cluster(cluster.id, undeleted, deleted=True)
        await at.settled(back.value)
        await ask(back.value, "INSERT INTO kept VALUES (43)", pool=None)
        assert await ask(back.value, "SELECT sum(value) FROM kept") == 85

    agents.run(scenario)


def test_what_is_taken_out_of_the_trash_is_reported_soon(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster, when = await kept(at), datetime.now(UTC)
        await at.store.delete_cluster(cluster.id, when, days=7)
        entry = await in_trash(at, cluster)
        trash.remove(entry)
        await wait_until_async("it is forgotten", SECONDS, lambda: at.store.cluster(cluster.id) is None)

    agents.run(scenario)


def test_a_cluster_without_record_or_tombstone_runs_on_and_is_told(
    agents: Agents, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await kept(at)
        server, pooler = running(at.server(cluster)), running(at.bouncer(cluster))
        back = await without_record(at, cluster)
        key = node_key(cluster.id, "node-1")
        await wait_until_async("the host says so", SECONDS, lambda: announced(at).unknown == (key,))
        assert [(one.cluster, one.node) for one in unknown.read(at.lab.layout)] == [(cluster.id, "node-1")]
        assert "neither a record" in unknown.read(at.lab.layout)[0].why
        assert caplog.text.count("is left as it is") == 1
        assert (running(at.server(cluster)), running(at.bouncer(cluster))) == (server, pooler)
        assert await ask(cluster, "SELECT value FROM kept") == 42

        await back()
        await wait_until_async("it is known again", SECONDS, lambda: announced(at).unknown == ())
        assert unknown.read(at.lab.layout) == []
        assert running(at.server(cluster)) == server
        await at.settled(cluster)

    agents.run(scenario)


def test_what_is_unknown_is_removed_by_command_and_what_is_known_is_not(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        known, cluster = await kept(at), await kept(at)
        await without_record(at, cluster)
        await wait_until_async("the host says so", SECONDS, lambda: bool(announced(at).unknown))
        for one in (known, cluster):
            unknown.mark_unwanted(at.lab.layout.cluster(one.id))
        entry = await in_trash(at, cluster)
        await gone(at, cluster)
        assert entry.note is not None
        assert entry.note.why.startswith("removed by command")
        await wait_until_async("nothing is unknown", SECONDS, lambda: announced(at).unknown == ())
        assert await answers(known)
        spared = at.lab.layout.cluster(known.id)
        await wait_until_async("it was of the other", SECONDS, lambda: not unknown.is_unwanted(spared))
        back = await without_record(at, known)  # as with another store, some day
        await wait_until_async("the host says so", SECONDS, lambda: bool(announced(at).unknown))
        await asyncio.sleep(2)
        assert running(at.server(known))
        await back()
        await wait_until_async("it is known again", SECONDS, lambda: announced(at).unknown == ())

    agents.run(scenario)


def test_a_node_that_has_left_is_stopped_kept_and_reported_removed(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await kept(at)
        [node] = cluster.nodes
        there = replace(node, name="node-2", host="elsewhere")
        await at.change(cluster, nodes=(there,), left=(node,))
        entry = await in_trash(at, cluster)
        await gone(at, cluster)
        assert entry.note is not None
        assert "moved to another host" in entry.note.why

        def reported() -> bool:
            # Once it is, the controller takes the node off the record, and then the report goes.
            status, stored = at.host.status(cluster.id, "node-1"), at.store.cluster(cluster.id)
            is_off = stored is not None and not stored.value.left
            return is_off or (status is not None and status.removed)

        await wait_until_async("it is reported", SECONDS, reported)
        with pytest.raises(psycopg.OperationalError):
            await ask(cluster)
        await at.store.forget_cluster(cluster.id)

    agents.run(scenario)


def test_a_node_that_its_record_has_elsewhere_is_unknown(agents: Agents) -> None:
    """As with a copy of the store from before a move: the only data may be here."""

    async def scenario(at: AtWork) -> None:
        cluster = await kept(at)
        server = running(at.server(cluster))
        [node] = cluster.nodes
        await at.change(cluster, nodes=(replace(node, host="elsewhere"),))
        await wait_until_async("the host says so", SECONDS, lambda: bool(announced(at).unknown))
        assert "on another host (elsewhere)" in unknown.read(at.lab.layout)[0].why
        assert running(at.server(cluster)) == server
        assert await ask(cluster, "SELECT value FROM kept") == 42
        await at.store.forget_cluster(cluster.id)
        await in_trash(at, cluster)
        await wait_until_async("nothing is unknown", SECONDS, lambda: announced(at).unknown == ())

    agents.run(scenario)


def test_an_unknown_node_beside_one_that_is_known_goes_alone(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await kept(at)
        paths = at.lab.layout.node(cluster.id, "node-7")
        paths.data.mkdir()
        (paths.data / "PG_VERSION").write_text("15\n")
        (paths.cluster.root / "postgresql-node-7.log").write_text("a line\n")
        server = running(at.server(cluster))
        key = node_key(cluster.id, "node-7")
        await wait_until_async("it is unknown", SECONDS, lambda: announced(at).unknown == (key,))
        unknown.mark_unwanted(paths.cluster)
        entry = await in_trash(at, cluster)
        await wait_until_async("the data is gone", SECONDS, lambda: not paths.data.exists())
        await wait_until_async("it is done", SECONDS, lambda: not unknown.is_unwanted(paths.cluster))
        assert sorted(path.name for path in entry.path.iterdir()) == [
            "note.json",
            "pg-node-7",
            "postgresql-node-7.log",
        ]
        assert entry.name.endswith("-node-7")
        assert running(at.server(cluster)) == server
        assert await ask(cluster, "SELECT value FROM kept") == 42

    agents.run(scenario)


def test_a_deletion_is_carried_out_at_once_unless_it_is_late(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        soon, late = await kept(at), await kept(at)
        await at.store.delete_cluster(soon.id, datetime.now(UTC))
        await at.store.delete_cluster(late.id, datetime.now(UTC) - timedelta(hours=1))
        for cluster in (soon, late):
            await gone(at, cluster)
        entry = await in_trash(at, late)
        assert entry.note is not None
        assert "was deleted at" in entry.note.why
        assert soon.id not in {entry.note.cluster for entry in trash.entries(at.lab.layout) if entry.note}

    agents.run(scenario)


def test_the_trash_is_emptied_by_the_clock(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        now, id = datetime.now(UTC), "6a0e7f3c-0a55-4d2c-8a3c-3f5f4a3e9b11"
        folders = {}
        for days in (1, 6, 8):
            folder = at.lab.layout.trash / f"{now - timedelta(days=days):%Y%m%dT%H%M%SZ}-{id}"
            (folder / id / "pg").mkdir(parents=True)
            folders[days] = folder
        other = at.lab.layout.trash / "somebody's"
        other.mkdir()
        await wait_until_async("the oldest is gone", SECONDS, lambda: not folders[8].exists())
        assert all(path.exists() for path in (folders[1], folders[6], other))

    agents.run(scenario)
