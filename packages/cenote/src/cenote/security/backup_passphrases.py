"""The passphrase that the backups of a cluster are encrypted with: drawn once, and never changed."""

from __future__ import annotations

import secrets

from cenote.model.record import Secret
from cenote.model.records import BackupPlan
from cenote.security.sealing import Sealer

BYTES = 32


def new_plan(sealer: Sealer) -> BackupPlan:
    """Return a plan with a new passphrase, sealed by ring ``host``, which the agents open."""
    return BackupPlan(sealed_passphrase=sealer.seal(Secret(secrets.token_urlsafe(BYTES))))
