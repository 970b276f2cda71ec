"""A service whose watch is held back never acknowledges or refuses anything on its old records."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from msgspec.structs import replace

from cenote.errors import Conflict, Invalid, NotFound
from cenote.model.event_records import Note
from cenote.model.groups import Project, Tag
from cenote.model.records import Cluster, Token
from cenote.store import NameTaken, Store, cache
from tests.support.etcd import Proxy, bare_cluster, opened_store, private_etcd, proxy
from tests.support.waiting import wait_until_async

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOTE = Note(what="a test")


def with_stale_store(scenario: Callable[[Store, Store, Proxy], Awaitable[None]]) -> None:
    """Run a test with a store, and with another one whose watch the proxy may hold back."""

    async def whole() -> None:
        async with (
            private_etcd() as etcd,
            proxy(etcd) as between,
            opened_store(etcd) as current,
            opened_store(between) as stale,
        ):
            await current.wait(lambda: current.connected or None, 10)
            await scenario(current, stale, between)
            between.holds_watches = False
            await wait_until_async("the cache is current", 10, lambda: stale.revision >= current.revision)
            assert stale.clusters() == current.clusters()
            assert stale.groups.tags() == current.groups.tags()
            assert stale.tokens() == current.tokens()

    asyncio.run(whole())


async def both_know(current: Store, stale: Store, between: Proxy, cluster: Cluster) -> None:
    await current.add_cluster(cluster)
    assert await stale.wait(lambda: stale.cluster(cluster.id), 10)
    between.holds_watches = True


def sized(size: int) -> Callable[[Cluster], Cluster]:
    def change(cluster: Cluster) -> Cluster:
        return cluster if cluster.storage_mib == size else replace(cluster, storage_mib=size)

    return change


def test_a_change_back_to_what_the_stale_cache_holds_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SEEN_SECONDS", 0.1)

    async def scenario(current: Store, stale: Store, between: Proxy) -> None:
        cluster = replace(bare_cluster("a", 25060), storage_mib=5)
        await both_know(current, stale, between, cluster)
        await current.update_cluster(cluster.id, sized(10))
        assert stale.cluster(cluster.id).value.storage_mib == 5  # type: ignore[union-attr]
        stored = await stale.update_cluster(cluster.id, sized(5))
        assert stored.value.storage_mib == 5
        assert await current.wait(
            lambda: ((found := current.cluster(cluster.id)) and found.value.storage_mib == 5) or None, 10
        )

    with_stale_store(scenario)


def test_a_change_that_finds_nothing_to_do_answers_with_what_etcd_has() -> None:
    async def scenario(current: Store, stale: Store, between: Proxy) -> None:
        cluster = replace(bare_cluster("a", 25060), storage_mib=5)
        await both_know(current, stale, between, cluster)
        written = await current.update_cluster(cluster.id, sized(10))
        assert await stale.update_cluster(cluster.id, lambda old: old) == written
        assert await stale.update_cluster(cluster.id, sized(10)) == written

    with_stale_store(scenario)


def test_changes_of_a_cluster_that_the_stale_cache_lacks_or_has_as_alive_are_judged_by_etcd(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache, "SEEN_SECONDS", 0.1)

    async def scenario(current: Store, stale: Store, between: Proxy) -> None:
        known, new = bare_cluster("a", 25060), bare_cluster("b", 25070)
        await both_know(current, stale, between, known)
        await current.add_cluster(new)
        await current.delete_cluster(known.id, NOW)
        assert (await stale.update_cluster(new.id, sized(7))).value.storage_mib == 7
        with pytest.raises(NotFound):
            await stale.update_cluster(known.id, lambda old: old)
        with pytest.raises(NotFound):
            await stale.delete_cluster(known.id, NOW)

    with_stale_store(scenario)


def test_a_refusal_that_rests_on_a_stale_record_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SEEN_SECONDS", 0.1)

    async def scenario(current: Store, stale: Store, between: Proxy) -> None:
        cluster = replace(bare_cluster("a", 25060), tags=("t",))
        await both_know(current, stale, between, cluster)
        await current.update_cluster(cluster.id, lambda old: replace(old, tags=()))

        def tagged(old: Cluster) -> Cluster:
            if "t" in old.tags:
                raise Invalid("t is there")
            return replace(old, tags=("t",))

        assert (await stale.update_cluster(cluster.id, tagged)).value.tags == ("t",)
        with pytest.raises(Invalid):
            await stale.update_cluster(cluster.id, tagged)

    with_stale_store(scenario)


def test_a_cluster_and_a_name_that_the_stale_cache_lacks_are_found_when_asked_for() -> None:
    async def scenario(current: Store, stale: Store, between: Proxy) -> None:
        known, new = bare_cluster("a", 25060), bare_cluster("b", 25070)
        await both_know(current, stale, between, known)
        await current.add_cluster(new)
        assert stale.cluster(new.id) is None
        assert await stale.confirm_cluster(new.id)
        assert stale.cluster(new.id) == current.cluster(new.id)
        assert not await stale.confirm_cluster(new.id)
        assert not await stale.confirm_cluster(uuid4())
        await current.delete_cluster(known.id, NOW)
        assert stale.cluster_by_name("a") is not None
        assert await stale.confirm_name("a")
        assert stale.cluster_by_name("a") is None
        with pytest.raises(NameTaken):
            await stale.add_cluster(bare_cluster("b", 25080))

    with_stale_store(scenario)


def test_a_cluster_that_was_made_and_forgotten_meanwhile_does_not_come_back() -> None:
    async def scenario(current: Store, stale: Store, between: Proxy) -> None:
        known, brief = bare_cluster("a", 25060), bare_cluster("b", 25070)
        await both_know(current, stale, between, known)
        await current.add_cluster(brief)
        assert await stale.confirm_cluster(brief.id)
        await current.forget_cluster(brief.id)
        assert await stale.confirm_cluster(brief.id)
        seen = []
        waiting = asyncio.create_task(
            stale.wait(
                lambda: seen.append(stale.cluster(brief.id)) or stale.revision >= current.revision or None,  # type: ignore[func-returns-value]
                10,
            )
        )
        between.holds_watches = False
        assert await waiting
        assert set(seen) == {None}

    with_stale_store(scenario)


def test_tokens_made_and_revoked_elsewhere_are_judged_by_etcd() -> None:
    async def scenario(current: Store, stale: Store, between: Proxy) -> None:
        await both_know(current, stale, between, bare_cluster("a", 25060))
        tokens = [Token(id=uuid4(), name=n, scopes=frozenset({"*"}), created_at=NOW) for n in ("a", "b")]
        for token in tokens:
            await current.add_token(token.name * 64, token)
        assert stale.token("a" * 64) is None
        assert await stale.confirm_token("a" * 64)
        assert stale.token("a" * 64) == tokens[0]
        assert not await stale.confirm_token("c" * 64)
        await current.revoke_token(tokens[0].id)
        with pytest.raises(NotFound):
            await stale.revoke_token(tokens[0].id)

    with_stale_store(scenario)


def test_a_token_that_the_stale_cache_lacks_is_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SEEN_SECONDS", 0.1)

    async def scenario(current: Store, stale: Store, between: Proxy) -> None:
        await both_know(current, stale, between, bare_cluster("a", 25060))
        token = Token(id=uuid4(), name="a", scopes=frozenset({"*"}), created_at=NOW)
        await current.add_token("a" * 64, token)
        await stale.revoke_token(token.id)
        assert await current.wait(lambda: current.token("a" * 64) is None or None, 10)

    with_stale_store(scenario)


def test_a_tag_that_is_wanted_and_was_removed_elsewhere_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SEEN_SECONDS", 0.1)

    async def scenario(current: Store, stale: Store, between: Proxy) -> None:
        def wanted(store: Store) -> Callable[[], Tag | None]:
            return lambda: None if Tag(name="t") in store.groups.tags() else Tag(name="t")

        await current.groups.put(wanted(current), NOTE)
        await both_know(current, stale, between, bare_cluster("a", 25060))
        await current.groups.remove(lambda: Tag(name="t"), NOTE)
        assert stale.groups.tags() == [Tag(name="t")]
        await stale.groups.put(wanted(stale), NOTE)
        assert await current.wait(lambda: current.groups.tags() == [Tag(name="t")] or None, 10)

    with_stale_store(scenario)


def test_a_project_is_judged_by_the_projects_and_clusters_that_etcd_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache, "SEEN_SECONDS", 0.1)

    async def scenario(current: Store, stale: Store, between: Proxy) -> None:
        cluster = bare_cluster("a", 25060)
        await both_know(current, stale, between, cluster)
        project = Project(id=uuid4(), name="p", created_at=NOW, updated_at=NOW)
        await current.groups.put(lambda: project, NOTE)

        def empty(store: Store) -> Callable[[], Project]:
            def decide() -> Project:
                found = store.groups.project(project.id)
                if found is None:
                    raise NotFound
                if any(one.value.project_id == found.id for one in store.clusters(deleted=False)):
                    raise Conflict("it has clusters")
                return found

            return decide

        await current.update_cluster(cluster.id, lambda old: replace(old, project_id=project.id))
        with pytest.raises(Conflict, match="it has clusters"):
            await stale.groups.remove(empty(stale), NOTE)
        await current.delete_cluster(cluster.id, NOW)
        await stale.groups.remove(empty(stale), NOTE)
        assert await current.wait(lambda: current.groups.project(project.id) is None or None, 10)
        with pytest.raises(NotFound):
            await stale.groups.remove(empty(stale), NOTE)

    with_stale_store(scenario)


def test_reads_that_find_something_ask_etcd_for_nothing() -> None:
    async def scenario(current: Store, stale: Store, between: Proxy) -> None:
        cluster = bare_cluster("a", 25060)
        await both_know(current, stale, between, cluster)
        before = between.requests
        for _ in range(100):
            assert stale.cluster(cluster.id)
            assert stale.cluster_by_name("a")
            assert stale.clusters(deleted=False)
        await asyncio.sleep(0.1)
        assert between.requests == before

    with_stale_store(scenario)
