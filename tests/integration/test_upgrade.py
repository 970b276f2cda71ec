"""A data directory of a former version is taken over: nothing is lost, and no client notices."""

from __future__ import annotations

import asyncio
import os
import random

import pytest

from cenote.store.etcd_messages import TransactionRequest, put
from faults import upgrade
from tests.support import old_version
from tests.support.held import lost
from tests.support.service import Service, service

pytestmark = pytest.mark.long

CLUSTERS = 3  # 20 in make faults
KILLS = 2


@pytest.mark.parametrize("revision", [old_version.FIRST, old_version.LANDED])
def test_the_new_version_takes_over_what_a_former_one_has_made(revision: str) -> None:
    assert upgrade.taken_over(revision, CLUSTERS) == []


def test_the_way_back_leads_to_what_there_was() -> None:
    assert upgrade.taken_back(old_version.FIRST, 1) == []


def test_a_version_that_reads_the_records_goes_on_with_them_and_can_be_upgraded_again() -> None:
    assert upgrade.back_and_again(old_version.LANDED, 1) == []


def test_a_first_start_that_is_killed_loses_nothing() -> None:
    seed = os.environ.get("CENOTE_TEST_SEED") or os.urandom(4).hex()
    print(f"to kill at the same moments again: CENOTE_TEST_SEED={seed}")
    assert upgrade.killed_starts(old_version.LAST, 1, KILLS, random.Random(seed)) == []


def test_a_key_of_the_former_format_that_is_left_counts() -> None:
    async def left(running: Service) -> list[str]:
        async with running.etcd_client() as etcd:
            await etcd.transact(TransactionRequest([], [put("/cenote/names/shop", b"{}")], []))
        return await upgrade.former_keys(running)

    with service() as running:
        assert asyncio.run(upgrade.former_keys(running)) == []
        assert asyncio.run(left(running)) == ["names/shop is left"]


def test_what_is_missing_or_has_changed_counts_as_lost() -> None:
    before = {"pools": {"web": {"size": 2, "cenote": {"reason": "starts"}}}, "tags": ["one", "two"]}
    assert lost(before, {**before, "pools": {"web": {"size": 2, "mode": "session"}}, "more": 1}) == []
    assert lost(before, {**before, "pools": {"web": {"size": 3}}}) == ["/pools/web/size: 2 is 3"]
    assert lost(before, {**before, "pools": {}}) == [
        "/pools/web: {'size': 2, 'cenote': {'reason': 'starts'}} is None"
    ]
    assert lost(before, {**before, "tags": ["two"]}) == ["/tags: ['one', 'two'] is ['two']"]
