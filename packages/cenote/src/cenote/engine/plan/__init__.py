"""The planning halves of the parts: pure functions from the desired state and what was seen to changes."""

from cenote.engine.plan import (
    certificate,
    databases,
    disconnect,
    folders,
    grants,
    log_positions,
    log_space,
    outdated_binaries,
    pooler,
    pooler_access,
    postgresql,
    removal,
    restart,
    roles,
)

__all__ = [
    "certificate",
    "databases",
    "disconnect",
    "folders",
    "grants",
    "log_positions",
    "log_space",
    "outdated_binaries",
    "pooler",
    "pooler_access",
    "postgresql",
    "removal",
    "restart",
    "roles",
]
