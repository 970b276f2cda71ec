"""Online migration: another server's databases are copied into a cluster and follow until that is over.

The agent of the node that takes writes looks at the source first, and does the work; the record says what is
wanted, and the agent's report how far it is.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from http import HTTPMethod
from uuid import UUID, uuid4

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from cenote.api import schema_fields
from cenote.api.auth import DELETE, READ, UPDATE
from cenote.api.call import Call
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.service import Service
from cenote.errors import Invalid, NotFound
from cenote.http.routing import Response
from cenote.model import topology
from cenote.model.event_records import EventType
from cenote.model.migrations import (
    Method,
    MigrationSource,
    MigrationStatus,
    OnlineMigration,
    Step,
    Wish,
)
from cenote.model.record import Secret
from cenote.model.records import Cluster
from cenote.rules import online_migrations, record_formats, replicas
from cenote.stats.observer import MigrationQuestion

PATH = "/v2/databases/{database_cluster_uuid}/online-migration"
ONE = PATH + "/{migration_id}"


class Source(Body):
    """The server to copy from; ``dbname`` is the database to ask first, all others follow."""

    host: schema_fields.SourceHost
    port: schema_fields.SourcePort
    username: schema_fields.SourceUser
    password: str
    dbname: schema_fields.SourceDatabase = "postgres"


class MigrationWish(Body):
    """An extension of Cenote.

    ``replica_identity_full``: tables without a key get REPLICA IDENTITY FULL on the source until the end, so
    that their changes follow; without it they are copied at the end.
    """

    replica_identity_full: bool = False


class StartMigration(Body):
    """With ``disable_ssl`` the connection to the source is not encrypted; ``ignore_dbs`` are not copied."""

    source: Source
    disable_ssl: bool = False
    ignore_dbs: schema_fields.IgnoredDatabases | None = None
    cenote: MigrationWish = msgspec.field(default_factory=MigrationWish)


class DatabaseView(msgspec.Struct):
    """How far a database is.

    ``bytes`` is its size on the source, ``bytes_copied`` here.  ``lag_bytes`` of changes on the source are
    not here yet, and for ``lag_seconds`` it has not had all that the source has; null if unknown.
    """

    name: str
    step: Step
    tables: int
    tables_copied: int
    bytes: int
    bytes_copied: int
    lag_bytes: int | None
    lag_seconds: float | None


class SourceView(msgspec.Struct):
    host: str
    port: int
    dbname: str
    username: str
    ssl: bool


class MigrationDetails(msgspec.Struct):
    """An extension of Cenote.

    ``method`` is ``logical``, or ``dump`` for a source that cannot replicate: its rows are copied once.
    ``reason`` says what is waited for or what failed, ``warnings`` what does not come along or comes another
    way.  ``lag_bytes`` is the largest of the databases'.  ``ending``: ``finish``, ``stop`` or ``cancel`` once
    that was asked for, else empty.
    """

    source: SourceView
    method: Method
    ignore_dbs: list[str]
    replica_identity_full: bool
    ending: Wish
    reason: str
    warnings: list[str]
    databases: list[DatabaseView]
    lag_bytes: int | None


class MigrationView(msgspec.Struct):
    id: UUID
    status: MigrationStatus
    created_at: datetime
    cenote: MigrationDetails | UnsetType = UNSET


@operation(
    HTTPMethod.PUT,
    PATH,
    scope=UPDATE,
    body=StartMigration,
    answer=MigrationView,
    also=(409, 412, 422, 503),
    of_replica=replicas.AT_SOURCE,
)
async def start_migration(request: Call) -> Response:
    """Copy the databases of another PostgreSQL server into a cluster, and let them follow until that is over.

    What is in the way is found first, and named.  The databases that are copied are closed to customers until
    the migration is done.  Asked for again from the same source, one that is under way goes on.
    """
    body = await request.decoded(StartMigration)
    service, cluster = request.service, request.cluster().value
    given = body.source
    online_migrations.check_source(given.host, given.port, given.dbname, given.username, given.password)
    online_migrations.check_ignored(body.ignore_dbs or ())
    source = MigrationSource(
        host=given.host,
        port=given.port,
        dbname=given.dbname,
        username=given.username,
        sealed_password=service.rings.host.seal(Secret(given.password)),
        tls=not body.disable_ssl,
    )
    ignored, identity = tuple(dict.fromkeys(body.ignore_dbs or ())), body.cenote.replica_identity_full
    if online_migrations.is_repeated(cluster, source, ignored, full_identity=identity) and _has_password(
        service, cluster, given.password
    ):
        return answer(_view(service, cluster))
    _check(service, cluster)
    question = MigrationQuestion(source=source, ignored=ignored, full_identity=identity)
    found = await service.observer.migration_check(
        cluster.id, topology.writer_or_first(cluster, service.store.leader(cluster)).name, question
    )
    online_migrations.refuse(found.problems)
    migration = OnlineMigration(
        id=uuid4(),
        source=source,
        asked_at=datetime.now(UTC).replace(microsecond=0),
        method=found.method,
        databases=tuple(found.databases),
        ignored=ignored,
        full_identity=identity,
        warnings=tuple(found.warnings),
    )

    def started(current: Cluster) -> Cluster:
        _check(service, current)
        return replace(current, online_migration=migration)

    note = request.note(EventType.CLUSTER_UPDATE)
    stored = await service.store.update_cluster(cluster.id, started, note)
    return answer(_view(service, stored.value))


@operation(HTTPMethod.GET, PATH, scope=READ, answer=MigrationView)
async def get_migration(request: Call) -> Response:
    """Get the last online migration into a cluster: how far it is, or how it has ended."""
    return answer(_view(request.service, request.cluster().value))


@operation(HTTPMethod.DELETE, ONE, scope=DELETE, status=204, query=("discard",))
async def stop_migration(request: Call) -> Response:
    """Stop an online migration; nothing of it stays on the source.

    Once it is syncing, the cluster keeps what it has received.  Before, and with ``discard=true``, what was
    copied is removed.
    """
    discard = request.query_params.get("discard", "false")
    if discard not in ("true", "false"):
        raise Invalid("discard: must be true or false.")
    await _wish(request, Wish.CANCEL if discard == "true" else Wish.STOP)
    return no_content()


@operation(HTTPMethod.POST, ONE + "/finish", scope=UPDATE, status=202, answer=MigrationView, also=(412, 422))
async def finish_migration(request: Call) -> Response:
    """Finish an online migration that is syncing, once the cluster has all that the source has now.

    Nothing may write to the source any more.  Then the rest is copied, such as sequences and large objects,
    and the databases are opened.
    """
    return answer(_view(request.service, await _wish(request, Wish.FINISH)), 202)


def _has_password(service: Service, cluster: Cluster, password: str) -> bool:
    """Return whether the migration of a cluster logs in with a password."""
    assert cluster.online_migration is not None
    known = service.rings.host.open(cluster.online_migration.source.sealed_password)
    return hmac.compare_digest(known.reveal().encode(), password.encode())


async def _wish(request: Call, wish: Wish) -> Cluster:
    service, cluster = request.service, request.cluster().value
    id = request.path_params["migration_id"]
    now = datetime.now(UTC).replace(microsecond=0)

    def wished(current: Cluster) -> Cluster:
        return online_migrations.wished(current, id, wish, service.report(current), now)

    if wished(cluster) is cluster:
        return cluster
    note = request.note(EventType.CLUSTER_UPDATE)
    return (await service.store.update_cluster(cluster.id, wished, note)).value


def _check(service: Service, cluster: Cluster) -> None:
    record_formats.check_readers(service.store.known_hosts(), record_formats.WITH_MIGRATIONS)
    # A promoted one would take the changes from the source that the cluster waits for.
    replicas.check_not_followed(cluster, [stored.value for stored in service.store.replicas(cluster.id)])
    online_migrations.check(cluster, service.report(cluster), service.status(cluster))


def _view(service: Service, cluster: Cluster) -> MigrationView:
    migration = cluster.online_migration
    if migration is None:
        raise NotFound
    report, source = online_migrations.report(migration, service.report(cluster)), migration.source
    databases = [
        DatabaseView(
            name=one.name,
            step=one.step,
            tables=one.tables,
            tables_copied=one.copied,
            bytes=one.bytes,
            bytes_copied=one.copied_bytes,
            lag_bytes=one.lag_bytes,
            lag_seconds=one.lag_seconds,
        )
        for one in report.databases
    ]
    lags = [one.lag_bytes for one in report.databases if one.lag_bytes is not None]
    return MigrationView(
        id=migration.id,
        status=report.status,
        created_at=migration.asked_at,
        cenote=MigrationDetails(
            source=SourceView(source.host, source.port, source.dbname, source.username, source.tls),
            method=migration.method,
            ignore_dbs=list(migration.ignored),
            replica_identity_full=migration.full_identity,
            ending=migration.wish,
            reason=report.reason,
            warnings=[*migration.warnings, *report.warnings],
            databases=databases,
            lag_bytes=max(lags, default=None),
        ),
    )


ROUTES = (start_migration, get_migration, stop_migration, finish_migration)
