"""Rotation of the sealing keys on a real etcd: beside writes, and cut off anywhere."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec.structs import replace

from cenote.errors import Busy, Conflict, Unavailable
from cenote.model.event_records import Note
from cenote.model.record import Secret
from cenote.model.records import CertificateAuthority, Cluster, LogSink, MetricsLogin, SinkType, User
from cenote.security.sealing import Sealer
from cenote.security.sealing_keys import SealingKey
from cenote.store import Store
from cenote.store.key_rotation import Rotation
from tests.support.etcd import bare_cluster, opened_store, private_etcd

NOTE = Note(what="POST /v2/cenote/keys/rotate")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def with_secrets(sealer: Sealer, number: int) -> Cluster:
    return replace(
        bare_cluster(f"c{number}", 25060 + 2 * number),
        authority=CertificateAuthority(certificate="", sealed_key=sealer.seal(Secret(f"key {number}"))),
        users=(User(name="app", verifier="", sealed_password=sealer.seal(Secret(f"password {number}"))),),
        sinks=(
            LogSink(
                id=uuid4(),
                name="s",
                type=SinkType.RSYSLOG,
                sealed_config=sealer.seal(Secret(f"sink {number}")),
            ),
        ),
    )


def opened(store: Store, sealer: Sealer) -> dict[str, list[str]]:
    """Everything that is sealed in the store, in the clear."""
    found = {}
    for stored in store.clusters():
        cluster = stored.value
        texts = [cluster.authority.sealed_key, *(user.sealed_password for user in cluster.users)]
        texts += [sink.sealed_config for sink in cluster.sinks]
        found[cluster.name] = [sealer.open(text).reveal() for text in texts]
    login = store.metrics_login()
    if login is not None:
        found["metrics"] = [sealer.open(login.sealed_password).reveal()]
    return found


async def finished(store: Store) -> Rotation:
    async with asyncio.timeout(120):
        while store.key_rotation.last is None or store.key_rotation.last.state == "running":
            await asyncio.sleep(0.005)
    return store.key_rotation.last


def with_sealed_store(
    folder: Path, clusters: int, scenario: Callable[[Store, Sealer], Awaitable[None]]
) -> None:
    async def whole() -> None:
        async with private_etcd() as etcd, opened_store(etcd) as store:
            sealer = Sealer(folder / "sealing.key")
            for number in range(clusters):
                await store.add_cluster(with_secrets(sealer, number))
            await store.add_metrics_login(
                MetricsLogin(username="metrics", sealed_password=sealer.seal(Secret("metrics")))
            )
            await scenario(store, sealer)

    asyncio.run(whole())


def test_every_record_is_resealed_and_the_old_key_is_removed(tmp_path: Path) -> None:
    async def scenario(store: Store, sealer: Sealer) -> None:
        before, old = opened(store, sealer), sealer.keys[0].id
        assert [(use.id, use.records) for use in await store.key_rotation.uses(sealer)] == [(old, 6)]
        store.key_rotation.start(sealer, NOTE, [])
        done = await finished(store)
        assert (done.state, done.resealed, done.removed) == ("done", 6, (old,))
        await store.update_cluster(store.clusters()[0].value.id, lambda one: replace(one, tags=("t",)))
        again = Sealer(tmp_path / "sealing.key")
        assert opened(store, again) == before
        assert [(use.id, use.seals, use.records) for use in await store.key_rotation.uses(again)] == [
            (again.keys[0].id, True, 7)  # with the record that was replaced
        ]
        assert old != again.keys[0].id
        done_note, asked_note = (event.note for event in (await store.audit(None, 2))[0])
        assert asked_note == NOTE
        assert "6 records were re-sealed" in done_note.what

    with_sealed_store(tmp_path, 5, scenario)


def test_writes_beside_a_rotation_are_kept(tmp_path: Path) -> None:
    async def scenario(store: Store, sealer: Sealer) -> None:
        ids = {stored.value.name: stored.value.id for stored in store.clusters()}
        expected = opened(store, sealer)

        async def reset_passwords() -> int:
            number = 0
            while store.key_rotation.last is None or store.key_rotation.last.state == "running":
                number += 1
                name = random.choice(sorted(ids))
                sealed = sealer.seal(Secret(f"new {number}"))
                expected[name][1] = f"new {number}"

                def change(one: Cluster, sealed: str = sealed) -> Cluster:
                    return replace(one, users=(replace(one.users[0], sealed_password=sealed),))

                await store.update_cluster(ids[name], change)
            return number

        writing = asyncio.create_task(reset_passwords())
        await asyncio.sleep(0)
        store.key_rotation.start(sealer, NOTE, [])
        assert (await finished(store)).state == "done"
        assert await writing
        assert opened(store, Sealer(tmp_path / "sealing.key")) == expected

    with_sealed_store(tmp_path, 30, scenario)


def test_a_record_with_a_damaged_secret_stops_a_rotation_and_can_be_changed_afterwards(
    tmp_path: Path,
) -> None:
    async def scenario(store: Store, sealer: Sealer) -> None:
        damaged = with_secrets(sealer, 9)
        text = damaged.users[0].sealed_password
        broken = text[:-6] + ("A" if text[-6] != "A" else "B") + text[-5:]
        damaged = replace(damaged, users=(replace(damaged.users[0], sealed_password=broken),))
        await store.add_cluster(damaged)
        store.key_rotation.start(sealer, NOTE, [])
        stopped = await finished(store)
        assert stopped.state == "failed"
        assert f"clusters/{damaged.id}" in stopped.message
        assert len(Sealer(tmp_path / "sealing.key").keys) == 2
        await store.update_cluster(damaged.id, lambda one: replace(one, tags=("t",)))
        await store.delete_cluster(damaged.id, NOW)

    with_sealed_store(tmp_path, 1, scenario)


def test_what_was_sealed_before_a_rotation_cannot_be_written_after_it(tmp_path: Path) -> None:
    async def scenario(store: Store, sealer: Sealer) -> None:
        late = with_secrets(sealer, 9)
        store.key_rotation.start(sealer, NOTE, [])
        await finished(store)
        with pytest.raises(Conflict, match="sealing key was replaced"):
            await store.add_cluster(late)
        assert store.cluster(late.id) is None

    with_sealed_store(tmp_path, 1, scenario)


def test_a_second_rotation_is_refused_while_one_is_running_and_goes_through_afterwards(
    tmp_path: Path,
) -> None:
    async def scenario(store: Store, sealer: Sealer) -> None:
        first = sealer.keys[0].id
        store.key_rotation.start(sealer, NOTE, [])
        with pytest.raises(Busy, match="rotated already"):
            store.key_rotation.start(sealer, NOTE, [])
        await finished(store)
        second = sealer.keys[0].id
        store.key_rotation.start(sealer, NOTE, [])
        assert (await finished(store)).removed == (second,)
        assert first != second

    with_sealed_store(tmp_path, 3, scenario)


class Agent:
    """Somebody else who opens what the ring seals."""

    def __init__(self, sealer: Sealer, refusal: str = "") -> None:
        self._sealer, self._refusal = sealer, refusal
        self.known: list[str] = []
        self.sealing: list[str] = []

    async def add(self, key: SealingKey) -> None:
        if self._refusal:
            raise Unavailable(self._refusal)
        if len(self._sealer.keys) == 1:
            assert key not in self._sealer.keys  # so nothing can be sealed with it
        self.known.append(key.id)

    async def seal(self, key: SealingKey) -> None:
        assert key == self._sealer.keys[-1]  # whoever reads what is sealed with it has it by now
        self.sealing.append(key.id)

    async def keep(self, key: SealingKey) -> None:
        assert key == self._sealer.keys[-1]
        self.known = [key.id]


def test_who_else_opens_has_the_new_key_before_it_seals_and_drops_the_old_one(tmp_path: Path) -> None:
    async def scenario(store: Store, sealer: Sealer) -> None:
        [old], before = [key.id for key in sealer.keys], opened(store, sealer)
        refusing = Agent(sealer, "the agent does not answer")
        store.key_rotation.start(sealer, NOTE, [], "host", refusing)
        refused = await finished(store)
        assert (refused.state, refused.ring) == ("failed", "host")
        assert "the agent does not answer" in refused.message
        assert [key.id for key in sealer.keys] == [old]

        agent = Agent(sealer)
        store.key_rotation.start(sealer, NOTE, [], "host", agent)
        assert (await finished(store)).removed == (old,)
        assert agent.known == agent.sealing == [key.id for key in sealer.keys]

        sealer.add_key()  # as a rotation that was cut off, before its key was handed over
        store.key_rotation.start(sealer, NOTE, [], "host", agent)
        assert (await finished(store)).state == "done"
        assert agent.known == [key.id for key in sealer.keys]
        assert opened(store, sealer) == before

    with_sealed_store(tmp_path, 2, scenario)


def test_a_rotation_leaves_alone_what_another_ring_has_sealed(tmp_path: Path) -> None:
    async def scenario(store: Store, sealer: Sealer) -> None:
        other = Sealer(tmp_path / "host.key")
        sealed = other.seal(Secret("sink"))
        id = store.clusters()[0].value.id
        await store.update_cluster(
            id, lambda one: replace(one, sinks=(replace(one.sinks[0], sealed_config=sealed),))
        )
        store.key_rotation.start(sealer, NOTE, [])
        assert (await finished(store)).state == "done"
        stored = store.cluster(id)
        assert stored is not None
        assert stored.value.sinks[0].sealed_config == sealed
        assert [use.records for use in await store.key_rotation.uses(other)] == [1]

    with_sealed_store(tmp_path, 1, scenario)


def test_a_rotation_is_refused_while_a_host_is_out_of_reach(tmp_path: Path) -> None:
    async def whole() -> None:
        async with private_etcd() as etcd, opened_store(etcd) as store:
            with pytest.raises(Busy, match="while these hosts are out of reach: h2"):
                store.key_rotation.start(Sealer(tmp_path / "key"), NOTE, ["h2"])
            assert len(Sealer(tmp_path / "key").keys) == 1

    asyncio.run(whole())


def test_a_rotation_that_was_cut_off_anywhere_leaves_all_readable_and_the_next_one_ends_it(
    tmp_path: Path,
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)

    async def scenario(store: Store, sealer: Sealer) -> None:
        before = opened(store, sealer)
        for _ in range(8):
            store.key_rotation.start(sealer, NOTE, [])
            async with asyncio.timeout(60):
                # Cut off at the n-th turn of the event loop from its start, wherever that is.
                for _ in range(chance.randrange(400)):
                    await asyncio.sleep(0)
            await store.key_rotation.close()
            sealer = Sealer(tmp_path / "sealing.key")  # as the next process would
            assert opened(store, sealer) == before
            assert len(sealer.keys) <= 2
        store.key_rotation.start(sealer, NOTE, [])
        assert (await finished(store)).state == "done"
        assert len(sealer.keys) == 1
        assert opened(store, Sealer(tmp_path / "sealing.key")) == before

    with_sealed_store(tmp_path, 10, scenario)
