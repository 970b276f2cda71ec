"""How the move of a cluster is shown."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api.service import Service
from cenote.model.records import Cluster, MoveStage
from cenote.rules import move_progress
from cenote.rules.move_progress import Times

ITS_TURN = "its turn to be switched"  # one cluster after the other


class MoveView(msgspec.Struct, kw_only=True):
    """The move of a cluster between two hosts, which are named.

    ``stage`` is ``copying`` while the new host copies the data and follows, ``switching`` while clients are
    held for it to take over, ``leaving`` once it has and the former host leads clients on.  ``reason`` says
    what is waited for.  ``copied_mib`` of ``data_mib`` are on the new host, left out when that is not known.
    """

    from_: str = msgspec.field(name="from")
    to: str
    stage: MoveStage
    asked_at: datetime
    since: datetime
    reason: str
    copied_mib: int | UnsetType = UNSET
    data_mib: int | UnsetType = UNSET


def move_view(service: Service, cluster: Cluster) -> MoveView | UnsetType:
    """Return the move of a cluster, UNSET when it is not being moved."""
    stored, hosts = service.store.cluster(cluster.id), service.store.seen_hosts()
    revision = 0 if stored is None else stored.revision
    since = cluster.created_at if cluster.move is None else cluster.move.since or cluster.move.asked_at
    times = Times(waited=(hosts.now - since).total_seconds())
    look = move_progress.look_at(cluster, revision, service.store.reports(cluster.id), times)
    if look is None:
        return UNSET
    view = MoveView(
        from_=hosts.name(look.source.host),
        to=hosts.name(look.target.host),
        stage=look.move.stage,
        asked_at=look.move.asked_at,
        since=since,
        reason=move_progress.waits_for(look, hosts) or ITS_TURN,
    )
    if look.move.stage is MoveStage.COPYING and look.at_source is not None and look.at_target is not None:
        view.copied_mib, view.data_mib = look.at_target.copied_mib, look.at_source.used_mib
    return view
