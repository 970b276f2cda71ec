"""The sweep: looks at every folder of a cluster on this host, and asks the store what should become of it.

Loops work on the nodes that records name; this finds the rest.  What ``rules/sweep.py`` judges to be removed
is stopped and moved to the trash; what is unknown is left as it is, and told.  Before either, the store is
asked afresh, so a watch that is behind decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence, Set
from datetime import UTC, datetime
from uuid import UUID

from cenote.agent.emptying import Emptying
from cenote.agent.waiting import is_set_within
from cenote.engine.plan import removal
from cenote.engine.plan.context import HostContext
from cenote.errors import CenoteError
from cenote.host import files, unknown
from cenote.host.executor import Executor
from cenote.host.sql import Session
from cenote.host.unknown import UnknownNode
from cenote.model.changes import Plan
from cenote.model.paths import FIRST_NODE, ClusterPaths, NodePaths
from cenote.model.topology import node_key
from cenote.model.trash import TrashNote
from cenote.rules import sweep
from cenote.rules.sweep import Evidence, Fate, Verdict
from cenote.store.host_store import HostStore

log = logging.getLogger(__name__)

SOON = 1.0  # seconds, while a loop ends, or an operator may have something to say of what is unknown


class Sweep:
    """Sweeps one host; ``unknown`` are the nodes here that no record names, as ``Host`` has them."""

    def __init__(
        self,
        store: HostStore,
        executor: Executor,
        host: HostContext,
        is_worked_on: Callable[[UUID], bool],
        on_unknown: Callable[[], None],
        on_trash: Callable[[Set[UUID]], None] = lambda _: None,
        store_id: UUID | None = None,
    ) -> None:
        """``is_worked_on``: a loop works on a node of the cluster; ``on_unknown``: ``unknown`` has changed.

        ``on_trash`` is told often of which clusters there is anything in the trash.
        ``store_id`` is that of the store that the data directory belongs to.
        """
        self._store, self._executor, self._host = store, executor, host
        self._is_worked_on, self._on_unknown, self._store_id = is_worked_on, on_unknown, store_id
        self._layout = host.layout
        self._emptying = Emptying(store, host, store_id, on_trash)
        self._woken: set[UUID] = set()
        self._failed: set[UUID] = set()  # since the last look at everything
        self._wake = asyncio.Event()
        self._unknown: dict[tuple[UUID, str], UnknownNode] = {}
        self.unknown: tuple[str, ...] = ()

    def wake(self, cluster_id: UUID) -> None:
        """Look at a cluster soon: its record has changed, and names no node here."""
        self._woken.add(cluster_id)
        self._wake.set()

    async def run(self) -> None:
        """Sweep at the start, at intervals and when woken, until cancelled."""
        self._recall()
        due = 0.0
        clock = asyncio.get_running_loop().time
        while True:
            try:
                if clock() >= due:
                    due = clock() + self._host.timing.sweep_interval
                    await self._sweep_all()
                else:
                    await self._sweep_some()
                await self._emptying.look()
            except (CenoteError, OSError) as error:  # such as an etcd that does not answer
                log.warning("the folders of clusters cannot be swept now: %s", error)
            except Exception:
                log.exception("a defect in Cenote's sweep")
            look = self._host.timing.resync_interval_nearly_full  # the disk may be full soon
            pause = SOON if self._unknown or self._woken else min(look, due - clock())
            await is_set_within(self._wake, pause)
            self._wake.clear()

    def _recall(self) -> None:
        """Go on with what a former agent has found, so that it is not told again as new."""
        self._unknown = {(one.cluster, one.node): one for one in unknown.read(self._layout)}
        self.unknown = self._keys()

    async def _sweep_all(self) -> None:
        self._failed.clear()
        ids = {UUID(paths.root.name) for paths in await asyncio.to_thread(self._layout.hosted)}
        for id in sorted(ids | {id for id, _ in self._unknown}):
            await self._sweep(id)
        await self._emptying.empty()

    async def _sweep_some(self) -> None:
        """Look at the clusters that have changed, and at what an operator does not want any more."""
        woken, self._woken = self._woken, set()
        unwanted = {id for id, _ in self._unknown if unknown.is_unwanted(self._layout.cluster(id))}
        for id in sorted(woken | (unwanted - self._failed)):
            await self._sweep(id)

    async def _sweep(self, id: UUID) -> None:
        """Judge a cluster's folder; one that cannot be dealt with is left for the next time."""
        try:
            await self._judge(id)
        except (CenoteError, OSError) as error:
            log.warning("cluster %s, which is not this host's: %s", id, error)
            self._failed.add(id)

    async def _judge(self, id: UUID) -> None:
        paths, here = self._layout.cluster(id), self._store.nodes_here(id)
        if self._is_worked_on(id) and not here:
            self._woken.add(id)  # its loop ends first
            return
        found = {node.name: node for node in paths.nodes()}
        names = found.keys() - here
        if not (found or here) and files.needs_removal(paths.root):
            names = {FIRST_NODE}  # nothing is known of it but that there was something
        if not names:
            self._note_unknown(id, {})
            return
        evidence = await self._store.evidence(id)
        if evidence.record is not None:
            here |= sweep.nodes_on(self._store.host_id, evidence.record)
        unwanted = unknown.is_unwanted(paths)
        verdicts = {
            name: sweep.judge(name, self._store.host_id, evidence, store=self._store_id, unwanted=unwanted)
            for name in names - here
        }
        by_fate = {
            fate: {name: verdict for name, verdict in verdicts.items() if verdict.fate is fate}
            for fate in Fate
        }
        removed = by_fate[Fate.REMOVED]
        if removed and removed == verdicts and not here:
            await self._discard(id, paths, list(found.values()), removed, evidence)
        else:
            for name in sorted(removed.keys() & found.keys()):
                await self._discard_node(id, found[name], removed[name], evidence)
        self._note_unknown(id, by_fate[Fate.UNKNOWN])

    async def _discard(
        self,
        id: UUID,
        paths: ClusterPaths,
        nodes: Sequence[NodePaths],
        verdicts: dict[str, Verdict],
        evidence: Evidence,
    ) -> None:
        why = "; ".join(sorted({verdict.why for verdict in verdicts.values()}))
        note = TrashNote(cluster=id, name=_name(evidence), why=why, at=_now())
        kept = note if self._host.keeps_trash else None
        await self._do(removal.plan_discard(paths, nodes, kept), note)

    async def _discard_node(self, id: UUID, node: NodePaths, verdict: Verdict, evidence: Evidence) -> None:
        note = TrashNote(cluster=id, name=_name(evidence), node=node.name, why=verdict.why, at=_now())
        plan = removal.plan_discard_node(node, node.files(), note if self._host.keeps_trash else None)
        await self._do(plan, note)

    async def _do(self, plan: Plan, note: TrashNote) -> None:
        label = f"cluster {note.cluster}" + (f", {note.node}" if note.node else "")
        where = f"moved to {self._layout.trash}" if self._host.keeps_trash else "removed"
        log.warning("%s is stopped and %s: %s", label, where, note.why)
        session = Session(self._layout.cluster(note.cluster).sockets, 0, 0)
        for change in plan:
            log.info("%s: %r", label, change)
            await self._executor.do(change, session)

    def _note_unknown(self, id: UUID, found: dict[str, Verdict]) -> None:
        if not found:
            # An operator's word is of what is unknown now, and not of what another store may not know.
            unknown.forget_unwanted(self._layout.cluster(id))
        before = dict(self._unknown)
        for key in [key for key in self._unknown if key[0] == id and key[1] not in found]:
            del self._unknown[key]
        for name, verdict in found.items():
            known, folder = self._unknown.get((id, name)), str(self._layout.cluster(id).root)
            since = _now() if known is None else known.since
            self._unknown[id, name] = UnknownNode(
                cluster=id, node=name, why=verdict.why, since=since, folder=folder
            )
            if known is None:
                log.warning(
                    "%s in %s is not known: %s; it is left as it is: see 'cenote host unknown'",
                    node_key(id, name),
                    folder,
                    verdict.why,
                )
        if self._unknown != before:
            unknown.write(self._layout, [self._unknown[key] for key in sorted(self._unknown)])
            self.unknown = self._keys()
            self._on_unknown()

    def _keys(self) -> tuple[str, ...]:
        return tuple(node_key(id, name) for id, name in sorted(self._unknown))


def _name(evidence: Evidence) -> str:
    if evidence.record is not None:
        return evidence.record.name
    return "" if evidence.tombstone is None else evidence.tombstone.name


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
