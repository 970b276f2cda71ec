"""Shortens logs between passes: a server that writes 40 MB/s would fill hundreds of MB until the next one.

One stat per log says whether there is something to do; only then the part "log space" is looked at.
"""

from __future__ import annotations

import asyncio
import logging
import os

from cenote.agent.node_pass import session_of
from cenote.engine.parts import LOG_SPACE
from cenote.engine.plan.context import HostContext, NodeContext
from cenote.engine.plan.log_space import KEPT, STEP
from cenote.errors import CenoteError
from cenote.host.executor import Executor
from cenote.host.inspector import Inspector
from cenote.model.records import Cluster, LogSource, Node
from cenote.model.topology import node_key
from cenote.store.host_store import HostStore

log = logging.getLogger(__name__)

_BLOCK = 512  # the unit of st_blocks


async def watch_log_space(store: HostStore, executor: Executor, host: HostContext) -> None:
    """Look at the logs of this host's nodes at short intervals, until cancelled."""
    known: dict[str, list[str]] = {}
    while True:
        await asyncio.sleep(host.timing.log_space_interval)
        before, known = known, {}
        for cluster in store.living_clusters():
            for node in cluster.nodes:
                if node.host != store.host_id:
                    continue
                key = node_key(cluster.id, node.name)
                known[key] = before.get(key) or _logs(host, cluster, node)
                try:
                    if any(map(_is_long, known[key])):
                        await _shorten(executor, NodeContext(cluster, node, host))
                except (CenoteError, OSError) as error:
                    log.warning("cluster %s: its logs cannot be shortened: %s", cluster.name, error)
                except Exception:  # one cluster's log must not end the work on all others
                    log.exception("cluster %s: a defect in Cenote", cluster.name)


def _logs(host: HostContext, cluster: Cluster, node: Node) -> list[str]:
    paths = host.layout.node(cluster.id, node.name)
    return [str(paths.log(source)) for source in LogSource]


def _is_long(path: str) -> bool:
    """Return whether a log takes more space than it should."""
    try:
        return os.lstat(path).st_blocks * _BLOCK > KEPT + STEP
    except FileNotFoundError:
        return False


async def _shorten(executor: Executor, context: NodeContext) -> None:
    session = session_of(context)
    try:
        for change in LOG_SPACE.plan(context, await LOG_SPACE.look(Inspector(), context, session)):
            await executor.do(change, session)
    finally:
        await session.close()
