"""What a fork of a cluster takes over from its record of that moment, and the storage that it needs: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from msgspec.structs import replace

from cenote.errors import Busy, Invalid
from cenote.model.backups import BackupReport
from cenote.model.catalog import GIB
from cenote.model.records import ADMIN_USER, Cluster, User
from cenote.rules import restorable

SLACK = 1.25  # times the data: the smallest storage for them, as for a cluster that is resized
_MIB = 1 << 20


def record_at(past: Iterable[tuple[datetime, Cluster]], current: Cluster, target: datetime) -> Cluster:
    """Return the record that was valid at a moment; of the past, each is given with when it was replaced."""
    return next((record for replaced_at, record in past if replaced_at > target), current)


def version(
    record: Cluster,
    source: Cluster,
    report: BackupReport,
    target: datetime | None,
    *,
    is_live: bool,
    of_server: str = "",
) -> str:
    """Return the major version of PostgreSQL of what is restored: that of the backup which it begins with.

    A record has the version that was asked for, which its data may not have had yet; it says what an earlier
    version of the agent has not reported of a backup.  A server that is copied has that of its data, which is
    ``of_server`` if it was reported.
    """
    if is_live and of_server:
        return of_server
    if is_live:
        mark = source.major_upgrade
        return source.version if mark is None else mark.source
    try:
        backup = restorable.choose(report.backups, target)
    except ValueError:
        return record.version
    return backup.version or record.version


def needed_mib(report: BackupReport | None, used_mib: int, target: datetime | None) -> int:
    """Return the storage that the data needs, in MiB: as large as what is restored, and a quarter more."""
    size = used_mib
    if target is not None and report is not None:
        before = [one.size for one in report.backups if one.stopped_at <= target]
        size = before[-1] // _MIB if before else size
    return int(size * SLACK)


def check_storage(storage_mib: int, needed: int) -> None:
    """Raise Invalid for a storage that is too small for the data."""
    if storage_mib < needed:
        raise Invalid(
            f"storage_size_mib: {storage_mib} is too small for the data, which needs at least "
            f"{-(-needed // GIB) * GIB}."
        )


def fork(chosen: Cluster, source: Cluster, new_user: Callable[[str], User]) -> Cluster:
    """Return a new cluster with what a fork takes from the record of its source at that moment.

    That is databases, pools and settings, and users but for their passwords: of those that the API made,
    theirs are drawn anew, by ``new_user``.  ``chosen`` has what the request has asked for, and the
    administrator.
    """
    users = [_with_new_password(user, new_user) for user in source.users if user.name != ADMIN_USER]
    return replace(
        chosen,
        users=(*chosen.users, *users),
        databases=source.databases,
        pools=source.pools,
        configuration=source.configuration,
        maintenance_window=source.maintenance_window,
    )


def _with_new_password(user: User, new_user: Callable[[str], User]) -> User:
    """A user that SQL made keeps the password that SQL has set."""
    if not user.verifier:
        return user
    new = new_user(user.name)
    return replace(user, verifier=new.verifier, sealed_password=new.sealed_password)


def check_adopted(before: Cluster, after: Cluster) -> None:
    """Raise Busy for a change of what a fork takes over, and does not have for certain yet."""
    restoration = before.restoration
    if restoration is None or not restoration.fork:
        return
    if (before.users, before.databases, before.pools) != (after.users, after.databases, after.pools):
        raise Busy("update cluster cannot be performed. Reason: cluster is forking")
