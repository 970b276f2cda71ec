"""The logins with which Patroni reaches the store: one for each cluster that it runs, for its keys alone.

Only root of the store may make them, so this is done by processes that have that password.  A login is made
before the record has its password, so that no node tries one that is not there; it goes when no node needs
it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from uuid import UUID

from cenote.model.record import Secret
from cenote.model.records import Cluster
from cenote.model.status_records import NodeStatus
from cenote.rules import upgrades_of_nodes
from cenote.security.sealing import Sealer
from cenote.store import access
from cenote.store.client import EtcdClient
from cenote.store.keys import Keys
from cenote.store.tables import Stored

BYTES = 32


class FailoverLogins:
    """``root`` is a client of the store's root, ``sealer`` is of ring ``host``."""

    def __init__(self, root: EtcdClient, keys: Keys, sealer: Sealer) -> None:
        self._root, self._keys, self._sealer = root, keys, sealer

    async def close(self) -> None:
        await self._root.close()

    async def settle(self, stored: Stored[Cluster], reports: Mapping[str, NodeStatus]) -> str:
        """Make or remove the login; return the sealed password that the record is to have, "" for none."""
        cluster = stored.value
        if cluster.failover_login and upgrades_of_nodes.are_resting(cluster, reports):
            await self.forget(cluster.id)
            return ""
        if upgrades_of_nodes.needs_login(cluster):
            return cluster.failover_login or await self._make(cluster.id)
        # Of a cluster whose data come from backups, what Patroni knew of former nodes counts no more.
        if cluster.failover_login and (cluster.restoration is not None or _is_released(stored, reports)):
            await self.forget(cluster.id)
            return ""
        return cluster.failover_login

    async def forget(self, cluster_id: UUID) -> None:
        await access.forget_failover_user(self._root, self._keys, cluster_id)

    async def _make(self, cluster_id: UUID) -> str:
        password = Secret(secrets.token_urlsafe(BYTES))
        await access.ensure_failover_user(self._root, self._keys, cluster_id, password)
        return self._sealer.seal(password)


def _is_released(stored: Stored[Cluster], reports: Mapping[str, NodeStatus]) -> bool:
    """Return whether no Patroni works for a cluster any more: its only node has carried the record out."""
    cluster = stored.value
    if cluster.left or cluster.move is not None:
        return False
    return all(
        node.name in reports and reports[node.name].reached >= stored.revision for node in cluster.nodes
    )
