"""The data of a node that are made from a backup, or from a living server.

That is done beside the passes (``agent/restore_runner.py``), since it takes long; until the data are complete
and have their name, nothing that follows is begun.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.model.changes import Plan, Refuse, Wait
from cenote.model.restores import RestoreState


@dataclass(frozen=True, slots=True)
class Seen:
    """``state`` is what the restore says that the record asks for, None while it has said nothing."""

    has_data: bool
    state: RestoreState | None = None


def plan(context: NodeContext, seen: Seen) -> Plan:
    restoration = context.cluster.restoration
    if NodeKind.AWAITING in context.kinds and restoration is not None:
        yield Wait(f"its data are copied from {restoration.node}, where they are being restored")
        return
    has_restored = seen.state is not None and seen.state.restored is not None
    if not seen.has_data:
        yield Wait(
            (seen.state.reason if seen.state is not None else "") or "its data are about to be restored"
        )
    elif not has_restored:
        yield Refuse(
            f"there are data already that were not restored for this: {context.paths.data}. "
            "They are left as they are"
        )


def report(_context: NodeContext, seen: Seen) -> Mapping[str, object]:
    return {"restored": seen.state.restored if seen.has_data and seen.state is not None else None}
