# Generated from _async/logs.py by tools/unasync.py; edit that file.

"""Server logs of a cluster: reading them, and forwarding them to log sinks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import Resource

if TYPE_CHECKING:
    from typing import Unpack

    from .. import types as t


class Logs(Resource):
    """The methods of ``client.databases`` for logs."""

    def get_logs(
        self,
        database_cluster_uuid: str,
        *,
        source: t.LogSource | None = None,
        lines: int | None = None,
        after: str | None = None,
        search: str | None = None,
        severity: t.LogSeverity | None = None,
        node: str | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.LogsResponse:
        """Return the newest log messages of PostgreSQL or PgBouncer, oldest first, as ``{"logs": {…}}``.

        ``lines`` limits their number (100, at most 1,000).  ``after``, the ``next`` of an earlier response,
        selects newer ones.  ``search`` selects those with this text, in any case, and ``severity`` those
        that are at least so bad, in the last 8 MiB of the log.  ``node`` is the name of another node than the
        one that takes writes.  Cenote only.  Raises ForbiddenError without the second scope, which is needed
        because logged statements may contain passwords; ServerError while the host is down.

        ``GET /v2/databases/{database_cluster_uuid}/logs``, scopes ``database:read`` and
        ``database:view_credentials``.
        """
        return self._call(
            op.GET_LOGS,
            (database_cluster_uuid,),
            kwargs,
            query={
                "source": source,
                "lines": lines,
                "after": after,
                "search": search,
                "severity": severity,
                "node": node,
            },
        )

    def list_logsink(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.LogsinkListResponse:
        """Return the log sinks of a cluster as ``{"sinks": [{…}]}``.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/logsink``, scope ``database:read``.
        """
        return self._call(op.LIST_LOGSINK, (database_cluster_uuid,), kwargs)

    def create_logsink(
        self, database_cluster_uuid: str, body: t.LogsinkCreate, **kwargs: Unpack[t.Call]
    ) -> t.LogsinkResponse:
        """Forward the logs of a cluster to a log sink, and return the sink as ``{"sink": {…}}``.

        Raises InvalidError for an unknown type or an invalid configuration.

        ``POST /v2/databases/{database_cluster_uuid}/logsink``, scope ``database:create``.
        """
        return self._call(op.CREATE_LOGSINK, (database_cluster_uuid,), kwargs, body)

    def get_logsink(self, database_cluster_uuid: str, logsink_id: str, **kwargs: Unpack[t.Call]) -> t.Logsink:
        """Return a log sink, unwrapped: ``{"sink_id": …, "sink_name": …, "sink_type": …, "config": {…}}``.

        Raises NotFoundError if the cluster or the sink does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/logsink/{logsink_id}``, scope ``database:read``.
        """
        return self._call(op.GET_LOGSINK, (database_cluster_uuid, logsink_id), kwargs)

    def update_logsink(
        self, database_cluster_uuid: str, logsink_id: str, body: t.LogsinkUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Replace the configuration of a log sink.

        Raises InvalidError for an invalid configuration.

        ``PUT /v2/databases/{database_cluster_uuid}/logsink/{logsink_id}``, scope ``database:update``.
        """
        return self._call(op.UPDATE_LOGSINK, (database_cluster_uuid, logsink_id), kwargs, body)

    def delete_logsink(self, database_cluster_uuid: str, logsink_id: str, **kwargs: Unpack[t.Call]) -> None:
        """Delete a log sink; forwarding to it stops.

        Raises NotFoundError if the cluster or the sink does not exist.

        ``DELETE /v2/databases/{database_cluster_uuid}/logsink/{logsink_id}``, scope ``database:delete``.
        """
        return self._call(op.DELETE_LOGSINK, (database_cluster_uuid, logsink_id), kwargs)
