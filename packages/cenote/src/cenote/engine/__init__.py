"""Bringing one node closer to what is wanted: the parts of a node, in the order in which they are made.

Each part has ``look`` (ask the machine; what is there now), and ``plan`` (pure: the changes that lead from
there to what is wanted; nothing when it is there).  Every pass begins by looking, so a crash between any two
changes needs no repair.
"""

from __future__ import annotations

from types import ModuleType

from cenote.engine import (
    databases,
    disconnect,
    folders,
    grants,
    outdated_binaries,
    pooler,
    restart,
    roles,
    server,
    sinks,
    tls,
)

# PgBouncer comes after these: a pool is answered for only when the role and the database behind it are there.
# Connections are judged at the end, when both servers let nobody else in any more.
PARTS: tuple[ModuleType, ...] = (
    folders,
    sinks,
    tls,
    server,
    restart,
    outdated_binaries,
    roles,
    databases,
    grants,
    pooler,
    disconnect,
)

# What cannot be done here, because a customer's session holds a lock on it, holds up none of the other parts.
ASIDE = (roles, databases, grants)
