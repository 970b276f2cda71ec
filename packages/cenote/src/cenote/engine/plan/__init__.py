"""The planning halves of the parts: pure functions from the desired state and what was seen to changes."""

from cenote.engine.plan import (
    certificate,
    databases,
    disconnect,
    dropped_databases,
    dropped_roles,
    folders,
    grants,
    lock_out,
    log_positions,
    log_space,
    outdated_binaries,
    pooler,
    postgresql,
    removal,
    restart,
    roles,
)

__all__ = [
    "certificate",
    "databases",
    "disconnect",
    "dropped_databases",
    "dropped_roles",
    "folders",
    "grants",
    "lock_out",
    "log_positions",
    "log_space",
    "outdated_binaries",
    "pooler",
    "postgresql",
    "removal",
    "restart",
    "roles",
]
