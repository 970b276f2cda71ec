"""Growing the storage of a cluster that asks for it: the one desired state that an agent changes."""

from __future__ import annotations

import contextlib
import logging

from cenote.errors import NotFound
from cenote.model.records import Cluster, EventType, Note
from cenote.rules import storage
from cenote.rules.storage import Use
from cenote.store.store import Store

log = logging.getLogger(__name__)


async def grow_storage(store: Store, cluster: Cluster, use: Use) -> None:
    """Give a cluster with autoscaling the storage that it needs."""
    if storage.grown(cluster, use) is cluster:
        return
    note = Note(what="gave it more storage, as it asks for", type=EventType.CLUSTER_UPDATE)
    with contextlib.suppress(NotFound):  # it was deleted meanwhile
        stored = await store.update_cluster(cluster.id, lambda current: storage.grown(current, use), note)
        log.info("cluster %s: its storage has grown to %d MiB", cluster.name, stored.value.storage_mib)
