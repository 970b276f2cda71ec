"""What the trash knows of what is in it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec


class TrashNote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was moved to the trash, when and why; with ``node`` empty all that a host had of a cluster.

    ``name`` is the cluster's, empty if nobody knew it.  What was deleted at ``deleted_at`` can be undeleted
    ``until`` then; the rest has neither.
    """

    cluster: UUID
    name: str = ""
    node: str = ""
    why: str
    at: datetime
    deleted_at: datetime | None = None
    until: datetime | None = None
