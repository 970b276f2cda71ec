"""The copy of another node's data: whether there is one, and how far it is."""

from __future__ import annotations

import re
from pathlib import Path

from cenote.engine.look import loaded
from cenote.engine.plan.base_backup import COPY, MANIFEST, Seen, program_of
from cenote.engine.plan.context import NodeContext
from cenote.host import control_file, files
from cenote.host.inspector import Inspector
from cenote.host.sql import Session

_PERCENT = re.compile(r"\((\d{1,3})%\)")


async def look(inspector: Inspector, context: NodeContext, _session: Session) -> Seen:
    paths, program = context.paths, program_of(context)
    has_draft = files.mode_of(paths.draft) is not None
    cannot_follow = files.mode_of_file(paths.cannot_follow) is not None
    if files.mode_of(paths.data) is not None:
        was_promoted = files.read(paths.standby_signal) is None
        copied = await _size(inspector, context, paths.data)
        mark = files.read(paths.data / COPY)
        return Seen(
            has_data=True,
            is_standby=not was_promoted,
            has_draft=has_draft,
            copied_mib=copied,
            cannot_follow=cannot_follow,
            copy=int(mark) if mark is not None and mark.isdigit() else 0,
            server_runs=loaded.look(context.server).process is not None,
        )
    running = has_draft and loaded.look(program).process is not None
    found = _PERCENT.findall(files.tail(program.log)) if running else []
    return Seen(
        has_data=False,
        has_draft=has_draft,
        complete=has_draft and not running and files.read(paths.draft / MANIFEST) is not None,
        running=running,
        progress=f", {found[-1]} %" if found else "",
        copied_mib=await _size(inspector, context, paths.draft) if has_draft else 0,
        cannot_follow=cannot_follow,
        draft_version=control_file.major_version(paths.draft) if has_draft else "",
    )


async def _size(inspector: Inspector, context: NodeContext, folder: Path) -> int:
    return (await inspector.disk_use(folder, context.host.timing.disk_use_max_age)).used_mib
