"""The looking halves of the parts: they ask the machine what is there, and change nothing."""

from cenote.engine.look import (
    certificate,
    databases,
    disconnect,
    folders,
    grants,
    loaded,
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
    "loaded",
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
