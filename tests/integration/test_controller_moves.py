"""The controller on a real etcd: moves and drains, with agents that only report."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from cenote.controller.controller import Controller
from cenote.model.event_records import Note
from cenote.model.fleet_records import Host
from cenote.model.records import Cluster, MoveStage, Node
from cenote.model.status_records import NodeStatus, Standby
from cenote.rules import moves, record_formats
from cenote.rules.move_progress import DEFAULT, Limits
from cenote.security.sealing import Sealer
from cenote.store import HostStore, PrivateEtcd, Store
from tests.support.etcd import bare_cluster, opened_host, opened_store, with_etcd
from tests.support.waiting import wait_until_async

A, B, C = "host-a", "host-b", "host-c"


def host(id: str) -> Host:
    return Host(
        id=id,
        name=f"name-of-{id}",
        address="h",
        memory_mib=64_000,
        cpus=1,
        versions={"16": "16.1"},
        reads=record_formats.HIGHEST,
        first_port=10_000,
        last_port=10_099,
        fleet_address="h",
        patroni="4.1.5",
    )


@asynccontextmanager
async def fleet(
    etcd: PrivateEtcd, tmp_path: Path, *ids: str, limits: Limits = DEFAULT
) -> AsyncIterator[tuple[Store, list[HostStore]]]:
    """A store with a controller, and hosts that are alive."""
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened_store(etcd))
        hosts = []
        for id in ids:
            hosts.append(await stack.enter_async_context(opened_host(etcd, id)))
            await hosts[-1].announce(host(id))
        controller = Controller(store, Sealer(tmp_path / "keys"), A, "d")
        controller._mover._limits = limits
        task = asyncio.create_task(controller.run())
        try:
            yield store, hosts
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def created(store: Store, hosts: HostStore, name: str, port: int = 10_000) -> Cluster:
    node = Node(name="node-1", host=A, port=port, pool_port=port + 1, metrics_port=port + 2)
    cluster = replace(bare_cluster(name, port), nodes=(node,))
    revision = await store.add_cluster(cluster)
    await hosts.report(cluster.id, "node-1", status(revision))
    return cluster


def status(revision: int, **fields: Any) -> NodeStatus:
    return NodeStatus(reached=revision, tried=revision, at=datetime.now(UTC), **fields)


def recorded(store: Store, cluster: Cluster) -> Cluster:
    stored = store.cluster(cluster.id)
    assert stored is not None
    return stored.value


def revision(store: Store, cluster: Cluster) -> int:
    stored = store.cluster(cluster.id)
    assert stored is not None
    return stored.revision


Reports = dict[str, tuple[HostStore, dict[str, Any]]]  # by node: of which agent, and with which fields


async def until(
    store: Store, cluster: Cluster, stage: MoveStage | None, reports: Reports, seconds: float = 10
) -> None:
    """Report what agents would, each time on the record as it is, until the move is in a stage."""

    async def reached() -> bool:
        for node, (agent, fields) in reports.items():
            await agent.report(cluster.id, node, status(revision(store, cluster), **fields))
        move = recorded(store, cluster).move
        return (None if move is None else move.stage) is stage

    await wait_until_async(f"the move is {stage}", seconds, reached)


async def moved(store: Store, cluster: Cluster, source: HostStore, target: HostStore) -> None:
    """Report what agents would, from the beginning of a move until its end."""
    follows = {"standby": Standby(streaming=True, replayed=900)}
    node = recorded(store, cluster).nodes[1].name
    await until(store, cluster, MoveStage.SWITCHING, {"node-1": (source, {}), node: (target, follows)})
    ended = {"ended_at": 900}
    await until(store, cluster, MoveStage.LEAVING, {"node-1": (source, ended), node: (target, follows)})
    left = {"ended_at": 900, "leads_on": True}
    await until(store, cluster, None, {"node-1": (source, left), node: (target, {})})


def test_a_cluster_moves_and_nothing_is_left_where_it_was(tmp_path: Path) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with fleet(etcd, tmp_path, A, B) as (store, [a, b]):
            cluster = await created(store, a, "one")
            target = Node(name="node-2", host=B, port=10_000, pool_port=10_001, metrics_port=10_002)
            await store.update_cluster(cluster.id, lambda one: moves.begun(one, target, datetime.now(UTC)))
            await moved(store, cluster, a, b)
            after = recorded(store, cluster)
            assert after.nodes == (target,)
            assert [node.host for node in after.left] == [A]
            assert store.ports(A) == store.ports(B) == {10_000, 10_001, 10_002}
            await a.remember(cluster.id, "node-1", Note(what="removed the node"))
            await a.report(cluster.id, "node-1", status(0, removed=True))
            await wait_until_async("it has left", 10, lambda: not recorded(store, cluster).left)
            await wait_until_async("its ports are free", 10, lambda: store.ports(A) == set())
            assert store.ports(B) == {10_000, 10_001, 10_002}
            assert set(store.reports(cluster.id)) == {"node-2"}
            told = [event.note.what for event in await store.events(cluster.id)]
            assert f"moved from name-of-{A} to name-of-{B}" in told
            assert "removed the node" in told

    with_etcd(scenario)


def test_a_drained_host_gives_its_clusters_away_a_few_at_a_time(tmp_path: Path) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with fleet(etcd, tmp_path, A, B, C) as (store, [a, b, c]):
            clusters = [await created(store, a, f"c{number}", 10_000 + 4 * number) for number in range(4)]
            await store.host_changes.drain(A, datetime.now(UTC), Note(what="drain"))

            def moving() -> list[Cluster]:
                return [one for one in clusters if recorded(store, one).move is not None]

            await wait_until_async("two are copied", 10, lambda: len(moving()) == 2)
            await asyncio.sleep(1.5)
            assert len(moving()) == 2
            others = {B: b, C: c}
            done: set[Any] = set()
            while len(done) < 4:
                await wait_until_async("there is one", 10, lambda: [o for o in moving() if o.id not in done])
                cluster = next(one for one in moving() if one.id not in done)
                target = recorded(store, cluster).nodes[1]
                await moved(store, cluster, a, others[target.host])
                await a.report(cluster.id, "node-1", status(0, removed=True))
                done.add(cluster.id)
            await wait_until_async("nothing is there any more", 10, lambda: store.ports(A) == set())

    with_etcd(scenario)


def test_a_move_whose_switch_fails_each_time_is_given_up_in_the_end(tmp_path: Path) -> None:
    limits = Limits(copying=12.0, switching=0.3, first_pause=0.1, longest_pause=0.1)

    async def scenario(etcd: PrivateEtcd) -> None:
        async with fleet(etcd, tmp_path, A, B, limits=limits) as (store, [a, b]):
            cluster = await created(store, a, "one")
            target = Node(name="node-2", host=B, port=10_000, pool_port=10_001)
            await store.update_cluster(cluster.id, lambda one: moves.begun(one, target, datetime.now(UTC)))
            follows = {"standby": Standby(streaming=True, replayed=900)}
            busy: Reports = {"node-1": (a, {"reason": "a pool is busy"}), "node-2": (b, follows)}
            await until(store, cluster, MoveStage.SWITCHING, busy)
            await until(store, cluster, MoveStage.COPYING, busy)
            await until(store, cluster, MoveStage.SWITCHING, busy)
            move = recorded(store, cluster).move
            assert move is not None
            assert move.tries >= 1
            await until(store, cluster, None, busy, seconds=40)
            assert [node.host for node in recorded(store, cluster).nodes] == [A]
            told = [event.note.what for event in await store.events(cluster.id)]
            assert any(what.startswith(f"gave up the move to name-of-{B}") for what in told)

    with_etcd(scenario)


def test_a_host_at_which_copies_fail_does_not_keep_clusters_on_a_drained_one(tmp_path: Path) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with fleet(etcd, tmp_path, A, B, C, limits=Limits(failing=1.0)) as (store, [a, b, c]):
            cluster = await created(store, a, "one")
            await store.host_changes.drain(A, datetime.now(UTC), Note(what="drain"))
            await wait_until_async("it is copied", 10, lambda: recorded(store, cluster).move is not None)
            target, others = recorded(store, cluster).nodes[1], {B: b, C: c}
            fails: dict[str, Any] = {"failing": True, "reason": "the disk is full"}

            async def is_elsewhere() -> bool:
                now = revision(store, cluster)
                await a.report(cluster.id, "node-1", status(now))
                await others[target.host].report(cluster.id, target.name, status(now, **fails))
                hosts = [node.host for node in recorded(store, cluster).nodes[1:]]
                return bool(hosts) and hosts != [target.host]

            await wait_until_async("it is copied to another host", 20, is_elsewhere)
            await moved(store, cluster, a, others[recorded(store, cluster).nodes[1].host])

    with_etcd(scenario)


def test_a_node_of_several_leaves_a_drained_host_and_stays_if_that_is_undrained_at_once(
    tmp_path: Path,
) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with fleet(etcd, tmp_path, A, B, C) as (store, [a, b, c]):
            cluster = await created(store, a, "one")
            two = Node(name="node-2", host=B, port=10_000, pool_port=10_001, metrics_port=10_002)
            two = replace(two, added_at=datetime.now(UTC))
            await store.update_cluster(cluster.id, lambda one: replace(one, nodes=(*one.nodes, two)))
            agents = {A: a, B: b, C: c}

            async def report(*followers: str) -> list[str]:
                """Report what agents would; return the nodes of the record."""
                for node in recorded(store, cluster).nodes:
                    seen = {"followers": followers} if node.name == "node-1" else {}
                    now = revision(store, cluster)
                    await agents[node.host].report(cluster.id, node.name, status(now, **seen))
                return [node.name for node in recorded(store, cluster).nodes]

            await report("node-2")
            await store.host_changes.drain(B, datetime.now(UTC), Note(what="drain"))
            three = ["node-1", "node-2", "node-3"]
            await wait_until_async("one is added", 10, lambda: _names(store, cluster) == three)
            assert recorded(store, cluster).nodes[2].host == C
            await store.host_changes.undrain(B, Note(what="undrain"))
            await wait_until_async("it goes again", 10, lambda: _names(store, cluster) == three[:2])
            await store.host_changes.drain(B, datetime.now(UTC), Note(what="drain"))

            async def is_replaced() -> bool:
                return await report("node-2", "node-4") == ["node-1", "node-4"]

            await wait_until_async("another one takes its place", 10, is_replaced)
            assert "node-2" in {node.name for node in recorded(store, cluster).left}
            told = [event.note.what for event in await store.events(cluster.id)]
            assert f"moved node-2 from name-of-{B} to name-of-{C}, where it is node-4" in told

    with_etcd(scenario)


def _names(store: Store, cluster: Cluster) -> list[str]:
    return [node.name for node in recorded(store, cluster).nodes]
