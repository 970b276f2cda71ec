"""What an agent reports of a pass that takes long."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from cenote.agent import node_reports
from cenote.agent.node_pass import NodePass
from cenote.agent.node_reports import NodeReports
from cenote.model.paths import Layout
from cenote.model.status_records import NodeStatus
from cenote.store import HostStore, PrivateEtcd
from tests.integration.test_host_store import NOW, added, agent
from tests.support.etcd import opened_store, with_etcd
from tests.support.waiting import wait_until_async


def test_a_pass_that_takes_long_tells_nothing_of_servers_that_only_a_former_agent_has_seen(
    tmp_path: Path,
) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            async with agent(etcd) as host:
                cluster = await added(store, host)
                await host.report(cluster.id, "node-1", NodeStatus(reached=1, at=NOW))
                former = host.run

            def reported(host: HostStore) -> NodeStatus:
                found = host.status(cluster.id, "node-1")
                assert found is not None
                return found

            async with agent(etcd) as host:
                unused: Any = None  # no change is made
                node_pass = NodePass(unused, asyncio.Semaphore())
                reports = NodeReports(host, cluster.id, "node-1", Layout(tmp_path), node_pass, lambda: None)
                node_pass.progress.begin(2, ["roles"])
                async with reports.of_progress(2):
                    await asyncio.sleep(3 * node_reports.PROGRESS_INTERVAL)
                    assert (reported(host).run, reported(host).tried) == (former, 0)
                    await reports.write("PostgreSQL is restarting", waiting=True)
                    assert reported(host).run == host.run
                    node_pass.progress.done("roles")
                    seconds = 20 * node_reports.PROGRESS_INTERVAL
                    await wait_until_async("it is told", seconds, lambda: not reported(host).ahead)
                    assert reported(host).reason == "PostgreSQL is restarting"

    with_etcd(scenario)
