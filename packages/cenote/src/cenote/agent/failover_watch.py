"""Holds the pools of a cluster with several nodes as soon as this host notices that its writer fails.

It acts on a suspicion, since it costs little to be wrong: the pass that follows lets the clients go on when
the writer still takes writes, and else leads them to the node that takes over (``engine/plan/routing.py``).
Without it, what clients send until then would fail: PgBouncer refuses at once what it cannot pass on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from cenote.agent.node_pass import session_of
from cenote.engine.plan import routing
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.errors import CenoteError
from cenote.host import files, processes
from cenote.host.executor import Executor
from cenote.model.changes import HoldPools
from cenote.model.processes import Process
from cenote.model.records import PoolMode

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
DECIDED_SECONDS = 3.0  # in which another node takes over from a server that has died


class FailoverWatch:
    def __init__(self, executor: Executor, look_again: Callable[[], None]) -> None:
        """``look_again`` is called once the pools are held, and when the primary's settings may differ."""
        self._executor, self._look_again = executor, look_again
        self._watch = processes.ProcessWatch()
        self._context: NodeContext | None = None
        self._fired: tuple[float, NodeContext] | None = None  # when (monotonic), and what was known then
        self._holding: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    def follow(self, context: NodeContext) -> Sequence[Process]:
        """Watch the processes that end when the writer does, and return them."""
        if not routing.is_needed(context):
            self._context = None
            return ()
        self._context = context
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="looking at settings of a primary")
        try:
            self._executor.prepare_hold()
        except CenoteError as error:
            log.warning("cluster %s: %s", context.in_words, error)
        signs = tuple(_signs(context))
        for process in signs:
            self._watch.add(process, self._fire)
        return signs

    def holds(self) -> bool:
        """Return whether all pools of the cluster are held by this process."""
        return self._context is not None and self._holds(self._context)

    def is_undecided(self, leader: str | None) -> bool:
        """Return whether clients are held, or about to be, and a pass could do nothing for them.

        ``leader`` is the node that is named now.  The next one would wait for the end of such a pass.  Only a
        server of another host may turn out to be there.
        """
        if self._fired is None or self._context is None:
            return False
        if self._context.cluster.major_upgrade is not None:  # its passes end servers, and start them
            return False
        since, context = self._fired
        is_holding = self._holding is not None and not self._holding.done()
        if time.monotonic() - since > DECIDED_SECONDS or not (is_holding or self._holds(context)):
            return False
        if leader is None or is_holding:
            return leader in (None, context.leader)
        is_own = NodeKind.WRITER in context.kinds and processes.find(context.server) is None
        return is_own and leader == context.leader

    def close(self) -> None:
        self._watch.close()
        self._executor.release_hold()  # another node of this host prepares it anew
        for task in (self._holding, self._looking):
            if task is not None:
                task.cancel()

    def _fire(self) -> None:
        if self._context is None:
            self._look_again()
        elif self._holding is None or self._holding.done():
            self._fired = time.monotonic(), self._context
            self._holding = asyncio.create_task(self._hold(self._context), name="holding pools")

    async def _hold(self, context: NodeContext) -> None:
        pools = _pools(context)
        session = session_of(context)
        try:
            # For a switch they are held before the writer ends.
            if pools and not self._holds(context) and processes.find(context.bouncer) is not None:
                change = HoldPools(context.bouncer, routing.FAILOVER, pools, routing.AT_ONCE, anyway=True)
                await self._executor.do(change, session)
                log.info("cluster %s: held its pools, as its primary seems to be gone", context.in_words)
        except (CenoteError, OSError) as error:
            log.warning("cluster %s: its pools are not held: %s", context.in_words, error)
        finally:
            await session.close()
            self._look_again()

    def _holds(self, context: NodeContext) -> bool:
        return self._executor.holds(context.bouncer, _pools(context))

    async def _look(self) -> None:
        """Notice when somebody writes the settings of a primary: commits may not wait for a standby then."""
        known = None
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            context = self._context
            found = None if context is None or NodeKind.WRITER not in context.kinds else _times(context)
            if known is not None and found is not None and found != known:
                self._look_again()
            known = found


def _pools(context: NodeContext) -> tuple[str, ...]:
    return tuple(pool.name for pool in context.cluster.pools if pool.mode is not PoolMode.SESSION)


def _times(context: NodeContext) -> tuple[datetime | None, ...]:
    data = context.paths.data
    return tuple(files.modified_at(data / name) for name in ("postgresql.conf", "postgresql.auto.conf"))


def _signs(context: NodeContext) -> Iterator[Process]:
    """Yield the server of a node that takes writes; of another one what receives from that."""
    server = processes.find(context.server)
    if server is None:
        return
    if NodeKind.WRITER in context.kinds:
        yield server
        return
    for pid in processes.children(server.pid):
        receiver = processes.identify(pid)
        if receiver is not None and b"walreceiver" in _title(pid):
            yield receiver


def _title(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
