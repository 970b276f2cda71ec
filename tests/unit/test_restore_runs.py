"""In which runs of pg_restore the entries of a dump are restored."""

from __future__ import annotations

from cenote.importing.archive_list import Entry
from cenote.importing.restore_runs import split


def entry(dump_id: int, kind: str, *needs: int) -> Entry:
    return Entry(dump_id, 1259, dump_id, kind, f"public {kind.lower()} app", needs)


DUMP = [
    entry(1, "TABLE"),
    entry(2, "COMMENT", 1),
    entry(3, "ACL", 1),
    entry(4, "MATERIALIZED VIEW", 1),
    entry(5, "TABLE DATA", 1),
    entry(6, "CONSTRAINT", 1),
    entry(7, "COMMENT", 6),
    entry(8, "INDEX", 4),
    entry(9, "STATISTICS", 1),
    entry(10, "VIEW", 1, 6),  # it groups by the primary key
    entry(11, "MATERIALIZED VIEW", 10),
    entry(12, "INDEX", 11),
    entry(13, "MATERIALIZED VIEW DATA", 4),
    entry(14, "MATERIALIZED VIEW DATA", 11, 12),
    entry(15, "FK CONSTRAINT", 1, 6),
]


def test_only_rows_indexes_keys_and_refreshes_are_restored_by_several_jobs() -> None:
    runs = [([one.dump_id for one in run.entries], run.parallel) for run in split(DUMP)]
    assert runs == [
        ([1, 2, 4], False),
        ([5, 6, 8, 15], True),
        ([3, 7, 9, 10, 11, 12], False),
        ([13, 14], True),
    ]


def test_each_entry_follows_what_it_needs_and_none_is_lost() -> None:
    listed = [one for run in split(DUMP) for one in run.entries]
    assert sorted(one.dump_id for one in listed) == sorted(one.dump_id for one in DUMP)
    seen = set[int]()
    for one in listed:
        assert seen.issuperset(one.depends_on)
        seen.add(one.dump_id)


def test_there_is_no_run_without_entries() -> None:
    assert [len(run.entries) for run in split(DUMP[:1])] == [1]
