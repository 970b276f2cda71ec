"""A server as former versions made it: system objects where customers' tools found them."""

from __future__ import annotations

from typing import LiteralString

from cenote.model.records import Cluster
from tests.support.lab import Lab

_IN_POSTGRES: tuple[LiteralString, ...] = (
    "DROP EXTENSION IF EXISTS pg_stat_statements",  # it was in copies of template1 only
    "ALTER EXTENSION plpgsql DROP FUNCTION cenote.refuse()",
    "DROP FUNCTION cenote.refuse() CASCADE",
    "ALTER EXTENSION plpgsql DROP TABLE cenote.made",
    "ALTER EXTENSION plpgsql DROP SCHEMA cenote",
    "REVOKE USAGE ON SCHEMA cenote FROM PUBLIC",
    "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC",
    "ALTER DATABASE template1 ALLOW_CONNECTIONS true",
    "DELETE FROM cenote.made WHERE kind = 'layout'",
)
# Beside the privilege that pg_dump sees, one that a preset has granted.
_EVERYWHERE: tuple[LiteralString, ...] = (
    "ALTER EXTENSION pg_stat_statements SET SCHEMA public",
    "REVOKE ALL ON FUNCTION public.pg_stat_statements_reset FROM doadmin",
    "ALTER EXTENSION pg_stat_statements DROP FUNCTION public.pg_stat_statements_reset",
    "ALTER EXTENSION pg_stat_statements ADD FUNCTION public.pg_stat_statements_reset",
    "GRANT EXECUTE ON FUNCTION public.pg_stat_statements_reset TO doadmin",
)


async def bring_back(lab: Lab, cluster: Cluster, *databases: str) -> None:
    """Bring the server of a cluster to the former layout, with these databases and the template."""
    for statement in _IN_POSTGRES:
        await lab.run(cluster, statement)
    for database in ("template1", *databases):
        for statement in _EVERYWHERE:
            await lab.run(cluster, statement, database)
