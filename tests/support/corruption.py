"""Ways to corrupt a backup on purpose: in the repository, or in the data before they are backed up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import LiteralString

import msgspec
from psycopg.sql import SQL

from cenote.model.backups import BackupReport, Drill
from cenote.model.records import Cluster
from cenote.model.timing import Timing
from cenote.security.backup_passphrases import new_plan
from tests.support.agent import AtWork
from tests.support.waiting import wait_until_async

SECONDS = 300
TIMING = Timing(
    backup_poll_interval=0.2, backup_retry_first=0.5, backup_progress_interval=0.2, drill_retry=0.5
)
PAGE = 8192
_HEADER = 24  # bytes of a page before its line pointers
TABLES = (
    "CREATE TABLE public.parts AS SELECT g AS id, repeat('piece', 20) || g AS name"
    " FROM generate_series(1, 2000) AS g",
    "ALTER TABLE public.parts ADD PRIMARY KEY (id)",
    "CREATE TABLE public.others AS SELECT g + 100000 AS id, repeat('other', 20) || g AS name"
    " FROM generate_series(1, 2000) AS g",
    "ALTER TABLE public.others ADD PRIMARY KEY (id)",
    "CREATE TABLE public.plain AS SELECT g AS id, repeat('plain', 20) AS name"
    " FROM generate_series(1, 2000) AS g",
    "DELETE FROM public.plain WHERE id % 3 = 0",  # for a free space map
)


async def prepared(agent: AtWork) -> Cluster:
    """Return a cluster with tables that were vacuumed, and a first backup."""
    cluster = await agent.cluster(backups=new_plan(agent.lab.sealer), pools=())
    for statement in TABLES:
        await execute(agent, cluster, statement)
    await execute(agent, cluster, "VACUUM ANALYZE public.parts, public.others, public.plain")
    await wait_until_async("it is backed up", SECONDS, lambda: len(report(agent, cluster).backups) > 0)
    return cluster


async def execute(agent: AtWork, cluster: Cluster, statement: LiteralString) -> None:
    session = agent.lab.session(cluster)
    try:
        await session.run("defaultdb", "a step of a test", (SQL(statement),), False)
    finally:
        await session.close()


def report(agent: AtWork, cluster: Cluster) -> BackupReport:
    return agent.status(cluster).backups or BackupReport()


async def backed_up_again(agent: AtWork, cluster: Cluster) -> None:
    """Have a further backup made, of what has changed."""
    before = len(report(agent, cluster).backups)
    await asyncio.sleep(1.1)  # files are told apart by whole seconds
    await ask(agent, cluster, "asked_at")
    await wait_until_async(
        "it is backed up again", SECONDS, lambda: len(report(agent, cluster).backups) > before
    )


async def drilled(agent: AtWork, cluster: Cluster) -> Drill:
    """Have a drill made, and return its result; one beside a backup of the schedule is asked for again."""
    asked = await ask(agent, cluster, "drill_asked_at")

    async def result() -> Drill | None:
        nonlocal asked
        seen = report(agent, cluster)
        if seen.undrilled and (seen.undrilled_at or asked) >= asked:
            assert "meanwhile" in seen.undrilled, seen.undrilled
            asked = await ask(agent, cluster, "drill_asked_at")
        return seen.drill if seen.drill is not None and seen.drill.started_at >= asked else None

    found = await wait_until_async("the drill has a result", SECONDS, result)
    assert found is not None
    return found


async def ask(agent: AtWork, cluster: Cluster, field: str) -> datetime:
    """Ask for a backup or a drill, by the name of the field of the record; return when."""
    stored = agent.store.cluster(cluster.id)
    assert stored is not None
    assert stored.value.backups is not None
    now = datetime.now(UTC)
    await agent.change(cluster, backups=msgspec.structs.replace(stored.value.backups, **{field: now}))
    return now


# -- The ways


async def heap_page(agent: AtWork, cluster: Cluster) -> None:
    """A row's line pointer leads out of its page; the page's checksum is right."""
    path = await _file(agent, cluster, "parts")

    def spoil(page: bytearray) -> None:
        page[_HEADER : _HEADER + 4] = (0x1FFF | 1 << 15 | 90 << 17).to_bytes(4, "little")

    _change_page(path, 1, spoil, right=True)
    await backed_up_again(agent, cluster)


async def index_page(agent: AtWork, cluster: Cluster) -> None:
    """Entries of an index are out of order; the page's checksum is right."""
    path = await _file(agent, cluster, "parts_pkey")

    def spoil(page: bytearray) -> None:
        first, other = slice(_HEADER + 8, _HEADER + 12), slice(_HEADER + 400, _HEADER + 404)
        page[first], page[other] = page[other], page[first]

    _change_page(path, 1, spoil, right=True)
    await backed_up_again(agent, cluster)


async def truncated_file(agent: AtWork, cluster: Cluster) -> None:
    """A table has lost its last pages."""
    path = await _file(agent, cluster, "plain")
    with path.open("r+b") as stream:
        stream.truncate(3 * PAGE)
    await backed_up_again(agent, cluster)


async def swapped_files(agent: AtWork, cluster: Cluster) -> None:
    """Two tables of the same kind have one another's pages, with right checksums."""
    one, two = [await _file(agent, cluster, name) for name in ("parts", "others")]
    contents = one.read_bytes(), two.read_bytes()
    for path, content in zip((two, one), contents, strict=True):
        with path.open("r+b") as stream:
            stream.write(content)
            stream.truncate()
    await backed_up_again(agent, cluster)


async def missing_wal(agent: AtWork, cluster: Cluster) -> None:
    """A segment that is needed is not in the archive any more."""
    names = []
    for _ in range(3):
        await agent.lab.rows(cluster, "SELECT pg_logical_emit_message(true, 'test', 'x')")
        [(name,)] = await agent.lab.rows(cluster, "SELECT pg_walfile_name(pg_switch_wal())")
        names.append(name)
        pattern = f"archive/{cluster.id}/*/*/{name}-*"
        await wait_until_async("it is archived", SECONDS, lambda: any(agent.lab.repository.glob(pattern)))  # noqa: B023
    [path] = agent.lab.repository.glob(f"archive/{cluster.id}/*/*/{names[1]}-*")
    path.unlink()


async def wrong_key(agent: AtWork, cluster: Cluster) -> None:
    """The record has a passphrase that the backups were not encrypted with."""
    await agent.change(cluster, backups=new_plan(agent.lab.sealer))
    await agent.settled(cluster)


async def manifest(agent: AtWork, cluster: Cluster) -> None:
    """The list of a backup's files, and the copy of it, are damaged."""
    for path in _newest(agent, cluster).glob("backup.manifest*"):
        _flip(path)


async def bundle(agent: AtWork, cluster: Cluster) -> None:
    """What the repository has stored of the data is damaged."""
    _flip(_largest(_newest(agent, cluster)))


async def free_space_map(agent: AtWork, cluster: Cluster) -> None:
    """A page of a free space map is damaged, and its checksum tells that."""
    heap = await _file(agent, cluster, "plain")
    path = heap.with_name(f"{heap.name}_fsm")

    def spoil(page: bytearray) -> None:
        page[100:104] = b"\xff\xfe\xfd\xfc"

    _change_page(path, 0, spoil, right=False)
    await backed_up_again(agent, cluster)


async def empty_file(agent: AtWork, cluster: Cluster) -> None:
    """A file of the repository is empty, as a disk that was full leaves it."""
    _largest(_newest(agent, cluster)).write_bytes(b"")


Way = Callable[[AtWork, Cluster], Awaitable[None]]
# Each with the check that finds it.
WAYS: dict[str, tuple[Way, str]] = {
    "heap page": (heap_page, "amcheck"),
    "index page": (index_page, "amcheck"),
    "truncated file": (truncated_file, "sizes"),
    "swapped files": (swapped_files, "amcheck"),
    "missing WAL": (missing_wal, "archive"),
    "wrong key": (wrong_key, "key"),
    "manifest": (manifest, "restore"),
    "bundle": (bundle, "restore"),
    "free space map": (free_space_map, "pages"),
    "empty file": (empty_file, "restore"),
}


def _newest(agent: AtWork, cluster: Cluster) -> Path:
    return agent.lab.repository / "backup" / str(cluster.id) / report(agent, cluster).backups[-1].label


def _largest(backup: Path) -> Path:
    return max((path for path in backup.rglob("*.zst")), key=lambda path: path.stat().st_size)


def _flip(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(path.stat().st_size // 2)
        found = stream.read(4)
        stream.seek(path.stat().st_size // 2)
        stream.write(bytes(byte ^ 0xFF for byte in found))


async def _file(agent: AtWork, cluster: Cluster, relation: str) -> Path:
    """Return the file of a relation, with all that is in memory written to it."""
    await execute(agent, cluster, "CHECKPOINT")
    [(path,)] = await agent.lab.rows(
        cluster, f"SELECT pg_relation_filepath('public.{relation}')", "defaultdb"
    )
    return agent.lab.wanted(cluster).paths.data / str(path)


def _change_page(path: Path, number: int, spoil: Callable[[bytearray], None], *, right: bool) -> None:
    with path.open("r+b") as stream:
        stream.seek(number * PAGE)
        page = bytearray(stream.read(PAGE))
        spoil(page)
        if right:
            page[8:10] = checksum(bytes(page), number).to_bytes(2, "little")
        stream.seek(number * PAGE)
        stream.write(page)


_BASE = (
    *(0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C),
    *(0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB),
    *(0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4),
    *(0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756),
)
_PRIME, _MASK = 16777619, 0xFFFFFFFF


def checksum(page: bytes, number: int) -> int:
    """Return the checksum that PostgreSQL computes of a page (``storage/checksum_impl.h``)."""
    page = page[:8] + b"\0\0" + page[10:]
    sums = list(_BASE)

    def mix(lane: int, value: int) -> None:
        mixed = sums[lane] ^ value
        sums[lane] = ((mixed * _PRIME) & _MASK) ^ (mixed >> 17)

    words = memoryview(page).cast("I")
    for position, word in enumerate(words):
        mix(position % len(_BASE), word)
    for _ in range(2):
        for lane in range(len(_BASE)):
            mix(lane, 0)
    result = 0
    for one in sums:
        result ^= one
    return ((result ^ number) % 65535) + 1
