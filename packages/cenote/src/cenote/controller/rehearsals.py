"""Takes rehearsals of upgrades further: the fork is upgraded, its result kept, and then it is removed."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from cenote.controller.election import Election
from cenote.model.records import Cluster
from cenote.model.topology import writer_or_first
from cenote.rules import major_upgrades, rehearsals
from cenote.rules.rehearsals import Step
from cenote.store import Store


class Rehearsals:
    def __init__(self, store: Store, election: Election) -> None:
        self._store, self._election = store, election

    def is_unnamed(self, cluster: Cluster) -> bool:
        """Return whether a cluster is a fork that the record of its source does not name, or not any more."""
        source = None if cluster.rehearsal_of is None else self._living(cluster.rehearsal_of)
        return source is not None and (source.rehearsal is None or source.rehearsal.fork != cluster.id)

    def of_deleted(self, cluster: Cluster) -> set[UUID]:
        """Return what is to be looked at when a cluster was deleted: the source of a fork, or the fork."""
        others = {cluster.rehearsal_of, None if cluster.rehearsal is None else cluster.rehearsal.fork}
        return {id for id in others if id is not None and self._living(id) is not None}

    async def work_on(self, cluster: Cluster) -> None:
        """Do what is next with a cluster that is a fork for a rehearsal, or has one; nothing with others."""
        if cluster.rehearsal_of is not None:
            await self._work_on_fork(cluster, cluster.rehearsal_of)
        elif cluster.rehearsal is not None and cluster.rehearsal.ended_at is None:
            await self._end_without_fork(cluster.id, cluster.rehearsal.fork)

    async def _end_without_fork(self, source_id: UUID, fork_id: UUID) -> None:
        if self._living(fork_id) is None:
            await self._end(source_id, None)

    async def _work_on_fork(self, fork: Cluster, source_id: UUID) -> None:
        source, condition = self._living(source_id), self._election.condition()
        report = self._store.reports(fork.id).get(writer_or_first(fork).name)
        match rehearsals.step(fork, source, report, self._store.clock.now()):
            case Step.UPGRADE:
                assert source is not None
                assert source.rehearsal is not None
                version, now = source.rehearsal.version, datetime.now(UTC).replace(microsecond=0)
                await self._store.update_cluster(
                    fork.id,
                    lambda one: one if one.major_upgrade else major_upgrades.begun(one, version, now),
                    None,
                    condition,
                )
            case Step.END:
                await self._end(source_id, fork)
                self._store.notify({fork.id})
            case Step.REMOVE:
                await self._store.delete_cluster(fork.id, datetime.now(UTC))

    async def _end(self, source_id: UUID, fork: Cluster | None) -> None:
        node = None if fork is None else writer_or_first(fork).name
        report = None if fork is None else self._store.reports(fork.id).get(node or "")
        now = datetime.now(UTC).replace(microsecond=0)
        source = self._living(source_id)
        if source is None:
            return
        after = rehearsals.ended(source, fork, report, now)
        await self._store.update_cluster(
            source_id,
            lambda one: rehearsals.ended(one, fork, report, now),
            rehearsals.note_of_end(after),
            self._election.condition(),
        )

    def _living(self, id: UUID) -> Cluster | None:
        stored = self._store.cluster(id)
        return None if stored is None or stored.value.deleted_at is not None else stored.value
