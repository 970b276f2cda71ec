"""A node that is its cluster's only one again: Patroni ends, and PostgreSQL goes on.

Patroni is killed, since in order it would stop PostgreSQL first.  What it left in the configuration is
replaced by the part PostgreSQL; our settings, which that includes, stay until then and longer.  A node that
still follows another one waits until it takes writes.

A node that was removed on a host whose agent is away has a Patroni that works, and would take over as soon as
the key of this one is gone.  So all are told first to pause, in which none takes over.  Patroni's slots go,
too: they would keep WAL for nobody.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from psycopg.sql import SQL, Literal

from cenote.conf import patroni
from cenote.conf.hba import SUPERUSER
from cenote.engine.plan import managed
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.engine.plan.slots import Slot, is_patronis
from cenote.model.changes import Change, Plan, Publish, Remove, Sql, Stop, Wait
from cenote.model.record import Secret
from cenote.rules import upgrades_of_nodes


@dataclass(frozen=True, slots=True)
class Seen:
    """``running``: Patroni; ``recovering``: its server follows another one, or is down.

    ``slots`` are those of its server, None while that cannot be asked.  ``password`` is that of Patroni's
    login to the store.
    """

    has_folder: bool
    running: bool = False
    recovering: bool = False
    slots: tuple[Slot, ...] | None = ()
    password: Secret | None = field(default=None, repr=False)


def plan(context: NodeContext, seen: Seen) -> Plan:
    if not seen.has_folder:
        return
    if seen.running and seen.recovering:
        yield Wait("it still follows another node, and is about to take writes")
    if seen.running and NodeKind.UPGRADING in context.kinds:
        yield from _until_others_may_lead(context)
    if context.agreed.leader == context.node.name and seen.password is not None:
        paused = managed.shared(context) | {"pause": True}
        if not patroni.is_same(context.agreed.shared, paused):
            yield Publish(context.cluster.id, patroni.encode_shared(paused), seen.password)
    if seen.running:
        yield Stop(replace(context.failover_agent, stop_signal=signal.SIGKILL))
    if NodeKind.UPGRADING in context.kinds:  # the others may follow it again, or are about to be stopped
        yield from _forget(context)
        return
    if seen.slots is None:
        return  # its server is started first
    for slot in seen.slots:
        if not slot.logical and is_patronis(slot.name):
            end = [SQL("SELECT pg_terminate_backend({}, 5000)").format(Literal(slot.pid))] if slot.pid else []
            drop = SQL("SELECT pg_drop_replication_slot({})").format(Literal(slot.name))
            yield Sql(SUPERUSER, f"dropping the slot {slot.name}", (*end, drop), atomic=False)
    yield from _forget(context)


def _until_others_may_lead(context: NodeContext) -> Iterator[Change]:
    """Wait until another node could take over with all commits, by what Patroni of all nodes knows.

    What the server says is ahead of that: Patroni writes it down a round later.
    """
    if context.agreed.leader != context.node.name:
        yield Wait("the store does not say at the moment that this node leads")
    others = upgrades_of_nodes.candidates(context.cluster)
    if others and context.agreed.may_lead.isdisjoint(others):
        yield Wait("another node is to have all commits first, and commits wait for none yet")


def _forget(context: NodeContext) -> Iterator[Change]:
    yield Remove(context.paths.patroni)
    yield Remove(context.failover_agent.stamp)
