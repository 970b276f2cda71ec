"""Events of a cluster."""

from __future__ import annotations

from typing import Literal, TypedDict

from .cenote import EventDetails


class Event(TypedDict):
    """An event of a cluster."""

    id: str
    cluster_name: str
    event_type: Literal[
        "cluster_maintenance_perform",
        "cluster_master_promotion",
        "cluster_create",
        "cluster_update",
        "cluster_delete",
        "cluster_poweron",
        "cluster_poweroff",
    ]
    create_time: str
    cenote: EventDetails


class EventListResponse(TypedDict):
    events: list[Event]
