"""The folders of a node, their modes and owners."""

from __future__ import annotations

from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.folders import Seen, folders
from cenote.host import files
from cenote.host.inspector import Inspector
from cenote.host.sql import Session


async def look(_inspector: Inspector, context: NodeContext, _session: Session) -> Seen:
    return Seen(tuple(files.ownership_of(wanted.path) for wanted in folders(context)))
