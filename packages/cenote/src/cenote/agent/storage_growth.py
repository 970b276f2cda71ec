"""Storage autoscaling: the only change that an agent makes to a cluster's record."""

from __future__ import annotations

import contextlib
import logging

from cenote.errors import NotFound
from cenote.model.records import Cluster, EventType, Note
from cenote.rules import storage
from cenote.rules.storage import DiskUse
from cenote.store.store import Store

log = logging.getLogger(__name__)


async def grow_storage(store: Store, cluster: Cluster, use: DiskUse) -> None:
    """Allocate more storage to a cluster with autoscaling if its use has reached the threshold."""
    if storage.autoscaled(cluster, use) is cluster:
        return
    note = Note(what="increased its storage (autoscaling)", type=EventType.CLUSTER_UPDATE)
    with contextlib.suppress(NotFound):  # deleted meanwhile
        stored = await store.update_cluster(
            cluster.id, lambda current: storage.autoscaled(current, use), note
        )
        log.info("cluster %s: storage increased to %d MiB", cluster.name, stored.value.storage_mib)
