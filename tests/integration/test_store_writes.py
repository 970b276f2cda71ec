from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
import pytest

from cenote.errors import Conflict, Invalid, NotFound
from cenote.model.records import Cluster, Node, Token
from cenote.model.status_records import NodeStatus
from cenote.store import NameTaken, PortTaken, Store
from cenote.store.process import PrivateEtcd
from tests.support.etcd import bare_cluster, opened_store, with_etcd
from tests.support.hosts import hosts_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def with_tag(cluster: Cluster, tag: str) -> Cluster:
    if tag in cluster.tags:
        raise Invalid(f"{tag} is there")
    return msgspec.structs.replace(cluster, tags=(*cluster.tags, tag))


def test_what_was_written_is_read_at_once() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            cluster = bare_cluster("a", 25060)
            revision = await store.add_cluster(cluster)
            assert store.cluster(cluster.id) == store.cluster_by_name("a")
            assert store.ports("here") == {25060, 25061}
            stored = await store.update_cluster(cluster.id, lambda old: with_tag(old, "t"))
            assert stored.revision > revision
            assert store.cluster(cluster.id) == stored
            assert stored.value.tags == ("t",)

    with_etcd(scenario)


def test_a_name_is_free_when_its_cluster_is_deleted_and_ports_when_it_is_forgotten() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store, hosts_of(etcd, store) as hosts:
            old = bare_cluster("a", 25060)
            await store.add_cluster(old)
            with pytest.raises(NameTaken):
                await store.add_cluster(bare_cluster("a", 25070))
            deleted = await store.delete_cluster(old.id, NOW)
            assert deleted.value.deleted_at == NOW
            assert store.cluster_by_name("a") is None
            assert store.clusters(deleted=False) == []
            assert store.clusters() == [deleted]
            with pytest.raises(PortTaken) as taken:
                await store.add_cluster(bare_cluster("a", 25061))
            assert taken.value.host == "here"
            assert taken.value.ports == frozenset({25061})
            new = bare_cluster("a", 25070)
            await store.add_cluster(new)
            await hosts.report(old.id, "node-1", NodeStatus(reached=1, at=NOW))
            await store.forget_cluster(old.id)
            await store.forget_cluster(old.id)
            assert store.cluster(old.id) is None
            stone = store.tombstone(old.id)
            assert stone is not None
            assert stone.name == "a"
            assert store.status(old.id, "node-1") is None
            assert store.ports("here") == {25070, 25071}
            found = store.cluster_by_name("a")
            assert found is not None
            assert found.value == new

    with_etcd(scenario)


def test_a_refused_cluster_leaves_nothing_behind() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            await store.add_cluster(bare_cluster("a", 25060))
            with pytest.raises(PortTaken):
                await store.add_cluster(bare_cluster("b", 25061))
            assert store.ports("here") == {25060, 25061}
            await store.add_cluster(bare_cluster("b", 25061, host="there"))

    with_etcd(scenario)


def test_the_same_record_is_not_added_twice() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            cluster = bare_cluster("a", 25060)
            await store.add_cluster(cluster)
            with pytest.raises(Conflict):
                await store.add_cluster(cluster)
            await store.delete_cluster(cluster.id, NOW)
            with pytest.raises(Conflict):
                await store.add_cluster(cluster)

    with_etcd(scenario)


def test_of_many_that_want_one_name_and_one_port_one_gets_them() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as first, opened_store(etcd) as second:
            wanted = [bare_cluster("a", 25060) for _ in range(20)]
            outcomes = await asyncio.gather(
                *((first, second)[number % 2].add_cluster(cluster) for number, cluster in enumerate(wanted)),
                return_exceptions=True,
            )
            assert sum(isinstance(outcome, int) for outcome in outcomes) == 1
            assert sum(isinstance(outcome, NameTaken) for outcome in outcomes) == 19
            assert len(first.clusters()) == 1

    with_etcd(scenario)


def test_changes_by_two_services_at_once_are_all_kept() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as first, opened_store(etcd) as second:
            cluster = bare_cluster("a", 25060)
            await first.add_cluster(cluster)

            async def add(store: Store, tag: str) -> None:
                stored = await store.update_cluster(cluster.id, lambda old: with_tag(old, tag))
                assert tag in stored.value.tags

            tags = [str(number) for number in range(40)]
            await asyncio.gather(*(add((first, second)[int(tag) % 2], tag) for tag in tags))
            stored = await first.update_cluster(cluster.id, lambda old: old)
            assert sorted(stored.value.tags) == sorted(tags)

    with_etcd(scenario)


def test_a_second_service_sees_what_the_first_one_did() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as first, opened_store(etcd) as second:
            cluster = bare_cluster("a", 25060)
            await first.add_cluster(cluster)
            seen = await second.wait(lambda: second.cluster_by_name("a"), 10)
            assert seen == first.cluster(cluster.id)
            await first.forget_cluster(cluster.id)
            assert await second.wait(lambda: second.cluster(cluster.id) is None or None, 10)
            assert second.ports("here") == set()
            assert second.cluster_by_name("a") is None

    with_etcd(scenario)


def test_a_refusal_never_rests_on_what_another_service_has_changed_since() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as first, opened_store(etcd) as second:
            cluster = bare_cluster("a", 25060)
            for number in range(20):
                await first.add_cluster(cluster)
                # The second store may not have seen the record yet, and must not say that there is none.
                await second.update_cluster(cluster.id, lambda old: with_tag(old, "t"))
                await first.forget_cluster(cluster.id)
                with pytest.raises(NotFound):
                    await second.update_cluster(cluster.id, lambda old: with_tag(old, "u"))
                cluster = bare_cluster(f"a{number}", 25060)

    with_etcd(scenario)


def test_a_change_that_is_refused_or_changes_nothing_writes_nothing() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            cluster = bare_cluster("a", 25060)
            await store.add_cluster(cluster)
            await store.update_cluster(cluster.id, lambda old: with_tag(old, "t"))
            before = store.cluster(cluster.id)
            with pytest.raises(Invalid, match="t is there"):
                await store.update_cluster(cluster.id, lambda old: with_tag(old, "t"))
            assert await store.update_cluster(cluster.id, lambda old: old) == before

    with_etcd(scenario)


def test_a_cluster_that_is_gone_or_deleted_cannot_be_changed() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            cluster = bare_cluster("a", 25060)
            await store.add_cluster(cluster)
            await store.delete_cluster(cluster.id, NOW)
            for id in (cluster.id, uuid4()):
                with pytest.raises(NotFound):
                    await store.update_cluster(id, lambda old: with_tag(old, "t"))
                with pytest.raises(NotFound):
                    await store.delete_cluster(id, NOW)

    with_etcd(scenario)


def test_ports_of_a_node_that_joins_are_claimed_and_kept_until_the_cluster_is_forgotten() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            cluster, other = bare_cluster("a", 25060), bare_cluster("b", 25060, host="there")
            await store.add_cluster(cluster)
            await store.add_cluster(other)

            def with_node(old: Cluster, port: int) -> Cluster:
                node = Node(name="node-2", host="there", port=port, pool_port=port + 1)
                return msgspec.structs.replace(old, nodes=(*old.nodes, node))

            with pytest.raises(PortTaken):
                await store.update_cluster(cluster.id, lambda old: with_node(old, 25061))
            await store.update_cluster(cluster.id, lambda old: with_node(old, 25062))
            assert store.ports("there") == {25060, 25061, 25062, 25063}
            await store.update_cluster(
                cluster.id, lambda old: msgspec.structs.replace(old, nodes=old.nodes[:1])
            )
            assert store.ports("there") == {25060, 25061, 25062, 25063}
            await store.forget_cluster(cluster.id)
            assert store.ports("there") == {25060, 25061}
            assert store.ports("here") == set()

    with_etcd(scenario)


def test_a_report_is_written_only_when_it_says_something_new() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store, hosts_of(etcd, store) as hosts:
            cluster = bare_cluster("a", 25060)
            await store.add_cluster(cluster)
            first = NodeStatus(reached=1, reason="starting", at=NOW)
            await hosts.report(cluster.id, "node-1", first)
            revision = store.revision
            await hosts.report(cluster.id, "node-1", msgspec.structs.replace(first, at=datetime.now(UTC)))
            assert store.revision == revision
            run = (await hosts.agent("here")).run
            assert store.status(cluster.id, "node-1") == msgspec.structs.replace(first, run=run)
            await hosts.report(cluster.id, "node-1", msgspec.structs.replace(first, reason=""))
            assert store.revision > revision

    with_etcd(scenario)


def test_a_report_on_a_forgotten_cluster_leaves_nothing_behind() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store, hosts_of(etcd, store) as hosts:
            agent, id = await hosts.agent("here"), uuid4()
            await agent.report(id, "node-1", NodeStatus(reached=1, at=NOW))
            assert agent.status(id, "node-1") is None
            assert store.status(id, "node-1") is None

    with_etcd(scenario)


def test_tokens_are_found_by_their_hash_until_they_are_revoked() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            tokens = [
                Token(id=uuid4(), name=name, scopes=frozenset({"database:read"}), created_at=NOW)
                for name in ("a", "b")
            ]
            for token in tokens:
                await store.add_token(token.name * 64, token)
            assert store.token("a" * 64) == tokens[0]
            assert store.tokens() == tokens
            await store.revoke_token(tokens[0].id)
            assert store.token("a" * 64) is None
            with pytest.raises(NotFound):
                await store.revoke_token(tokens[0].id)

    with_etcd(scenario)


def test_clusters_are_found_by_tag() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            for number, tags in enumerate([("x",), ("x", "y"), ()]):
                cluster = bare_cluster(f"c{number}", 25060 + 2 * number)
                await store.add_cluster(msgspec.structs.replace(cluster, tags=tags))
            assert {stored.value.name for stored in store.clusters(tag="x")} == {"c0", "c1"}

    with_etcd(scenario)


def test_two_prefixes_on_one_etcd_know_nothing_of_each_other() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd, "/one/") as one, opened_store(etcd, "/two") as two:
            await one.add_cluster(bare_cluster("a", 25060))
            await two.add_cluster(bare_cluster("a", 25060))
            assert len(one.clusters()) == len(two.clusters()) == 1

    with_etcd(scenario)


def test_changes_tell_of_all_clusters_and_then_of_each_that_changes_or_goes() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with (
            opened_store(etcd) as store,
            opened_store(etcd) as other,
            hosts_of(etcd, other) as hosts,
        ):
            first, second = bare_cluster("a", 25060), bare_cluster("b", 25070)
            await store.add_cluster(first)

            async def told() -> UUID:
                return await asyncio.wait_for(anext(changes), 10)

            with store.changes() as changes:
                assert await told() == first.id
                await other.add_cluster(second)
                assert await told() == second.id
                await hosts.report(second.id, "node-1", NodeStatus(reached=1, at=NOW))
                await other.forget_cluster(first.id)
                assert await told() == first.id
                assert store.cluster(first.id) is None

    with_etcd(scenario)


def test_waiting_ends_with_the_change_that_is_waited_for_or_with_nothing() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store, hosts_of(etcd, store) as hosts:
            cluster = bare_cluster("a", 25060)
            waiting = asyncio.create_task(store.wait(lambda: store.status(cluster.id, "node-1"), 10))
            await store.add_cluster(cluster)
            assert not waiting.done()
            await hosts.report(cluster.id, "node-1", NodeStatus(reached=1, at=NOW))
            found = await waiting
            assert found is not None
            assert found.reached == 1
            assert await store.wait(lambda: store.cluster_by_name("never"), 0.05) is None

    with_etcd(scenario)


def test_what_is_refused_does_not_wait_for_the_changes_of_others() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            cluster = bare_cluster("a", 25060)
            await store.add_cluster(cluster)

            def refused(_: Cluster) -> Cluster:
                raise Invalid("no")

            async with store._locks.setdefault(cluster.id, asyncio.Lock()):  # as a queue of others has it
                with pytest.raises(Invalid):
                    await store.update_cluster(cluster.id, refused)
                with pytest.raises(NotFound):
                    await store.update_cluster(uuid4(), refused)
                changing = asyncio.create_task(
                    store.update_cluster(cluster.id, lambda found: with_tag(found, "later"))
                )
                await asyncio.sleep(0)
                assert not changing.done()
            assert (await changing).value.tags == ("later",)

    with_etcd(scenario)
