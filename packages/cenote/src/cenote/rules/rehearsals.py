"""Rehearsals of upgrades to another major version, on a fork that is upgraded, checked and removed.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from msgspec.structs import replace

from cenote.errors import Busy
from cenote.model.event_records import EventType, Note
from cenote.model.records import Cluster, Rehearsal
from cenote.model.status_records import NodeStatus

NAME_SUFFIX = "-rehearsal"
PATIENCE = timedelta(minutes=2)  # in which the record of the source has to name a fork
_LONGEST_NAME = 63
_MOST_FINDINGS = 20


class Step(StrEnum):
    """What is next with a fork: nothing, its upgrade, the result, or its removal."""

    WAIT = "wait"
    UPGRADE = "upgrade"
    END = "end"
    REMOVE = "remove"


def fork_name(cluster: Cluster) -> str:
    """Return the name of the fork of a cluster that its upgrade is rehearsed on."""
    return cluster.name[: _LONGEST_NAME - len(NAME_SUFFIX)].rstrip("-") + NAME_SUFFIX


def is_running(cluster: Cluster) -> bool:
    return cluster.rehearsal is not None and cluster.rehearsal.ended_at is None


def check_none(cluster: Cluster) -> None:
    """Raise Busy while an upgrade of a cluster is being rehearsed."""
    if is_running(cluster) and cluster.rehearsal is not None:
        raise Busy(f"An upgrade to PostgreSQL {cluster.rehearsal.version} is being rehearsed already.")


def begun(cluster: Cluster, version: str, fork: UUID, now: datetime) -> Cluster:
    check_none(cluster)
    return replace(cluster, rehearsal=Rehearsal(version=version, asked_at=now, fork=fork))


def step(fork: Cluster, source: Cluster | None, report: NodeStatus | None, now: datetime) -> Step:
    """Return what is to be done with a fork; ``source`` is None when that is gone."""
    rehearsal = None if source is None else source.rehearsal
    if source is None or source.deleted_at is not None:
        return Step.REMOVE
    if rehearsal is None or rehearsal.fork != fork.id:
        # The record of the source is about to name it, unless whoever was asked for it has died before.
        return Step.WAIT if now - fork.created_at < PATIENCE else Step.REMOVE
    if rehearsal.ended_at is not None:
        return Step.REMOVE
    if fork.restoration is not None or fork.major_upgrade is not None or report is None:
        return Step.WAIT
    seen, upgrade = report.rehearsal, report.major_upgrade
    if fork.version == rehearsal.version:
        return Step.END if seen is not None and seen.is_checked else Step.WAIT
    if upgrade is not None and upgrade.refused:
        return Step.END
    return Step.UPGRADE if seen is not None and report.data_version == fork.version else Step.WAIT


def ended(cluster: Cluster, fork: Cluster | None, report: NodeStatus | None, now: datetime) -> Cluster:
    """Return the source with the result of its rehearsal; ``fork`` is None when that was deleted."""
    rehearsal = cluster.rehearsal
    if rehearsal is None or rehearsal.ended_at is not None:
        return cluster
    seen = None if report is None else report.rehearsal
    upgrade = None if report is None else report.major_upgrade
    failure = "" if upgrade is None else upgrade.refused
    if fork is None:
        failure = "its fork was deleted before it had ended"
    findings = () if seen is None or failure else seen.findings[:_MOST_FINDINGS]
    if upgrade is not None and upgrade.to_reindex and not failure:
        names = ", ".join(upgrade.to_reindex)
        findings = (f"indexes by these collations have to be built anew: {names}", *findings)
    result = replace(
        rehearsal,
        ended_at=now,
        held_ms=0 if upgrade is None or failure else upgrade.held_ms,
        failure=failure,
        findings=findings,
    )
    return replace(cluster, rehearsal=result)


def differences(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """Return what the databases have more or less of than before, in words."""
    names = sorted(before.keys() | after.keys())
    return [
        f"{name}: {before.get(name, 0)} before, {after.get(name, 0)} after"
        for name in names
        if before.get(name, 0) != after.get(name, 0)
    ]


def in_words(rehearsal: Rehearsal) -> str:
    """Return how a rehearsal has ended."""
    if rehearsal.ended_at is None:
        return f"the upgrade to PostgreSQL {rehearsal.version} is being rehearsed"
    if rehearsal.failure:
        return f"the upgrade to PostgreSQL {rehearsal.version} would fail: {rehearsal.failure}"
    minutes = (rehearsal.ended_at - rehearsal.asked_at).total_seconds() / 60
    words = (
        f"an upgrade to PostgreSQL {rehearsal.version} takes {rehearsal.held_ms / 1000:.1f} s "
        f"without a server; rehearsed in {minutes:.1f} minutes"
    )
    return f"{words}; found: {'; '.join(rehearsal.findings)}" if rehearsal.findings else words


def note_of_end(cluster: Cluster) -> Note | None:
    """Return the event of a rehearsal that has ended."""
    rehearsal = cluster.rehearsal
    if rehearsal is None:
        return None
    return Note(what=f"rehearsed an upgrade: {in_words(rehearsal)}", type=EventType.CLUSTER_UPDATE)
