"""The mark of a node that has given up writing to another one, beside its data.

The record says who takes writes, unless the store was recovered from a copy that is older than a switch: then
it names the former node, whose data may still be there.  So that node is marked before anything else follows
from LEAVING, from which there is no way back, and is never started again, whatever the record says.  Names of
nodes are not given twice, so nothing else meets the mark.
"""

from __future__ import annotations

from dataclasses import dataclass

from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.model.changes import Plan, Refuse, Stop, WriteFile

_EXPLANATION = (
    "Its server is not started again while this file is here: see docs/moving-clusters.md of Cenote.\n"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """``mark`` is the first line of the mark, None without one; ``running``: its server, if marked."""

    has_data: bool
    mark: str | None = None
    running: bool = False


def plan(context: NodeContext, seen: Seen) -> Plan:
    if NodeKind.LEFT in context.kinds:
        if seen.mark is None and seen.has_data:
            content = f"{in_words(context)}\n{_EXPLANATION}".encode()
            yield WriteFile(context.paths.given_up, content, for_servers=False, durable=True)
    elif seen.mark is not None:
        if seen.running:
            yield Stop(context.server)
        yield Refuse(
            f"its data was {seen.mark or 'given up to another node'}, which takes writes since, so it is not "
            "started again. If the store was recovered from an older copy, look for the data there; to go on "
            f"with this older data all the same, stop that node first, and remove {context.paths.given_up}"
        )


def in_words(context: NodeContext) -> str:
    """Return the first line of the mark of a node that was left."""
    move, peer = context.cluster.move, context.peer
    words = "given up to another node" if peer is None else f"given up to {peer.node.name}"
    if peer is not None:
        words += f" on host {peer.host or peer.node.host}"
    since = None if move is None else move.since
    return words if since is None else f"{words} at {since:%Y-%m-%d %H:%M:%S} UTC"
