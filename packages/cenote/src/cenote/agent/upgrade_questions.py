"""Answers whether a cluster of this host can be upgraded to another major version, while its server works."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace
from psycopg.sql import SQL

from cenote.agent.node_pass import session_of
from cenote.conf.hba import SUPERUSER
from cenote.engine.look.major_upgrade import statements_version
from cenote.engine.plan import major_upgrade, system_objects
from cenote.engine.plan.context import HostContext, NodeContext
from cenote.errors import CenoteError
from cenote.host import control_file, upgrade_checks
from cenote.host.executor import Executor
from cenote.host.sql import Session
from cenote.model.changes import EndProcesses, MakeDirectory, Remove, Sql
from cenote.model.records import Cluster, MajorUpgrade, Node
from cenote.model.topology import has_standbys
from cenote.stats.observer import UpgradeProblems

SECONDS = 8.0  # the asker gives up after ten


class UpgradeQuestions:
    def __init__(self, executor: Executor, host: HostContext) -> None:
        self._executor, self._host = executor, host

    async def problems(self, cluster: Cluster, node: Node, version: str) -> UpgradeProblems:
        """Return what is in the way of an upgrade; ``is_known`` is False when there was no time to look."""
        data = self._host.layout.node(cluster.id, node.name).data
        context = NodeContext(
            _marked(cluster, node), node, self._host, data_version=control_file.major_version(data)
        )
        session = session_of(context)
        try:
            with upgrade_checks.checking(context.paths) as folder:
                async with asyncio.timeout(SECONDS):
                    found = await upgrade_checks.hindrances(context, session, version)
                    if not found:
                        found = await self._dry_run(context, session, version, folder)
            return UpgradeProblems(problems=list(found))
        except TimeoutError:
            return UpgradeProblems(is_known=False)
        finally:
            await session.close()

    async def _dry_run(
        self, context: NodeContext, session: Session, version: str, folder: Path
    ) -> tuple[str, ...]:
        """Return what ``pg_upgrade --check`` finds beside the server."""
        data = upgrade_checks.data_of(folder)
        try:
            await self._executor.do(MakeDirectory(folder, 0o700, context.host.server_ids), session)
            statements = await statements_version(session)
            await self._executor.do(major_upgrade.empty_data(context, version, statements, data), session)
            await self._executor.do(_template(system_objects.OPEN_TEMPLATE), session)
            program = major_upgrade.check_program(context, version, data)
            said = await upgrade_checks.run(program.argv, folder, self._executor.account)
            if major_upgrade.COMPATIBLE in said:
                return ()
            return (major_upgrade.reason_of(upgrade_checks.with_details(said, data)),)
        finally:
            await asyncio.shield(self._clean_up(context, folder, data))

    async def _clean_up(self, context: NodeContext, folder: Path, data: Path) -> None:
        session = session_of(context)  # the other one may be in the middle of a query
        try:
            await self._executor.do(_template(system_objects.CLOSE_TEMPLATE), session)
        except CenoteError:
            return  # the folder stays, and a pass does the same
        finally:
            await session.close()
        for path in (folder, data):
            await self._executor.do(EndProcesses(path), session)
        for path in (data, folder):
            await self._executor.do(Remove(path), session)


def _marked(cluster: Cluster, node: Node) -> Cluster:
    """Return the cluster as it would be while this node's data are upgraded: without Patroni."""
    if not has_standbys(cluster):
        return cluster
    mark = MajorUpgrade(source=cluster.version, asked_at=datetime.now(UTC), node=node.name)
    return replace(cluster, major_upgrade=mark)


def _template(statement: str) -> Sql:
    return Sql(SUPERUSER, "opening or closing database template1", (SQL(statement),))
