"""Restore drills of a cluster: one that is made now, and what the last one has found."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod

import msgspec
from msgspec.structs import replace

from cenote.api.auth import UPDATE
from cenote.api.call import Call
from cenote.api.operation import answer, operation
from cenote.api.service import Service
from cenote.errors import Busy, Invalid
from cenote.http.routing import Response
from cenote.model.backups import BackupReport, Drill
from cenote.model.records import Cluster
from cenote.model.topology import writer_or_first
from cenote.rules import drills, replicas

PATH = "/v2/databases/{database_cluster_uuid}/backups/drills"
KEEPS_NONE = (
    "keeping backups is not supported by this service: it was started with --backups none, or --ephemeral."
)


class DrillView(msgspec.Struct):
    """The last restore drill that came to a result.

    ``failure`` says what was wrong with the backup, "" if nothing was; ``check`` names what has found it.
    """

    label: str
    started_at: datetime
    ended_at: datetime
    seconds: float
    check: str
    failure: str


class DrillAskedView(msgspec.Struct):
    """A restore drill that was asked for; it is made when those of other clusters on the host are."""

    asked_at: datetime


class DrillAskedAnswer(msgspec.Struct):
    drill: DrillAskedView


@operation(
    HTTPMethod.POST,
    PATH,
    scope=UPDATE,
    status=202,
    answer=DrillAskedAnswer,
    also=(412, 422),
    of_replica=replicas.AT_SOURCE,
)
async def create_drill(request: Call) -> Response:
    """Restore the newest backup of a cluster aside now, with the WAL after it, check it, and remove it.

    The list of backups has what it finds.  One that was asked for and not begun yet stands for it.  412
    before the first backup.
    """
    service, cluster = request.service, request.cluster().value
    host = service.store.hosts_by_id().get(writer_or_first(cluster).host)
    if host is None or not host.repository:
        raise Invalid(KEEPS_NONE)
    report = _report(service, cluster)
    if not report.backups:
        raise Busy("This cluster has no backup yet that a drill could restore.")
    now = datetime.now(UTC)
    earlier = drills.asked_at(cluster)
    has_failed = report.undrilled_at is not None and earlier is not None and report.undrilled_at >= earlier
    if earlier is not None and drills.is_asked(cluster, report) and not (has_failed or report.drilling):
        return answer(DrillAskedAnswer(DrillAskedView(earlier)), 202)

    def asked(current: Cluster) -> Cluster:
        if current.backups is None:
            raise Busy("The backups of this cluster are being set up; try again in a few seconds.")
        return replace(current, backups=replace(current.backups, drill_asked_at=now))

    await service.store.update_cluster(cluster.id, asked, request.note())
    return answer(DrillAskedAnswer(DrillAskedView(now)), 202)


def view(drill: Drill | None) -> DrillView | None:
    if drill is None:
        return None
    return DrillView(
        label=drill.label,
        started_at=drill.started_at,
        ended_at=drill.ended_at,
        seconds=round(drill.seconds, 1),
        check=drill.check,
        failure=drill.failure,
    )


def _report(service: Service, cluster: Cluster) -> BackupReport:
    seen = service.report(cluster)
    return (None if seen is None else seen.backups) or BackupReport()


ROUTES = (create_drill,)
