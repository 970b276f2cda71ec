# Generated from _async/events.py by tools/unasync.py; edit that file.

"""Events of a cluster: what was done to it, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from .. import types as t


class Events(Resource):
    """The methods of ``client.databases`` for events."""

    def list_events_logs(
        self,
        database_cluster_uuid: str,
        *,
        page: int | None = None,
        per_page: int | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.EventListResponse:
        """Return the events of a cluster, newest first, as ``{"events": [{…}]}``.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/events``, scope ``database:read``.
        """
        return self._call(
            op.LIST_EVENTS_LOGS, (database_cluster_uuid,), kwargs, query={"page": page, "per_page": per_page}
        )

    def iter_events(
        self, database_cluster_uuid: str, *, per_page: int = 200, **kwargs: Unpack[t.Call]
    ) -> Iterator[t.Event]:
        """Iterate over all events of a cluster; each page is requested when it is needed.

        Iterating raises the errors of ``list_events_logs``.
        """
        return self._iterate(op.LIST_EVENTS_LOGS, (database_cluster_uuid,), kwargs, "events", per_page)
