"""The state of a node that Patroni runs: PostgreSQL, Patroni, and the files of both."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from cenote.engine.look import loaded, slots
from cenote.engine.look.postgresql import disk_use, state_of
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.managed import Seen, server_files
from cenote.engine.plan.postgresql import READY
from cenote.engine.plan.slots import Slot
from cenote.errors import Misconfigured
from cenote.host import files, process_identity, processes, system
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model.processes import Process
from cenote.model.record import Secret

log = logging.getLogger(__name__)


async def look(inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    paths, server = context.paths, context.server
    found, agent = loaded.look(server), loaded.look(context.failover_agent)
    state = state_of(server.pid_file, found)
    before: tuple[Slot, ...] = ()
    if agent.process is None and state == READY:
        before = (await slots.look(inspector, context, session)).slots
    of_agent = (paths.patroni_configuration, paths.patroni_launcher, paths.store_certificate)
    known, failover = (*server_files(context), *of_agent), context.host.failover
    return Seen(
        has_data=files.mode_of(paths.data) is not None,
        files=loaded.look_at_files(known),
        certificate=files.read(context.cluster_paths.certificate),
        loaded=found,
        state=state,
        agent=agent,
        endpoints=() if failover is None else tuple(failover.endpoints()),
        has_folder=files.mode_of(paths.patroni) is not None,
        password=password(context),
        slots=before,
        use=await disk_use(inspector, context),
        rewound=_rewound(context),
        rewinding=found.process is None and agent.process is not None and _rewinds(agent.process),
        remembers=agent.process is None and files.mode_of_file(paths.patroni_memory) is not None,
        full_disk="" if found.process is not None else system.full_disk(paths.cluster.root),
    )


def _rewound(context: NodeContext) -> float | None:
    """Return for how many seconds data that were rewound have been coming back; None if none were."""
    began = files.modified_at(context.paths.rewound)
    return None if began is None else (datetime.now(UTC) - began).total_seconds()


def _rewinds(agent: Process) -> bool:
    """Return whether Patroni is having the data rewound."""
    return any(process_identity.executable_of(pid) == "pg_rewind" for pid in processes.children(agent.pid))


def password(context: NodeContext) -> Secret | None:
    """Return the password of Patroni's login to the store; None without one, or without the key for it."""
    failover, sealed = context.host.failover, context.cluster.failover_login
    if failover is None or not sealed:
        return None
    try:
        return failover.open(sealed)
    except Misconfigured as error:
        log.error("cluster %s: %s", context.in_words, error)
        return None
