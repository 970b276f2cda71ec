"""Settings in a record that its server does not accept, as a record of an older version may have them."""

from __future__ import annotations

import os
import signal

from msgspec.structs import replace

from cenote.host.inspector import Inspector
from cenote.model import parameters
from cenote.model.records import Cluster, Configuration, Value
from cenote.rules import refused_settings
from tests.support.agent import POOL, Agents, AtWork, answers, ask, running
from tests.support.lab import Lab, Share
from tests.support.waiting import wait_until_async

# No build of PostgreSQL has these.
UNKNOWN: dict[str, Value] = {"default_toast_compression": "zip", "track_functions": "some"}
OUT_OF_RANGE: dict[str, Value] = {"autovacuum_max_workers": 1_000_000_000}  # taken by a restart only


async def chosen(at: AtWork, cluster: Cluster, **settings: Value) -> Cluster:
    return await at.settled(await at.change(cluster, configuration=Configuration(postgresql=settings)))


def test_a_refused_setting_is_reported_and_the_others_come_into_force(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await chosen(at, await at.cluster(), work_mem=7, **UNKNOWN, **OUT_OF_RANGE)
        known = at.status(cluster)
        assert known.refused == {**UNKNOWN, "autovacuum_max_workers": "1000000000"}
        assert not known.failing
        assert await ask(cluster, "SHOW work_mem", pool=None) == "7MB"
        assert refused_settings.refusals(cluster, known)[0].startswith("PostgreSQL does not accept ")

    agents.run(scenario)


def test_a_server_with_a_refused_setting_starts_again(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await chosen(at, await at.cluster(), work_mem=7, **UNKNOWN, **OUT_OF_RANGE)
        content = at.lab.wanted(cluster).paths.data / "postgresql.conf"
        await wait_until_async(
            "the file is without them", 60, lambda: "'zip'" not in content.read_text(encoding="utf-8")
        )
        before = running(at.server(cluster))
        os.kill(before.pid, signal.SIGKILL)
        await at.other_than(before, at.server(cluster))
        await wait_until_async("the pool answers", 60, lambda: answers(cluster))
        assert await ask(cluster, "SHOW work_mem", pool=None) == "7MB"
        assert at.status(cluster).refused.keys() == {*UNKNOWN, *OUT_OF_RANGE}

    agents.run(scenario)


def test_a_server_that_never_ran_with_a_refused_setting_starts_without_it(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        plain = at.lab.new_cluster()
        cluster = replace(
            plain, pools=(POOL,), configuration=Configuration(postgresql={"work_mem": 7, **UNKNOWN})
        )
        await at.store.add_cluster(cluster)
        cluster = await at.settled(cluster)
        assert at.status(cluster).refused == UNKNOWN
        assert await ask(cluster, "SHOW work_mem", pool=None) == "7MB"

    agents.run(scenario)


def test_another_value_of_a_refused_setting_is_written_and_a_default_is_forgotten(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await chosen(at, await at.cluster(), **UNKNOWN)
        cluster = await chosen(at, cluster, default_toast_compression="pglz", track_functions="some")
        assert at.status(cluster).refused == {"track_functions": "some"}
        cluster = await chosen(at, cluster)
        assert at.status(cluster).refused == {}
        assert await ask(cluster, "SHOW track_functions", pool=None) == "none"

    agents.run(scenario)


def test_a_server_is_asked_what_it_takes_and_this_one_takes_all_that_is_offered(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = replace(lab.new_cluster())
        await lab.converge(cluster)
        session = lab.session(cluster)
        try:
            server = lab.wanted(cluster).server
            found = await Inspector().limits(server, running(server), session)
        finally:
            await session.close()
        assert found["default_toast_compression"].choices == ("pglz", "lz4")
        assert (found["work_mem"].unit, found["work_mem"].minimum) == ("kB", "64")
        assert parameters.limits(found) == {}

    labs(scenario)
