"""How far the rehearsal of an upgrade is, or how the last one has ended, as clients see it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from cenote.model.records import Cluster
from cenote.model.topology import writer_or_first
from cenote.rules import rehearsals

if TYPE_CHECKING:
    from cenote.api.service import Service


class RehearsalState(StrEnum):
    """Passed: nothing was found.  Failed: the upgrade would be refused, or something was found."""

    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"


class RehearsalView(msgspec.Struct, kw_only=True):
    """A rehearsal of an upgrade to a ``version``.

    ``reason`` says in words how far it is, or how it has ended.  ``seconds`` is for how long the fork had no
    server, which is what clients of transaction pools will wait for; left out before it is known.
    ``findings`` are what was found in the upgraded fork, such as by ``pg_amcheck``.
    """

    version: str
    state: RehearsalState
    reason: str
    asked_at: datetime
    ended_at: datetime | UnsetType = UNSET
    seconds: float | UnsetType = UNSET
    findings: list[str] = []


def rehearsal_view(service: Service, cluster: Cluster) -> RehearsalView | UnsetType:
    """Return the last rehearsal of a cluster, UNSET without one."""
    rehearsal = cluster.rehearsal
    if rehearsal is None:
        return UNSET
    if rehearsal.ended_at is None:
        return RehearsalView(
            version=rehearsal.version,
            state=RehearsalState.RUNNING,
            reason=_progress(service, cluster),
            asked_at=rehearsal.asked_at,
        )
    is_good = not rehearsal.failure and not rehearsal.findings
    return RehearsalView(
        version=rehearsal.version,
        state=RehearsalState.PASSED if is_good else RehearsalState.FAILED,
        reason=rehearsals.in_words(rehearsal),
        asked_at=rehearsal.asked_at,
        ended_at=rehearsal.ended_at,
        seconds=UNSET if rehearsal.failure else round(rehearsal.held_ms / 1000, 1),
        findings=list(rehearsal.findings),
    )


def _progress(service: Service, cluster: Cluster) -> str:
    rehearsal = cluster.rehearsal
    stored = None if rehearsal is None else service.store.cluster(rehearsal.fork)
    if rehearsal is None or stored is None or stored.value.deleted_at is not None:
        return "its fork is gone"
    fork, report = (
        stored.value,
        service.store.reports(stored.value.id).get(writer_or_first(stored.value).name),
    )
    if report is not None and report.reason:
        return report.reason
    if fork.restoration is not None or report is None:
        return "its data are being copied to a fork"
    if fork.version == rehearsal.version and fork.major_upgrade is None:
        return "the upgraded fork is being checked"
    return f"the fork is upgraded to PostgreSQL {rehearsal.version}"
