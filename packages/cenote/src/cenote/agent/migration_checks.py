"""Answers whether the databases of a source can be migrated into a cluster of this host, and how."""

from __future__ import annotations

import asyncio

from cenote.agent.migration_target import MigrationTarget
from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import HostContext, NodeContext
from cenote.errors import CenoteError, Misconfigured, Unavailable
from cenote.host import control_file, extensions
from cenote.host.migration_source import Source
from cenote.host.source_answers import SourceProblem
from cenote.model.records import Cluster, Node
from cenote.rules import migration_checks
from cenote.rules.migration_checks import SourceServer, TargetServer
from cenote.security.sealing import Sealer
from cenote.stats.observer import MigrationCheck, MigrationQuestion

SECONDS = 20.0  # the asker gives up after twenty-five
_SERVER = """
SELECT current_setting('server_version_num')::int, datcollate,
    least(
        current_setting('max_logical_replication_workers')::int,
        current_setting('max_replication_slots')::int
    ),
    system_identifier, (SELECT sum(pg_database_size(oid)) FROM pg_database)::bigint
FROM pg_database, pg_control_system() WHERE datname = current_database()
"""
_MIB = 1024 * 1024


class MigrationChecks:
    def __init__(self, host: HostContext, sealer: Sealer) -> None:
        self._host, self._sealer = host, sealer

    async def check(self, cluster: Cluster, node: Node, question: MigrationQuestion) -> MigrationCheck:
        """Look at both sides; Unavailable when that takes too long."""
        data = self._host.layout.node(cluster.id, node.name).data
        context = NodeContext(cluster, node, self._host, data_version=control_file.major_version(data))
        try:
            source = Source(question.source, self._sealer.open(question.source.sealed_password))
            async with asyncio.timeout(SECONDS):
                found = await source.look()
                there = await _target(context, found, question)
        except SourceProblem as error:
            return MigrationCheck(problems=[error.message])
        except Misconfigured as error:
            raise Unavailable(error.message) from None
        except TimeoutError:
            raise Unavailable(
                f"The source was not looked at within {SECONDS:.0f} seconds; try again."
            ) from None
        except CenoteError as error:
            raise Unavailable(f"The server of this cluster does not answer: {error.message}") from None
        verdict = migration_checks.judge(found, there, question.ignored, full_identity=question.full_identity)
        return MigrationCheck(
            problems=list(verdict.problems),
            warnings=list(verdict.warnings),
            method=verdict.method,
            databases=list(verdict.databases),
        )


async def _target(context: NodeContext, source: SourceServer, question: MigrationQuestion) -> TargetServer:
    target = MigrationTarget(context, context.cluster.id)
    try:
        [(version, collation, workers, identifier, size)] = await target.session.rows(SUPERUSER, _SERVER)
        present = await target.databases()
        contents = {
            one.name: await target.contents(one.name)
            for one in migration_checks.wanted(source.databases, question.ignored)
            if one.name in present and one.name != SUPERUSER
        }
    finally:
        await target.close()
    binaries = context.server_binaries
    return TargetServer(
        version=version,
        newest=max(map(int, context.host.binaries), default=0),
        collation=collation,
        contents=contents,
        extensions=frozenset((*extensions.offered(binaries), "plpgsql")),
        workers=workers,
        free_mib=max(0, context.cluster.storage_mib - int(size) // _MIB),
        system_identifier=int(identifier),
    )
