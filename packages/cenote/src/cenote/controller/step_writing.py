"""Writes the next step of a cluster, such as of a switch, if its record is still the one that it rests on."""

from __future__ import annotations

import logging

from cenote.controller.election import Election
from cenote.model.event_records import Note
from cenote.model.records import Cluster
from cenote.store import Store

log = logging.getLogger(__name__)


async def write(
    store: Store, election: Election, before: Cluster, after: Cluster, reason: str, event: Note | None
) -> None:
    """Write the record ``after``, unless it has changed since ``before`` or another process is elected."""
    log.info("cluster %s: %s", before.name, reason)
    await store.update_cluster(
        before.id, lambda current: after if current == before else current, event, election.condition()
    )
