"""The HTTP API: DigitalOcean's Databases API for PostgreSQL, and a few calls of our own below /v2/cenote.

A request reads the record from the store or writes it and waits, briefly, for the agent's word.  Nothing here
touches a machine.
"""

from cenote.api.app import create_app
from cenote.api.service import Settings

__all__ = ["Settings", "create_app"]
