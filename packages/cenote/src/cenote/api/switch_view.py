"""How far a planned switch is, as clients see it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from cenote.model.records import Cluster, SwitchStage
from cenote.rules import switch_progress

if TYPE_CHECKING:
    from cenote.api.service import Service


class SwitchView(msgspec.Struct, kw_only=True):
    """A switch from one node to another; with both the same, the primary is restarted behind held pools.

    ``preparing``: nobody is held.  ``holding``: clients of the pools are held as soon as none is in a
    transaction.  ``switching``: the other node takes over.  ``reason`` says what is waited for.  ``cut``:
    clients whose transactions do not end are disconnected.
    """

    from_: str = msgspec.field(name="from")
    to: str
    stage: SwitchStage
    asked_at: datetime
    until: datetime
    tries: int
    reason: str
    cut: bool


def switch_view(service: Service, cluster: Cluster) -> SwitchView | UnsetType:
    """Return the switch of a cluster, UNSET without one."""
    switch = cluster.switchover
    if switch is None:
        return UNSET
    store = service.store
    reason = switch_progress.waits_for(
        cluster, store.leader(cluster), store.reports(cluster.id), store.presences().keys()
    )
    return SwitchView(
        from_=switch.source,
        to=switch.target,
        stage=switch.stage,
        asked_at=switch.asked_at,
        until=switch.until,
        tries=switch.tries,
        reason=reason,
        cut=switch.cut,
    )
