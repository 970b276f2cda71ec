"""The HTTP API: DigitalOcean's Databases API for PostgreSQL, and extensions under ``/v2/cenote``.

A request reads records, or writes them and waits briefly for the agent to apply them.  Nothing here has side
effects on a host.
"""

from cenote.api.app import create_app
from cenote.api.service import Settings

__all__ = ["Settings", "create_app"]
