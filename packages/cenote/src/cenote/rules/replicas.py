"""Read replicas: clusters that follow another one, their source.  Pure.

A replica is a cluster's record of its own, with its own node, pools, trusted sources and settings.  What its
server gets with its source's data, users and databases, is in the source's record alone, and is read there.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from datetime import datetime
from uuid import uuid4

from msgspec.structs import replace

from cenote.errors import Busy, Invalid
from cenote.model import catalog
from cenote.model.catalog import Size
from cenote.model.records import Cluster, ClusterStatus, UpgradeStep
from cenote.model.status_records import NodeStatus
from cenote.rules import lineages, online_migrations

MOST = 10  # replicas of a cluster; each takes a sender and a slot of its server

AT_SOURCE = "this is done with its source, {name}, whose id is {id}"
NOT_MOVED = "it is not moved to another host; add another one there, and delete this one then"


def refusal(replica: Cluster, source: Cluster | None, why: str) -> str:
    """Return why something cannot be done with a replica, for one of the reasons above."""
    name = "which is gone" if source is None else source.name
    return f"{replica.name} is a read replica: {why.format(name=name, id=replica.replica_of)}."


def as_used(replica: Cluster, source: Cluster) -> Cluster:
    """Return a replica's record with what it has of its source.

    Its storage is never less than its source's, which may grow by itself.
    """
    return replace(
        replica,
        users=source.users,
        databases=source.databases,
        storage_mib=max(replica.storage_mib, source.storage_mib),
    )


def as_written(cluster: Cluster) -> Cluster:
    """Return a record as it is stored: a replica's without what it has of its source."""
    if cluster.replica_of is None or not (cluster.users or cluster.databases):
        return cluster
    return replace(cluster, users=(), databases=())


def slot(replica: Cluster) -> str:
    """Return the name of the replication slot that the source's server has for a replica.

    That of each copy is another one: once a slot has lost WAL that it should have kept, nothing can go on
    from it.
    """
    return f"cenote_{replica.id.hex}_{replica.copies}"


def check_source(source: Cluster, status: ClusterStatus, replicas: Sequence[Cluster], name: str) -> None:
    """Raise Invalid for a cluster that cannot have one more replica of this name, Busy if it cannot now."""
    if source.replica_of is not None:
        raise Invalid("A read replica has no replicas of its own; add them to its source.")
    if any(one.name == name for one in replicas):
        raise Invalid("replica name is not available")
    if len(replicas) >= MOST:
        raise Invalid(f"A cluster has at most {MOST} read replicas, and {source.name} has as many.")
    if status is not ClusterStatus.ONLINE:
        raise Busy(
            f"A read replica copies a cluster that is online; {source.name} is {status}. Try again then."
        )
    doing = {
        "is being moved to another host": source.move,
        "is being upgraded to another major version": source.major_upgrade,
        "has an online migration into it": online_migrations.active(source),
    }
    for words, found in doing.items():
        if found is not None:
            raise Busy(f"{source.name} {words}; add the replica when that is done.")


def check_none_promoted(replicas: Collection[Cluster]) -> None:
    """Raise Busy while a replica is about to be a cluster of its own, with the version that its data have."""
    names = ", ".join(one.name for one in replicas if one.promote_asked_at is not None)
    if names:
        raise Busy(f"Its read replica {names} is being promoted; try again when that is over.")


def recovered_at(source: Cluster) -> datetime | None:
    """Return when a cluster last went on from backups; a replica from before may have more than it."""
    if source.backups is None or not source.backups.lineage:
        return None
    return lineages.made_at(source.backups.lineage)


def check_none_has_more(source: Cluster, apart: Collection[str]) -> None:
    """Raise Busy while replicas may have what their source has lost: after its upgrade they are copied anew.

    ``apart`` are the names of those that are not known to follow it.
    """
    if apart and recovered_at(source) is not None:
        names = ", ".join(apart)
        raise Busy(
            f"Its read replica {names} does not follow it, and may have what {source.name} has lost in its "
            "recovery from backups. Promote the replica to keep what it has, or delete it; or wait until it "
            "follows."
        )


def check_not_upgraded(replica: Cluster, source: Cluster | None) -> None:
    """Raise Busy for a replica that is to be copied anew, since its source is being upgraded, or was."""
    if source is None or replica.replica_of is None:
        return
    if source.major_upgrade is not None or _is_outdated(replica, source):
        raise Busy(
            f"Its source {source.name} is being upgraded to PostgreSQL {source.version}, and {replica.name} "
            "is made anew after that. Wait until that is over."
        )


def check_size(source: Cluster, size: Size, storage_mib: int) -> None:
    """Raise Invalid if a replica of this size would be smaller than its source."""
    least = catalog.SIZES[source.size]
    if size.memory_mib < least.memory_mib or size.vcpus < least.vcpus:
        raise Invalid(
            f"size: a read replica is at least as large as its source {source.name}, which has "
            f"{source.size}; {size.slug} is smaller."
        )
    if storage_mib < source.storage_mib:
        raise Invalid(
            f"storage_size_mib: {storage_mib} is less than the {source.storage_mib} of {source.name}, all of "
            "whose data a read replica has."
        )


def storage_mib(source: Cluster, default: int) -> int:
    """Return the storage of a new replica without a wish for it: its size's own, or its source's."""
    return max(default, source.storage_mib)


def check_growth(source: Cluster, size: Size, storage_mib: int, replicas: Collection[Cluster]) -> None:
    """Raise Invalid if a cluster would be larger than one of its replicas."""
    grown = replace(source, size=size.slug, storage_mib=storage_mib)
    for one in replicas:
        try:
            check_size(grown, catalog.SIZES[one.size], one.storage_mib)
        except Invalid:
            raise Invalid(
                f"Resize its read replica {one.name} first: it has {one.size} with {one.storage_mib} MiB of "
                f"storage, and a replica is never smaller than its source. Its id is {one.id}."
            ) from None


def check_not_followed(cluster: Cluster, replicas: Collection[Cluster]) -> None:
    """Raise Invalid for a cluster with replicas, for what these could not follow."""
    if replicas:
        names = ", ".join(one.name for one in replicas)
        raise Invalid(
            f"{cluster.name} has read replicas, which could not follow it: {names}. Delete or promote them "
            "first; they can be added again then."
        )


def check_none(cluster: Cluster, replicas: Collection[Cluster]) -> None:
    """Raise Invalid for a cluster that others follow, since these would be left without a source.

    Busy if all of them are to be clusters of their own soon.
    """
    staying = [one.name for one in replicas if one.promote_asked_at is None]
    if staying:
        raise Invalid(
            f"{cluster.name} has read replicas: {', '.join(staying)}. Delete or promote them first."
        )
    if replicas:
        names = ", ".join(one.name for one in replicas)
        raise Busy(f"Its read replica {names} is being promoted, from its data; try again in a moment.")


def inherited(source: Cluster, replica: Cluster) -> Cluster:
    """Return the record of a new replica with what it takes over and then has as its own."""
    return replace(
        replica,
        version=source.version,
        project_id=source.project_id,
        authority=source.authority,
        configuration=source.configuration,
        firewall=tuple(replace(rule, id=uuid4()) for rule in source.firewall),
        maintenance_window=source.maintenance_window,
        replica_of=source.id,
        users=(),
        databases=(),
    )


def asked_to_promote(replica: Cluster, now: datetime) -> Cluster:
    """Return a replica that is to be a cluster of its own; the same object if that was asked before."""
    return replica if replica.promote_asked_at is not None else replace(replica, promote_asked_at=now)


def is_whole(replica: Cluster, seen: NodeStatus | None) -> bool:
    """Return whether a replica has all that a cluster of its own needs, by its node's last report.

    One that has worked before may be promoted while its source is away: that is what it may be there for.
    """
    if seen is None or seen.standby is None or seen.copy != replica.copies:
        return False
    return seen.standby.streaming or seen.reached > 0


def without_gap(replica: Cluster, seen: NodeStatus | None) -> Cluster:
    """Return a replica that is to copy its source's data again if that has not the WAL for it any more.

    The same object if it can go on, or is about to be a cluster of its own.
    """
    is_stuck = seen is not None and seen.wal_gone and seen.copy == replica.copies
    if replica.replica_of is None or replica.promote_asked_at is not None or not is_stuck:
        return replica
    return replace(replica, copies=replica.copies + 1)


def of_upgraded(replica: Cluster, source: Cluster, writer: NodeStatus | None) -> Cluster:
    """Return a replica that is to copy its source's data again, since these have a newer major version.

    ``writer`` is the last report on the node of the source that takes writes.  The same object while the
    upgrade may still be given up, so that the replica goes on with its data then.  Never to an earlier
    version: of a source that was recovered from backups of one, the replica may have more.
    """
    mark = source.major_upgrade
    is_over = mark is None or mark.step is UpgradeStep.REJOINING
    works = writer is not None and writer.reached > 0 and writer.data_version == source.version
    if not (is_over and works and _is_outdated(replica, source)) or replica.promote_asked_at is not None:
        return replica
    return replace(replica, version=source.version, copies=replica.copies + 1)


def shown_version(replica: Cluster, source: Cluster | None) -> str:
    """Return the version that is shown of a replica: its source's at once, as of a cluster itself."""
    is_ahead = source is not None and _is_outdated(replica, source) and replica.promote_asked_at is None
    return source.version if source is not None and is_ahead else replica.version


def _is_outdated(replica: Cluster, source: Cluster) -> bool:
    return replica.replica_of == source.id and int(source.version) > int(replica.version)


def promoted(replica: Cluster, source: Cluster | None) -> Cluster:
    """Return the record of a replica that has become a cluster of its own.

    Users and databases are its source's of this moment, with their passwords.
    """
    taken = replica if source is None else as_used(replica, source)
    removing = () if source is None else source.removing
    return replace(taken, removing=removing, replica_of=None, promote_asked_at=None)


def copied_anew(replica: Cluster, lost: Container[str]) -> Cluster:
    """Return a replica that is to copy its source's data again, since its slot has lost WAL that it needs.

    The same object if it is not among those, such as when that was another copy's.
    """
    is_stuck = replica.promote_asked_at is None and slot(replica) in lost
    return replace(replica, copies=replica.copies + 1) if is_stuck else replica
