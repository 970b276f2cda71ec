"""The parts of a node, in the order in which a pass brings them about."""

from __future__ import annotations

import dataclasses
from typing import Any

from cenote.engine import look, plan
from cenote.engine.part import DropPart, Part, Scope
from cenote.engine.plan import events
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.model.parts import PartName
from cenote.rules import in_force

WRITER, PLAIN, MANAGED = NodeKind.WRITER, NodeKind.PLAIN, NodeKind.MANAGED
FOLLOWING, ENDS, LEFT = NodeKind.FOLLOWING, NodeKind.ENDING, NodeKind.LEFT
RESTORING, AWAITING, REPLICA = NodeKind.RESTORING, NodeKind.AWAITING, NodeKind.REPLICA
UPGRADING, RESTING = NodeKind.UPGRADING, NodeKind.RESTING

GIVEN_UP = Part(PartName.GIVEN_UP, look.given_up.look, plan.given_up.plan)
ROUTING = Part(
    PartName.ROUTING,
    look.routing.look,
    plan.routing.plan,
    scope=Scope.HOST,
    runs_on=(MANAGED, UPGRADING, RESTING),
    report_of=plan.routing.report,
)
SWITCHING = Part(
    PartName.SWITCHING,
    look.switching.look,
    plan.switching.plan,
    runs_on=(MANAGED,),
    event_of=events.of_rolling_restart,
    report_of=plan.switching.report,
)
LOG_SPACE = Part(PartName.LOG_SPACE, look.log_space.look, plan.log_space.plan, optional=True)
FOLDERS = Part(PartName.FOLDERS, look.folders.look, plan.folders.plan)
LOG_POSITIONS = Part(PartName.LOG_POSITIONS, look.log_positions.look, plan.log_positions.plan)
CERTIFICATE = Part(PartName.CERTIFICATE, look.certificate.look, plan.certificate.plan, scope=Scope.HOST)
BACKUPS = Part(PartName.BACKUPS, look.backups.look, plan.backups.plan, scope=Scope.HOST)
RESTORE = Part(
    PartName.RESTORE,
    look.restore.look,
    plan.restore.plan,
    runs_on=(RESTORING, AWAITING),
    report_of=plan.restore.report,
)
BASE_BACKUP = Part(
    PartName.BASE_BACKUP,
    look.base_backup.look,
    plan.base_backup.plan,
    runs_on=(FOLLOWING, MANAGED, REPLICA),
    event_of=events.of_base_backup,
    report_of=plan.base_backup.report,
)
MAJOR_UPGRADE = Part(
    PartName.MAJOR_UPGRADE,
    look.major_upgrade.look,
    plan.major_upgrade.plan,
    runs_on=(PLAIN, MANAGED),
    starts_again=True,
    event_of=plan.major_upgrade.event_of,
    report_of=plan.major_upgrade.report,
)
FORMER_STANDBY = Part(
    PartName.FORMER_STANDBY,
    look.former_standby.look,
    plan.former_standby.plan,
    runs_on=(RESTING, MANAGED),
    report_of=plan.former_standby.report,
)
REST = Part(PartName.RESTING, look.former_standby.look, plan.former_standby.plan_to_rest, runs_on=(RESTING,))
LEADING = Part(PartName.LEADING, look.leading.look, plan.leading.plan, runs_on=(PLAIN,))
ENDING = Part(
    PartName.ENDING,
    look.ending.look,
    plan.ending.plan,
    runs_on=(ENDS, LEFT),
    report_of=plan.ending.report,
)
SERVER = Part(
    PartName.SERVER,
    look.postgresql.look,
    plan.postgresql.plan,
    runs_on=(PLAIN, FOLLOWING, REPLICA),
    event_of=events.of_server,
    report_of=plan.postgresql.report,
)
MANAGED_SERVER = Part(
    PartName.SERVER, look.managed.look, plan.managed.plan, runs_on=(MANAGED,), event_of=events.of_server
)
RELEASE = Part(PartName.RELEASE, look.release.look, plan.release.plan, runs_on=(PLAIN,))
SLOTS = Part(PartName.SLOTS, look.slots.look, plan.slots.plan, runs_on=(WRITER,), report_of=plan.slots.report)
RESTART = Part(
    PartName.RESTART,
    look.restart.look,
    plan.restart.plan,
    runs_on=(PLAIN, REPLICA),
    event_of=events.of_restart,
)
MANAGED_RESTART = Part(
    PartName.RESTART,
    look.managed_restart.look,
    plan.managed_restart.plan,
    runs_on=(MANAGED,),
    event_of=events.of_rolling_restart,
    report_of=plan.managed_restart.report,
)
OUTDATED_BINARIES = Part(
    PartName.OUTDATED_BINARIES,
    look.outdated_binaries.look,
    plan.outdated_binaries.plan,
    runs_on=(PLAIN, REPLICA, MANAGED),
    event_of=events.of_outdated_binaries,
)
ADOPTION = Part(
    PartName.ADOPTION,
    look.adoption.look,
    plan.adoption.plan,
    runs_on=(WRITER, RESTORING),
    report_of=plan.adoption.report,
)
ROLES = Part(PartName.ROLES, look.roles.look, plan.roles.plan, runs_on=(WRITER,), may_block=True)
DATABASES = Part(
    PartName.DATABASES, look.databases.look, plan.databases.plan, runs_on=(WRITER,), may_block=True
)
GRANTS = Part(PartName.GRANTS, look.grants.look, plan.grants.plan, runs_on=(WRITER,), may_block=True)
UPGRADE = Part(PartName.UPGRADE, look.upgrade.look, plan.upgrade.plan, runs_on=(WRITER,), may_block=True)
POOLER = Part(
    PartName.POOLER,
    look.pooler.look,
    plan.pooler.plan,
    scope=Scope.HOST,
    not_on=(RESTORING, AWAITING),
    event_of=events.of_pooler,
    report_of=plan.pooler.report,
)
POOLER_ACCESS = Part(
    PartName.POOLER_ACCESS,
    look.pooler_access.look,
    plan.pooler_access.plan,
    scope=Scope.HOST,
    not_on=(RESTORING, AWAITING),
    may_block=True,
)
POOLER_DISCONNECT = Part(
    PartName.POOLER_DISCONNECT,
    look.disconnect.look_pooled,
    plan.disconnect.plan,
    scope=Scope.HOST,
    not_on=(RESTORING, AWAITING),
    may_block=True,
)
DISCONNECT = Part(
    PartName.DISCONNECT,
    look.disconnect.look_direct,
    plan.disconnect.plan,
    not_on=(LEFT, AWAITING, RESTING),
    may_block=True,
)
REPLICATION = Part(
    PartName.STANDBY,
    look.replication.look,
    plan.replication.plan,
    runs_on=(MANAGED,),
    report_of=plan.replication.report,
)
REPLICA_STATE = Part(
    PartName.STANDBY,
    look.replica.look,
    plan.replica.plan,
    runs_on=(REPLICA,),
    report_of=plan.replica.report,
)
STANDBY = Part(
    PartName.STANDBY,
    look.standby.look,
    plan.standby.plan,
    runs_on=(FOLLOWING,),
    report_of=plan.standby.report,
)

# Whoever has lost access is put out first: neither a server that starts nor a customer's lock delays that.
# The server comes before all that is asked of it by SQL, and what is to be adopted before all that is made.
# The pooler comes after roles and databases: a pool is answered for only when both are there.  Connections
# are judged when their server lets in no others.
# A node that takes over or gives up does that first, since clients are held meanwhile; one that gives up does
# nothing else.  Before all of it: whether the node may still take writes at all.
NODE_PARTS: tuple[Part[Any], ...] = (
    GIVEN_UP,
    RELEASE,
    ROUTING,
    FORMER_STANDBY,
    SWITCHING,
    LEADING,
    ENDING,
    LOG_SPACE,
    FOLDERS,
    POOLER_ACCESS,
    POOLER_DISCONNECT,
    LOG_POSITIONS,
    CERTIFICATE,
    BACKUPS,
    RESTORE,
    BASE_BACKUP,
    MAJOR_UPGRADE,
    SERVER,
    MANAGED_SERVER,
    DISCONNECT,
    SLOTS,
    RESTART,
    MANAGED_RESTART,
    OUTDATED_BINARIES,
    ADOPTION,
    ROLES,
    DATABASES,
    GRANTS,
    UPGRADE,
    POOLER,
    STANDBY,
    REPLICATION,
    REPLICA_STATE,
    REST,
)

LOCK_OUT = DropPart("lock out", look.lock_out.look, plan.lock_out.plan)
DROPPED_DATABASES = DropPart("dropped databases", look.dropped_databases.look, plan.dropped_databases.plan)
DROPPED_ROLES = DropPart("dropped roles", look.dropped_roles.look, plan.dropped_roles.plan)

# After the pass, since a customer's lock may hold up a drop.  Nobody may come in any more before it is looked
# what a thing holds; and databases go first, with what users own in them.
DROP_PARTS: tuple[DropPart[Any], ...] = (LOCK_OUT, DROPPED_DATABASES, DROPPED_ROLES)

_OF_DATABASES = frozenset({PartName.ADOPTION, PartName.ROLES, PartName.DATABASES, PartName.GRANTS})
_OF_POOLS = frozenset({PartName.POOLER_ACCESS, PartName.POOLER})
_FEW = _OF_DATABASES | _OF_POOLS | {PartName.SERVER}


def affected(before: NodeContext, after: NodeContext) -> tuple[Part[Any], ...]:
    """Return the parts that may have something to do, now that the one context has become the other.

    Few for users, databases and pools, all parts for anything else.  Nothing but the record may have changed
    since a pass has brought everything about.
    """
    names = in_force.concerned(before.cluster, after.cluster)
    if before != dataclasses.replace(after, cluster=before.cluster) or names - _FEW:
        return NODE_PARTS
    for group in (_OF_DATABASES, _OF_POOLS):
        names |= group if names & group else frozenset()
    return tuple(part for part in NODE_PARTS if part.name in names)
