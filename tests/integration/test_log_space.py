"""Logs that grow fast are shortened between passes."""

from __future__ import annotations

import asyncio

from cenote.engine.plan import log_space
from cenote.model.records import LogSource
from cenote.model.timing import Timing
from cenote.model.topology import writer_or_first
from tests.support.agent import agent_at_work
from tests.support.waiting import wait_until_async

MOST = log_space.KEPT + log_space.STEP + 2 * log_space.BLOCK
# No pass comes by itself while the test lasts.
TIMING = Timing(resync_interval=3600, resync_interval_nearly_full=3600, log_space_interval=0.1)


def test_a_log_that_grows_fast_is_shortened_without_a_pass() -> None:
    async def scenario() -> None:
        async with agent_at_work(TIMING, 1) as work:
            cluster = await work.cluster()
            paths = work.lab.executor.layout.node(cluster.id, writer_or_first(cluster).name)
            for source in LogSource:
                path = paths.log(source)
                for _ in range(3):
                    with path.open("ab") as log:
                        log.write(b"a line of a log that grows\n" * (2 * log_space.KEPT // 27))
                    await wait_until_async(
                        f"the log of {source} is short",
                        30,
                        lambda path=path: path.stat().st_blocks * 512 <= MOST,  # type: ignore[misc]
                    )
                assert path.stat().st_size > 6 * log_space.KEPT - 1000

    asyncio.run(scenario())
