# Made from _async/logs.py by tools/unasync.py; change that one.

"""The newest messages in the logs of a cluster's servers: an addition of Cenote's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import Resource

if TYPE_CHECKING:
    from typing import Unpack

    from .. import types as t


class Logs(Resource):
    """The operation of ``client.databases`` on logs."""

    def get_logs(
        self,
        database_cluster_uuid: str,
        *,
        source: t.LogSource | None = None,
        lines: int | None = None,
        after: str | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.LogsResponse:
        """Return the newest messages of a cluster's PostgreSQL or PgBouncer, as ``{"logs": {…}}``.

        At most ``lines`` of them (100, up to 1,000), the oldest first.  With ``after``, the ``next`` of an
        earlier answer, those that have come since.  Raises ForbiddenError for a token that may not see
        credentials, since statements of users may hold some; ServerError while the host is away.

        ``GET /v2/databases/{database_cluster_uuid}/logs``, scopes ``database:read`` and
        ``database:view_credentials``.
        """
        return self._call(
            op.GET_LOGS,
            (database_cluster_uuid,),
            kwargs,
            query={"source": source, "lines": lines, "after": after},
        )
