from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.store.encoding import NewerFormat, encode
from cenote.store.keys import Keys
from cenote.store.subscription import Changes
from cenote.store.tables import Tables
from tests.support.api import HOST
from tests.support.etcd import bare_cluster

KEYS = Keys("/cenote/")


@given(host=st.text(min_size=1), port=st.integers(1, 65535))
def test_a_claim_is_found_again_under_any_name_of_a_host(host: str, port: int) -> None:
    tables, owner = Tables(KEYS), uuid4()
    tables.put(KEYS.port(host, port), str(owner).encode(), 1)
    assert tables.ports == {host: {port: owner}}
    tables.remove(KEYS.port(host, port))
    assert tables.ports == {host: {}}


@given(name=st.text(min_size=1), other=st.text(min_size=1))
def test_two_names_never_share_a_key(name: str, other: str) -> None:
    assert (KEYS.name(name) == KEYS.name(other)) == (name == other)


def test_a_prefix_may_be_given_with_or_without_its_slash() -> None:
    assert Keys("/cenote").name("a") == KEYS.name("a")


def test_a_record_that_cannot_be_read_is_kept_as_it_last_could_be_and_named() -> None:
    tables, cluster = Tables(KEYS), bare_cluster("a", 25060)
    key = KEYS.cluster(cluster.id)
    tables.put(key, encode(cluster), 1)
    tables.put(key, b'{"name": 3}', 2)
    assert tables.clusters[cluster.id].value == cluster
    assert tables.unreadable == {key}
    tables.put(key, encode(cluster), 3)
    assert not tables.unreadable


@pytest.mark.parametrize("rest", ["clusters/no-uuid", "ports/here/many", "tokens/x"])
def test_a_key_that_makes_no_sense_is_named_and_can_be_removed(rest: str) -> None:
    tables = Tables(KEYS)
    tables.put(KEYS.prefix + rest, b"{}", 1)
    assert tables.unreadable == {KEYS.prefix + rest}
    tables.remove(KEYS.prefix + rest)
    assert not tables.unreadable


def test_a_rejected_request_that_cannot_be_read_is_left_out_and_stands_in_nobodys_way() -> None:
    tables = Tables(KEYS)
    tables.put(KEYS.refusal("1"), b'{"id": "1", "of": "another version"}', 1)
    assert tables.refusals == {}
    assert not tables.unreadable


def test_a_host_speaks_for_no_other_one() -> None:
    tables, host = Tables(KEYS), HOST
    tables.put(KEYS.host(host.id), encode(host), 1)
    tables.put(KEYS.host("liar"), encode(host), 2)
    assert tables.hosts == {host.id: host}
    assert not tables.unreadable


def test_a_record_of_a_newer_version_is_neither_kept_nor_taken_for_absent() -> None:
    tables, cluster = Tables(KEYS), bare_cluster("a", 25060)
    key = KEYS.cluster(cluster.id)
    tables.put(key, encode(cluster), 1)
    tables.put(key, b'{"format":99}', 2)
    assert not tables.unreadable
    for check in (tables.check_readable, tables.check_all_readable):
        with pytest.raises(NewerFormat, match=str(cluster.id)):
            check(key)
    tables.check_readable(KEYS.cluster(uuid4()))
    tables.check_all_readable(KEYS.tokens)
    tables.put(key, encode(cluster), 3)
    tables.check_all_readable(KEYS.clusters)
    assert tables.clusters[cluster.id].value == cluster


def test_keys_of_kinds_that_are_not_known_are_passed_over() -> None:
    tables = Tables(KEYS)
    tables.put(KEYS.mark("api", uuid4(), 1), b"\xff", 1)
    assert not tables.unreadable


def test_changes_begin_with_all_and_are_told_once_however_often_they_happen() -> None:
    async def scenario() -> None:
        first, second = uuid4(), uuid4()
        closed: list[Changes] = []
        told: list[UUID] = []
        with Changes([first], closed.append) as changes:
            changes.notify([second])
            changes.notify([second, first])
            told.append(await anext(changes))
            told.append(await anext(changes))
            waiting = asyncio.create_task(anext(changes))
            await asyncio.sleep(0)
            assert not waiting.done()
            changes.notify([first])
            assert await waiting == first
        assert told == [first, second]
        assert closed == [changes]
        with pytest.raises(StopAsyncIteration):
            await anext(changes)

    asyncio.run(scenario())
