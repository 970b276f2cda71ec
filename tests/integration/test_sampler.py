"""The sampler on a real store: whom it looks at, what it survives, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import msgspec
import pytest

from cenote.errors import Unavailable
from cenote.model.records import Cluster, Pool
from cenote.model.timing import Timing
from cenote.security.sealing import Sealer
from cenote.stats.observer import MachineNumbers, PoolNumbers
from cenote.stats.sampler import CALM_SAMPLES, Sampler
from cenote.store import Store
from tests.support import records
from tests.support.etcd import opened_store, private_etcd
from tests.support.waiting import wait_until_async

POOL = Pool(name="web", database="defaultdb", size=4)


class Host:
    """The other side of the observer's interface: a host whose poolers answer, or do not."""

    def __init__(self) -> None:
        self.names: dict[UUID, str] = {}
        self.asked: Counter[str] = Counter()
        self.away: set[str] = set()
        self.silent: set[str] = set()
        self.scarce: set[str] = set()
        self.odd: set[str] = set()
        self.crowded: set[str] = set()

    async def pools(self, cluster_id: UUID, node: str) -> Mapping[str, PoolNumbers]:
        name = self.names[cluster_id]
        self.asked[name] += 1
        if name in self.away:
            raise Unavailable("The pooler is away.")
        if name in self.scarce:
            raise OSError(24, "Too many open files")
        if name in self.odd:
            raise KeyError("a column that no release before had")
        if name in self.silent:
            await asyncio.Event().wait()
        waiting = 8 if name in self.crowded else 0
        return {"web": PoolNumbers(transactions=self.asked[name], clients_waiting=waiting)}

    async def machine(self, cluster_id: UUID, node: str) -> MachineNumbers:
        asked = self.asked[self.names[cluster_id]]
        return MachineNumbers(processors=2, busy=asked, idle=asked)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the sampler asks for {name}")


QUICK = Timing(sample_interval=0.05, watched_sample_interval=0.1, sample_timeout=0.2)


@asynccontextmanager
async def at_work(
    folder: Path, *names: str, timing: Timing = QUICK
) -> AsyncIterator[tuple[Sampler, Host, Store, dict[str, Cluster]]]:
    sealer, host = Sealer(folder / "key"), Host()
    async with private_etcd() as etcd, opened_store(etcd) as store:
        clusters = {}
        for number, name in enumerate(names):
            plain = records.cluster(sealer, port=25060 + 2 * number, version="15")
            clusters[name] = msgspec.structs.replace(plain, name=name, pools=(POOL,))
            host.names[clusters[name].id] = name
            await store.add_cluster(clusters[name])
        # Of another host, and so another sampler's.
        elsewhere = records.cluster(sealer, port=25900, version="15", host="there")
        await store.add_cluster(msgspec.structs.replace(elsewhere, pools=(POOL,)))
        yield Sampler(store, host, "here", timing), host, store, clusters


def test_a_host_that_does_not_answer_keeps_no_other_cluster_from_being_looked_at(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with at_work(tmp_path, "good", "away", "silent", "scarce") as (sampler, host, _, clusters):
            host.away, host.silent, host.scarce = {"away"}, {"silent"}, {"scarce"}
            task = asyncio.create_task(sampler.run())
            try:
                past = sampler.history
                await wait_until_async(
                    "the good one has a past",
                    20,
                    lambda: len(past(clusters["good"].id, "node-1").machine.samples) > 2,
                )
                await wait_until_async("all are asked again", 20, lambda: min(host.asked.values()) > 1)
                assert len(host.asked) == 4
                assert not task.done()
                for name in ("away", "silent", "scarce"):
                    assert len(past(clusters[name].id, "node-1").machine.samples) == 0
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_a_cluster_whose_clients_wait_is_looked_at_often_until_they_are_served(tmp_path: Path) -> None:
    timing = Timing(sample_interval=4, watched_sample_interval=0.1, sample_timeout=10)

    async def scenario() -> None:
        async with at_work(tmp_path, "calm", "crowded", timing=timing) as (sampler, host, _, clusters):
            host.crowded = {"crowded"}
            task = asyncio.create_task(sampler.run())
            try:
                await wait_until_async("it is looked at", 30, lambda: host.asked["crowded"] >= 20)
                assert host.asked["calm"] < host.asked["crowded"] / 2
                past = sampler.history(clusters["crowded"].id, "node-1").pools["web"].samples
                host.crowded = set()
                # A sample that was begun before may follow the three that are calm.
                await wait_until_async(
                    "nobody waits", 30, lambda: not any(past["clients_waiting"][-CALM_SAMPLES:])
                )
                await wait_until_async("it is looked at in turn", 30, lambda: not sampler.watched)
                await wait_until_async("both go on", 30, lambda: host.asked["calm"] > 2)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert not sampler.watched

    asyncio.run(scenario())


def test_the_past_of_a_cluster_that_is_deleted_is_forgotten(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with at_work(tmp_path, "one") as (sampler, _, store, clusters):
            id = clusters["one"].id
            task = asyncio.create_task(sampler.run())
            try:
                await wait_until_async(
                    "there is a past", 20, lambda: bool(sampler.history(id, "node-1").pools)
                )
                await store.delete_cluster(id, clusters["one"].created_at)
                await wait_until_async("it is forgotten", 20, lambda: not sampler.history(id, "node-1").pools)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_who_watches_hears_of_each_look_and_of_what_is_wrong(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            at_work(tmp_path, "one") as (sampler, host, _, clusters),
            sampler.watch(clusters["one"].id, "node-1") as watch,
        ):
            assert await watch.next(10)
            assert watch.problem == ""
            host.away = {"one"}
            await wait_until_async("it is told", 20, lambda: watch.problem == "The pooler is away.")
            host.away, host.silent = set(), {"one"}
            await wait_until_async("silence is told", 20, lambda: "in time" in watch.problem)
            host.silent, host.odd = set(), {"one"}
            await wait_until_async("a defect is told", 20, lambda: "right now" in watch.problem)
            host.odd = set()
            await wait_until_async("it is well again", 20, lambda: watch.problem == "")

    asyncio.run(scenario())


def test_two_who_watch_share_the_looks_and_the_last_who_leaves_ends_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with at_work(tmp_path, "one") as (sampler, host, _, clusters):
            before = asyncio.all_tasks()
            async with sampler.watch(clusters["one"].id, "node-1") as first:
                async with sampler.watch(clusters["one"].id, "node-1") as second:
                    assert first is second
                    assert len(asyncio.all_tasks() - before) == 1
                assert await first.next(10)
            assert asyncio.all_tasks() == before
            asked = host.asked["one"]
            await asyncio.sleep(0.3)  # three times as long as between two looks
            assert host.asked["one"] == asked

    asyncio.run(scenario())


def test_who_watches_leaves_when_the_service_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with at_work(tmp_path, "one") as (sampler, host, _, clusters):
            host.silent = {"one"}
            async with sampler.watch(clusters["one"].id, "node-1") as watch:
                waiting = asyncio.create_task(watch.next(60))
                await asyncio.sleep(0)
                sampler.close()
                assert await waiting
                assert sampler.closed

    asyncio.run(scenario())


def test_a_pool_has_a_past_as_soon_as_it_was_looked_at_twice(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with at_work(tmp_path, "one") as (sampler, _, _, clusters):
            id = clusters["one"].id
            async with sampler.watch(id, "node-1"):
                await wait_until_async(
                    "two samples",
                    20,
                    lambda: (
                        bool(sampler.history(id, "node-1").pools)
                        and len(sampler.history(id, "node-1").pools["web"].samples) >= 2
                    ),
                )
            samples = sampler.history(id, "node-1").pools["web"].samples
            assert all(rate > 0 for rate in samples["transactions"])
            assert list(samples.at) == sorted(samples.at)

    asyncio.run(scenario())


def test_who_follows_gets_each_sample_once_and_may_resume(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with at_work(tmp_path, "one") as (sampler, host, _, clusters):
            id, seen = clusters["one"].id, list[float]()
            async with contextlib.aclosing(sampler.follow(id, "node-1", 0)) as following:
                async for found in following:
                    seen += [sample.at for sample in found.samples]
                    if len(seen) >= 4:
                        break
            assert seen == sorted(set(seen))
            async with contextlib.aclosing(sampler.follow(id, "node-1", seen[1])) as following:
                first = await anext(following)
                assert [sample.at for sample in first.samples][:2] == seen[2:4]
                host.away = {"one"}
                async for found in following:
                    if found.problem:
                        break
                assert found.problem == "The pooler is away."
                sampler.close()
                assert [found async for found in following] == []

    asyncio.run(scenario())


def test_the_time_of_samples_follows_a_clock_that_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = Sampler(cast(Any, None), cast(Any, None), "host")
    true = time.time
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: true() + 3600)
        assert ahead.now() > true() + 3500
    assert abs(ahead.now() - true()) < 100
