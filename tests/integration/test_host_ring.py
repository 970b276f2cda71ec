"""The agent's key ring, as the API changes it over the agent's socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cenote.agent.host_ring import MAX_KEYS, HostRing
from cenote.agent.observer_endpoint import Answering, ObserverEndpoint
from cenote.errors import Unavailable
from cenote.model.record import Secret
from cenote.security import sealing_keys
from cenote.security.sealing import Sealer
from cenote.stats.observer import NO_OBSERVER
from cenote.stats.remote_observer import RemoteObserver

Scenario = Callable[[RemoteObserver], Awaitable[None]]


def serve(folder: Path, ring: HostRing | None, scenario: Scenario) -> None:
    async def whole() -> None:
        path = folder / "agent" / "agent.sock"
        serving = asyncio.create_task(ObserverEndpoint(Answering(NO_OBSERVER, ring), path).run())
        remote = RemoteObserver(path)
        try:
            await scenario(remote)
        finally:
            await remote.close()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(whole())


def test_a_new_key_opens_and_is_on_disk_when_it_is_acknowledged(tmp_path: Path) -> None:
    ring, api = HostRing(Sealer(tmp_path / "host.key")), Sealer(tmp_path / "host.key")

    async def scenario(remote: RemoteObserver) -> None:
        key = sealing_keys.new_key(api.keys)
        for _ in range(2):
            await remote.add_host_key(key.line)
            assert ring.changed.is_set()
            assert ring.ids == (api.keys[0].id, key.id)
            assert Sealer(tmp_path / "host.key").keys == ring.sealer.keys
        sealed = api.seal(Secret("before"))
        await remote.keep_host_keys([key.id])
        assert ring.ids == (key.id,)
        assert Sealer(tmp_path / "host.key").keys == (key,)
        assert ring.sealer.open(sealed) == Secret("before")  # until the process ends

    serve(tmp_path, ring, scenario)


@pytest.mark.parametrize(
    "line", ["", "x", "ab", "\x00" * 40, "é" * 64, f"{'ab' * 32} yesterday", "ab" * 2048]
)
def test_what_is_no_key_is_refused_and_changes_nothing(tmp_path: Path, line: str) -> None:
    ring = HostRing(Sealer(tmp_path / "host.key"))
    before = (tmp_path / "host.key").read_bytes()

    async def scenario(remote: RemoteObserver) -> None:
        with pytest.raises(Unavailable) as refusal:
            await remote.add_host_key(line)
        assert line == "" or line not in str(refusal.value)

    serve(tmp_path, ring, scenario)
    assert (tmp_path / "host.key").read_bytes() == before


def test_the_newest_key_stays_and_there_is_a_limit(tmp_path: Path) -> None:
    ring = HostRing(Sealer(tmp_path / "host.key"))

    async def scenario(remote: RemoteObserver) -> None:
        [first] = ring.ids
        for ids in ([], ["nobody's"]):
            with pytest.raises(Unavailable, match="newest"):
                await remote.keep_host_keys(ids)
        keys = [sealing_keys.new_key() for _ in range(MAX_KEYS)]
        for key in keys[:-1]:
            await remote.add_host_key(key.line)
        with pytest.raises(Unavailable, match="too many"):
            await remote.add_host_key(keys[-1].line)
        assert {first} < set(ring.ids)

    serve(tmp_path, ring, scenario)


def test_an_agent_without_a_ring_says_so(tmp_path: Path) -> None:
    async def scenario(remote: RemoteObserver) -> None:
        with pytest.raises(Unavailable, match="no key ring"):
            await remote.add_host_key(sealing_keys.new_key().line)
        with pytest.raises(Unavailable, match="no key ring"):
            await remote.keep_host_keys(["x"])

    serve(tmp_path, None, scenario)
