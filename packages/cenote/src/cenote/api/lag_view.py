"""How far a read replica is behind its source."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api.service import Service
from cenote.model.records import Cluster
from cenote.model.topology import Health


class LagView(msgspec.Struct):
    """How far a read replica is behind its source: ``bytes`` that its source has written and it has not
    replayed yet, and how long ago, in ``seconds``, the last one that it has was written.
    """

    bytes: int
    seconds: float


def lag_view(service: Service, replica: Cluster) -> LagView | UnsetType:
    """Return how far a replica is behind; UNSET while that is not known: it does not receive, or is away."""
    seen, now = service.report(replica), service.topology(replica)
    if seen is None or seen.standby is None or now.health in (Health.UNKNOWN, Health.DOWN):
        return UNSET
    standby = seen.standby
    return UNSET if standby.seconds is None else LagView(standby.behind, round(standby.seconds, 3))
