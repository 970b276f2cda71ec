"""Forks: new clusters with the data of another one, as they are or were at a moment (``backup_restore``).

The other cluster goes on undisturbed.  The newest data are copied straight from its server where the host has
room for another cluster; all else comes from its backups.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import msgspec

from cenote.api import backups, drills, placement, schema_fields
from cenote.api.config import host_capabilities
from cenote.api.operation import Body
from cenote.api.placement import Refusals
from cenote.api.service import Service
from cenote.errors import Busy, Invalid, Unavailable
from cenote.model.backups import BackupReport
from cenote.model.fleet_records import Host
from cenote.model.records import Cluster, ClusterStatus, FirewallRule, Node, Restoration, User
from cenote.model.topology import Health
from cenote.rules import (
    backup_window,
    configuration,
    online_migrations,
    repository_identity,
    restorations,
    scheduling,
)
from cenote.rules.backup_window import Window
from cenote.rules.scheduling import Placement, Wanted
from cenote.security import credentials

SERVING = frozenset({Health.HEALTHY, Health.DEGRADED})


class BackupRestore(Body):
    """The cluster, by its name, whose data the new one is to have.

    ``backup_created_at`` is the moment: the time of one of its backups, or any other second that can be
    restored.  Without it, its newest data are taken.
    """

    database_name: schema_fields.ClusterName
    backup_created_at: schema_fields.BackupMoment | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of a fork: its record now, and as it was at the moment, None being now.

    ``version`` is the major version of PostgreSQL that the data are of.  ``host`` is the source's.
    ``is_live``: its server can be copied.  ``hosts`` are the ids of the hosts that can restore its backups.
    """

    source: Cluster
    record: Cluster
    target: datetime | None
    version: str
    host: Host
    is_live: bool
    hosts: frozenset[str]
    needed_mib: int

    @property
    def firewall(self) -> tuple[FirewallRule, ...]:
        """The trusted sources of that moment, as rules of another cluster."""
        return tuple(msgspec.structs.replace(rule, id=uuid4()) for rule in self.record.firewall)

    def storage_mib(self, requested: int | None, chosen: int) -> int:
        """Return the storage of the fork; ``chosen`` is what is requested, or the size's own.

        Without a request it is that of the source where the size's own is too small for the data.
        """
        if requested is None and chosen < self.needed_mib:
            chosen = max(chosen, self.source.storage_mib)
        restorations.check_storage(chosen, self.needed_mib)
        return chosen


async def origin_of(service: Service, wanted: BackupRestore, version: str | None) -> Origin:
    """Return the source of a fork; Invalid or Busy, in words, if it cannot be made."""
    text = (wanted.backup_created_at or "").strip()
    target = backup_window.moment(text) if text else None
    source = await _source(service, wanted.database_name)
    online_migrations.check_copy(source, target)
    host = service.store.hosts_by_id().get(service.store.shown_node(source).host)
    if host is None:
        raise Busy(f"The host of {source.name} was removed from the fleet.")
    status = service.report(source)
    report = (None if status is None else status.backups) or BackupReport()
    is_live = target is None and _is_live(service, source)
    if target is not None:
        backup_window.check(target, _window(service, source, host, report), source.name)
    elif not is_live:
        _window(service, source, host, report)
    used_mib = 0 if status is None else status.used_mib
    record = source if target is None else await _record_at(service, source, target)
    of_server = "" if status is None else status.data_version
    of_data = restorations.version(record, source, report, target, is_live=is_live, of_server=of_server)
    if version and version != of_data:
        when = "" if of_data == source.version else " at that moment"
        raise Invalid(f"version: a fork has the version of its source{when}, {of_data}.")
    return Origin(
        source=source,
        record=record,
        target=target,
        version=of_data,
        host=host,
        is_live=is_live,
        hosts=_restoring(service, host) if source.backups is not None and report.backups else frozenset(),
        needed_mib=restorations.needed_mib(report, used_mib, target),
    )


def choose(service: Service, wanted: Wanted, origin: Origin, refusals: Refusals) -> Placement:
    """Return the place of a fork: the source's own host, if it may be, since the data are nearest there."""
    silent = refusals.silent.keys()
    is_own = wanted.host in ("", origin.host.id, origin.host.name)
    if is_own and (origin.is_live or origin.host.id in origin.hosts):
        near = msgspec.structs.replace(wanted, host=origin.host.id)
        try:
            return _place(service, near, refusals, silent)
        except (Busy, Invalid, Unavailable):
            if wanted.host or not origin.hosts - {origin.host.id}:
                raise
    others = _without(service, origin)
    named = next((one for one in service.store.known_hosts() if wanted.host in (one.id, one.name)), None)
    if named is not None and named.id in others:
        raise Invalid(
            f"cenote.host: {named.name} does not have the backups of {origin.source.name}, which are in "
            f"{origin.host.repository}."
        )
    return _place(service, wanted, refusals, others | silent)


def nodes(
    service: Service, wanted: Wanted, origin: Origin, refusals: Refusals, count: int, *, distinct: bool
) -> tuple[Node, ...]:
    """Return the nodes of a fork: the data are made on the first one, and the others copy it."""
    chosen = choose(service, wanted, origin, refusals)
    [first] = placement.as_nodes((chosen,))
    if count == 1:
        return (first,)
    others = placement.standbys(service, first, count - 1, wanted, refusals, distinct=distinct)
    return (first, *others)


def _place(service: Service, wanted: Wanted, refusals: Refusals, without: Set[str]) -> Placement:
    every = placement.candidates(service, refusals.ports)
    return scheduling.choose(wanted, every, placement.limits(service), without)


def forked(service: Service, chosen: Cluster, origin: Origin, now: datetime) -> Cluster:
    """Return the record of a fork: with what it takes over, new passwords, and where its data come from.

    Invalid if its size is too small for the pools or the settings.
    """

    def new_user(name: str) -> User:
        return credentials.new_user(name, service.sealer)

    node = chosen.nodes[0]
    plan, is_copy = origin.source.backups, origin.is_live and node.host == origin.host.id
    # What is newest in the archive may be a minute old; a moment is waited for.
    newest = datetime.now(UTC) if origin.is_live and not is_copy else None
    restoration = Restoration(
        node=node.name,
        source=origin.source.id,
        asked_at=now,
        target=origin.target or newest,
        sealed_passphrase="" if plan is None else plan.sealed_passphrase,
        live=is_copy,
    )
    fork = restorations.fork(chosen, origin.record, new_user)
    configuration.check_fits(fork, host_capabilities(service, fork))
    return msgspec.structs.replace(fork, restoration=restoration)


async def _source(service: Service, name: str) -> Cluster:
    store = service.store
    stored = store.cluster_by_name(name)
    if stored is None and await store.confirm_name(name):
        stored = store.cluster_by_name(name)
    if stored is None:
        raise Invalid(_why_missing(service, name))
    if stored.value.replica_of is not None:
        raise Invalid(
            f"backup_restore.database_name: {name} is a read replica; fork its source, whose data it has."
        )
    if stored.value.restoration is not None:
        raise Busy(f"{name} is being restored itself; try again when it is online.")
    return stored.value


def _why_missing(service: Service, name: str) -> str:
    field = "backup_restore.database_name"
    for stored in service.store.clusters():
        cluster = stored.value
        is_kept = cluster.keep is not None and not cluster.keep.purged
        if cluster.name == name and cluster.deleted_at is not None and is_kept:
            return (
                f"{field}: the cluster {name} is deleted. Undelete it first "
                f"('cenote cluster undelete {cluster.id}'), then fork it."
            )
    return f"{field}: there is no cluster named {name[:80]!a}."


def _is_live(service: Service, source: Cluster) -> bool:
    """Return whether the server of a cluster can be copied now."""
    seen = service.topology(source)
    is_settled = source.move is None and seen.status is not ClusterStatus.CREATING
    return is_settled and seen.health in SERVING


def _window(service: Service, source: Cluster, host: Host, report: BackupReport) -> Window:
    if not host.repository:
        raise Invalid(f"backup_restore: {drills.KEEPS_NONE}")
    found = backups.window(service, source, report, datetime.now(UTC))
    if found is None or source.backups is None:
        raise Busy(backups.why_none(report))
    return found


async def _record_at(service: Service, source: Cluster, target: datetime) -> Cluster:
    past = await service.store.past_records(source.id)
    return restorations.record_at(past, source, target)


def _restoring(service: Service, host: Host) -> frozenset[str]:
    """Return the hosts that have the repository of a host, as far as is known.

    One on the disk of a host's data is that host's alone.
    """
    hosts = service.store.known_hosts()
    same = [one for one in hosts if one.repository and repository_identity.is_shared(host, one)]
    return frozenset({host.id, *(one.id for one in same)})


def _without(service: Service, origin: Origin) -> Set[str]:
    """Return the ids of the hosts that cannot restore the source's backups; Busy if none can."""
    if not origin.hosts:
        raise Busy(
            f"{origin.source.name} has no backups, so a fork of it can be made on its own host only, "
            f"{origin.host.name}."
        )
    return {host.id for host in service.store.known_hosts()} - origin.hosts
