"""Asking Patroni, by the store, to have another node of a cluster take writes.

Patroni looks at what was asked in its next round, up to a second later.  A change of the configuration that
all nodes follow has it look at once, so the end of that text changes with each request; it is JSON, in which
a blank at the end means nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from uuid import UUID

from cenote.model.failover import synchronous_standbys
from cenote.store import etcd_messages
from cenote.store.client import EtcdClient
from cenote.store.etcd_messages import Condition, EtcdOperation, TransactionRequest
from cenote.store.keys import Keys

_BLANK = b" "
_DROPPED = b"{}"  # what Patroni writes in place of a request


class FailoverRequests:
    """``store.failover_requests``."""

    def __init__(self, client: EtcdClient, keys: Keys) -> None:
        self._client, self._keys = client, keys

    async def takes(self, cluster_id: UUID, target: str) -> bool:
        """Return whether Patroni takes a node for one that lacks nothing; it lags behind the servers."""
        found = await self._client.read(f"{self._keys.failover_of(cluster_id)}sync")
        return target in synchronous_standbys(None if found is None else found.value)

    async def is_refused(self, cluster_id: UUID, source: str) -> bool:
        """Return whether Patroni has dropped what it was asked for, and the node that led before still does.

        Of a request that is carried out the leader's key goes first; so it is read last.
        """
        folder = self._keys.failover_of(cluster_id)
        asked = await self._client.read(f"{folder}failover")
        if asked is not None and asked.value != _DROPPED:
            return False
        leader = await self._client.read(f"{folder}leader")
        return leader is not None and leader.value.decode(errors="replace") == source

    async def withdraw(self, cluster_id: UUID, *conditions: Condition) -> bool:
        """Take back what was asked for, so that no later failover follows it; return whether that is gone.

        While no node leads one may be taking over for it, so then it stays.  What an operator has asked for
        at a time of day is none of ours.
        """
        folder = self._keys.failover_of(cluster_id)
        asked, leader = await asyncio.gather(
            self._client.read(f"{folder}failover"), self._client.read(f"{folder}leader")
        )
        if asked is None or not _is_ours(asked.value):
            return True
        if leader is None:
            return False
        answer = await self._client.transact(
            TransactionRequest(
                [
                    etcd_messages.unchanged(f"{folder}leader", leader.mod_revision),
                    etcd_messages.unchanged(f"{folder}failover", asked.mod_revision),
                    *conditions,
                ],
                [etcd_messages.put(f"{folder}failover", _DROPPED)],
                [],
            )
        )
        return answer.succeeded

    async def ask(self, cluster_id: UUID, source: str, target: str, *conditions: Condition) -> bool:
        """Ask for a switch; return False, and ask nothing, if the source does not lead any more."""
        folder = self._keys.failover_of(cluster_id)
        leader, shared = await asyncio.gather(
            self._client.read(f"{folder}leader"), self._client.read(f"{folder}config")
        )
        if leader is None or shared is None or leader.value.decode(errors="replace") != source:
            return False
        wish = json.dumps({"leader": source, "member": target}, separators=(",", ":")).encode()
        text, blank = shared.value.removesuffix(_BLANK), not shared.value.endswith(_BLANK)
        answer = await self._client.transact(
            TransactionRequest(
                [
                    etcd_messages.unchanged(f"{folder}leader", leader.mod_revision),
                    etcd_messages.unchanged(f"{folder}config", shared.mod_revision),
                    *conditions,
                ],
                [
                    etcd_messages.put(f"{folder}failover", wish),
                    etcd_messages.put(f"{folder}config", text + _BLANK * blank),
                ],
                [],
            )
        )
        return answer.succeeded

    async def lead_without(
        self,
        cluster_id: UUID,
        lost: str,
        others: Sequence[str],
        *conditions: Condition,
        anew: bool = False,
    ) -> bool:
        """Have other nodes go on without a lost one, for which Patroni had paused, or ended, on all.

        It pauses no more.  If it knows nothing of who has all commits, one of ``others`` has them: whichever
        takes over has to ask the others, as after any failover.  ``anew``: what it knows is of data that are
        lost.  Return False, with nothing written, while a node leads.
        """
        folder = self._keys.failover_of(cluster_id)
        if_free = [etcd_messages.missing(f"{folder}leader"), *conditions]
        if anew and not await self._write(if_free, etcd_messages.delete_prefix(folder)):
            return False
        shared, known = await asyncio.gather(
            self._client.read(f"{folder}config"), self._client.read(f"{folder}sync")
        )
        operations: list[EtcdOperation] = []
        if shared is not None:
            if_free.append(etcd_messages.unchanged(f"{folder}config", shared.mod_revision))
            operations.append(etcd_messages.put(f"{folder}config", _without_pause(shared.value)))
        if known is None and others:
            state = {"leader": lost, "sync_standby": ",".join(others), "quorum": len(others) - 1}
            if_free.append(etcd_messages.missing(f"{folder}sync"))
            operations.append(etcd_messages.put(f"{folder}sync", json.dumps(state).encode()))
        return await self._write(if_free, *operations)

    async def _write(self, conditions: Sequence[Condition], *operations: EtcdOperation) -> bool:
        request = TransactionRequest(list(conditions), list(operations), [])
        return (await self._client.transact(request)).succeeded


def _without_pause(value: bytes) -> bytes:
    try:
        found = json.loads(value)
    except ValueError:
        return value
    if not isinstance(found, dict) or "pause" not in found:
        return value
    return json.dumps({name: one for name, one in found.items() if name != "pause"}).encode()


def _is_ours(value: bytes) -> bool:
    try:
        found = json.loads(value)
    except ValueError:
        return False
    return isinstance(found, dict) and found.keys() == {"leader", "member"}
