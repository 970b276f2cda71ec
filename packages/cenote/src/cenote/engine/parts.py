"""The parts of a node, in the order in which a pass brings them about."""

from __future__ import annotations

import dataclasses
from typing import Any

from cenote.engine import look, plan
from cenote.engine.part import Part, Scope
from cenote.engine.plan import events
from cenote.engine.plan.context import NodeContext, NodeKind

WRITER, PLAIN = NodeKind.WRITER, NodeKind.PLAIN

LOG_SPACE = Part("log space", look.log_space.look, plan.log_space.plan, optional=True)
FOLDERS = Part("folders", look.folders.look, plan.folders.plan)
LOG_POSITIONS = Part("log positions", look.log_positions.look, plan.log_positions.plan)
CERTIFICATE = Part("certificate", look.certificate.look, plan.certificate.plan, scope=Scope.HOST)
SERVER = Part(
    "PostgreSQL", look.postgresql.look, plan.postgresql.plan, runs_on=PLAIN, event_of=events.of_server
)
RESTART = Part("restart", look.restart.look, plan.restart.plan, runs_on=PLAIN, event_of=events.of_restart)
OUTDATED_BINARIES = Part(
    "outdated binaries",
    look.outdated_binaries.look,
    plan.outdated_binaries.plan,
    runs_on=PLAIN,
    event_of=events.of_outdated_binaries,
)
ROLES = Part("roles", look.roles.look, plan.roles.plan, runs_on=WRITER, may_block=True)
DATABASES = Part("databases", look.databases.look, plan.databases.plan, runs_on=WRITER, may_block=True)
GRANTS = Part("grants", look.grants.look, plan.grants.plan, runs_on=WRITER, may_block=True)
POOLER = Part("PgBouncer", look.pooler.look, plan.pooler.plan, scope=Scope.HOST, event_of=events.of_pooler)
DISCONNECT = Part("disconnect", look.disconnect.look, plan.disconnect.plan)

# The server comes before all that is asked of it by SQL.  The pooler comes after roles and databases: a pool
# is answered for only when both are there.  Connections are judged last, when neither server lets in others.
NODE_PARTS: tuple[Part[Any], ...] = (
    LOG_SPACE,
    FOLDERS,
    LOG_POSITIONS,
    CERTIFICATE,
    SERVER,
    RESTART,
    OUTDATED_BINARIES,
    ROLES,
    DATABASES,
    GRANTS,
    POOLER,
    DISCONNECT,
)

# The parts that a change of a field of the record can affect; of fields that are not here, all of them.
_SQL = (ROLES, DATABASES, GRANTS)
_AFFECTED: dict[str, tuple[Part[Any], ...]] = {
    "pools": (POOLER,),
    "users": (SERVER, *_SQL, POOLER),
    "databases": (*_SQL, POOLER),
    "tags": (),
    "project_id": (),
    "assigned_at": (),
    "private_network_id": (),
    "autoscale": (),
}


def affected(before: NodeContext, after: NodeContext) -> tuple[Part[Any], ...]:
    """Return the parts that may have something to do, now that the one context has become the other.

    Nothing but the record may have changed since a pass has brought everything about.
    """
    if before != dataclasses.replace(after, cluster=before.cluster):
        return NODE_PARTS
    found: set[str] = set()
    for name in before.cluster.__struct_fields__:
        if getattr(before.cluster, name) != getattr(after.cluster, name):
            found |= {part.name for part in _AFFECTED.get(name, NODE_PARTS)}
    return tuple(part for part in NODE_PARTS if part.name in found)
