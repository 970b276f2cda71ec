"""What is planned for what is seen, without a machine."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from cenote.engine.parts import NODE_PARTS
from cenote.engine.plan import certificate, folders, loaded, pooler, pooler_access, postgresql, removal
from cenote.engine.plan.context import NodeContext
from cenote.model.changes import (
    Change,
    CopyTemplate,
    EndProcesses,
    MakeDirectory,
    Refuse,
    Reload,
    Remove,
    RequestCertificate,
    Start,
    Stop,
    Wait,
    WriteFile,
)
from cenote.model.records import Node, Pool
from cenote.security import certificates
from cenote.security.certificates import Validity
from tests.support.wanted import (
    CERTIFICATE,
    CLUSTER,
    MOMENT,
    NOW,
    PROCESS,
    SITE,
    WANTED,
    kinds,
    until_wait,
    user,
)

# -- The server


def contents_of(part_writes: list[Change]) -> dict[Path, bytes | None]:
    return {change.path: change.content for change in part_writes if isinstance(change, WriteFile)}


def server_nothing() -> postgresql.Seen:
    return postgresql.Seen(False, {}, CERTIFICATE, loaded.Loaded(None, None), b"")


def server_ready(wanted: NodeContext = WANTED) -> postgresql.Seen:
    first = list(postgresql.plan(wanted, server_nothing()))
    [start] = [change for change in first if isinstance(change, Start)]
    found = loaded.Loaded(PROCESS, start.digest)
    return postgresql.Seen(True, contents_of(first), CERTIFICATE, found, b"ready")


def test_a_server_is_made_from_the_template_configured_started_and_waited_for() -> None:
    changes = list(postgresql.plan(WANTED, server_nothing()))
    assert kinds(changes)[0] is CopyTemplate
    assert kinds(changes)[-2:] == [Start, Wait]
    assert set(kinds(changes)[1:-2]) == {WriteFile}


def test_data_that_is_there_is_never_replaced() -> None:
    seen = replace(server_nothing(), has_data=True)
    assert CopyTemplate not in kinds(list(postgresql.plan(WANTED, seen)))


def test_data_that_is_missing_is_not_made_a_second_time() -> None:
    again = replace(WANTED, was_online=True)
    assert kinds(list(postgresql.plan(replace(again, was_online=False), server_nothing())))[0] is CopyTemplate
    for process in (None, PROCESS):
        seen = replace(server_nothing(), loaded=loaded.Loaded(process, None))
        [change] = postgresql.plan(again, seen)
        assert isinstance(change, Refuse)
        assert change.reason == f"its data directory is missing: {again.paths.data}"
    assert list(postgresql.plan(again, server_ready())) == []


def test_a_server_that_is_as_wanted_is_left_alone() -> None:
    assert list(postgresql.plan(WANTED, server_ready())) == []


@pytest.mark.parametrize("state", [b"", b"starting", b"stopping", b"standby"])
def test_a_server_that_is_not_ready_is_waited_for(state: bytes) -> None:
    [change] = postgresql.plan(WANTED, replace(server_ready(), state=state))
    assert isinstance(change, Wait)
    assert change.reason.startswith("PostgreSQL is ")


def test_a_server_that_has_not_read_its_files_is_told_to() -> None:
    stale = replace(server_ready(), loaded=loaded.Loaded(PROCESS, "another digest"))
    assert kinds(list(postgresql.plan(WANTED, stale))) == [Reload]
    unknown = replace(server_ready(), loaded=loaded.Loaded(PROCESS, None))
    assert kinds(list(postgresql.plan(WANTED, unknown))) == [Reload]


def test_a_renewed_certificate_is_read_by_a_reload() -> None:
    seen = replace(server_ready(), certificate=b"another")
    assert kinds(list(postgresql.plan(WANTED, seen))) == [Reload]


def test_a_file_that_somebody_has_edited_is_written_and_read_again() -> None:
    edited = WANTED.paths.data / "pg_hba.conf"
    ready = server_ready()
    seen = replace(ready, files=ready.files | {edited: b"host all all all trust"})
    changes = list(postgresql.plan(WANTED, seen))
    assert [getattr(change, "path", None) for change in changes] == [WANTED.server.stamp, edited, None]
    assert kinds(changes) == [WriteFile, WriteFile, Reload]


def test_an_edit_is_undone_for_good_also_when_the_work_is_broken_off_after_the_file() -> None:
    ready = server_ready()
    edited = replace(ready, files=dict.fromkeys(ready.files))
    stamp = next(iter(postgresql.plan(WANTED, edited)))
    assert isinstance(stamp, WriteFile)
    assert stamp.path == WANTED.server.stamp
    # The next pass reads the stamp, which names the process and no configuration of ours.
    pid, started, digest = stamp.content.decode().split()
    assert (int(pid), int(started)) == (PROCESS.pid, PROCESS.started)
    seen = replace(ready, loaded=loaded.Loaded(PROCESS, digest))
    assert kinds(list(postgresql.plan(WANTED, seen))) == [Reload]


def test_what_a_killed_server_has_left_at_work_is_ended_before_the_next_start() -> None:
    seen = replace(server_ready(), loaded=loaded.Loaded(None, None), orphans=True)
    changes = list(postgresql.plan(WANTED, seen))
    assert kinds(changes) == [EndProcesses, Start, Wait]
    assert changes[0] == EndProcesses(WANTED.paths.data, "postgres")


def test_a_lock_file_that_names_somebody_else_goes_after_the_orphans_and_before_the_start() -> None:
    lock = WANTED.server.pid_file
    seen = replace(server_ready(), loaded=loaded.Loaded(None, None), orphans=True, stale_pid_files=(lock,))
    assert until_wait(list(postgresql.plan(WANTED, seen)))[:2] == [
        EndProcesses(WANTED.paths.data, "postgres"),
        Remove(lock),
    ]


def test_nothing_is_started_on_a_port_that_somebody_else_has() -> None:
    down = loaded.Loaded(None, None)
    for changes, port in (
        (list(postgresql.plan(WANTED, replace(server_ready(), loaded=down, port_taken=True))), 25060),
        (list(pooler.plan(WANTED, replace(pooler_ready(), loaded=down, port_taken=True))), 25061),
    ):
        assert until_wait(changes) == []
        assert isinstance(changes[0], Wait)
        assert f"another program listens on port {port}" in changes[0].reason


# -- The pooler


def pooler_nothing() -> pooler.Seen:
    return pooler.Seen({}, CERTIFICATE, loaded.Loaded(None, None), False, MOMENT)


def pooler_ready(wanted: NodeContext = WANTED) -> pooler.Seen:
    first = list(pooler.plan(wanted, pooler_nothing()))
    [start] = [change for change in first if isinstance(change, Start)]
    return pooler.Seen(contents_of(first), CERTIFICATE, loaded.Loaded(PROCESS, start.digest), True, MOMENT)


def test_a_pooler_is_configured_started_and_waited_for() -> None:
    changes = list(pooler.plan(WANTED, pooler_nothing()))
    assert kinds(changes)[-2:] == [Start, Wait]
    assert set(kinds(changes)[:-2]) == {WriteFile}


def test_a_pooler_that_is_as_wanted_is_left_alone() -> None:
    assert list(pooler.plan(WANTED, pooler_ready())) == []


def test_another_pool_is_a_reload_and_no_restart() -> None:
    pools = (*CLUSTER.pools, Pool(name="another", database="defaultdb", size=1))
    wanted = replace(WANTED, cluster=msgspec.structs.replace(CLUSTER, pools=pools))
    changes = list(pooler.plan(wanted, pooler_ready()))
    assert set(kinds(changes)) == {WriteFile, Reload}
    assert [change.path.name for change in changes if isinstance(change, WriteFile)] == ["pgbouncer.ini"]


@pytest.mark.parametrize(("before", "after"), [("doadmin", ""), ("doadmin", "app"), ("", "doadmin")])
def test_a_pool_whose_user_changes_is_taken_out_before_it_comes_back(before: str, after: str) -> None:
    pools = tuple(msgspec.structs.replace(pool, user=after) for pool in CLUSTER.pools)
    wanted = replace(WANTED, cluster=msgspec.structs.replace(CLUSTER, pools=pools))
    seen = replace(pooler_ready(), users={"backend-pool": before, "pgbouncer": "pgbouncer"})
    changes = list(pooler.plan(wanted, seen))
    inis = [
        change.content for change in changes if isinstance(change, WriteFile) and change.path.suffix == ".ini"
    ]
    assert ["backend-pool" in ini.decode() for ini in inis] == [False, True]
    assert [kind for kind in kinds(changes) if kind is Reload] == [Reload, Reload]
    last = list(pooler.plan(wanted, replace(seen, files=contents_of(changes))))
    assert kinds(last)[-1] is Reload


def test_another_password_is_written_where_it_is_and_read_by_a_reload() -> None:
    users = (user("doadmin"), user("app", "another"))
    wanted = replace(WANTED, cluster=msgspec.structs.replace(CLUSTER, users=users))
    changes = list(pooler.plan(wanted, pooler_ready()))
    written = [change.path.name for change in changes if isinstance(change, WriteFile)]
    assert written == ["pgbouncer.ini", "userlist.txt"]  # "app" has a pool
    assert kinds(changes)[-1] is Reload


def test_a_pooler_that_has_not_opened_its_port_yet_is_waited_for() -> None:
    [change] = pooler.plan(WANTED, replace(pooler_ready(), listening=False))
    assert isinstance(change, Wait)


def test_a_pooler_that_came_up_without_its_port_is_started_again_once_that_is_free() -> None:
    without = replace(pooler_ready(), listening=False, port_not_bound=True)
    assert until_wait(list(pooler.plan(WANTED, replace(without, port_taken=True)))) == []
    assert kinds(list(pooler.plan(WANTED, without)))[:3] == [Stop, Start, Wait]


# -- Folders, certificate, removal


def test_folders_are_made_where_they_are_missing_or_open_to_others() -> None:
    assert kinds(list(folders.plan(WANTED, folders.Seen((None,) * 4)))) == [MakeDirectory] * 4
    closed, open_to_others = (0o700, 1000, 1000), (0o755, 1000, 1000)
    assert list(folders.plan(WANTED, folders.Seen((closed,) * 4))) == []
    [change] = folders.plan(WANTED, folders.Seen((closed, open_to_others, closed, closed)))
    assert change == MakeDirectory(WANTED.cluster_paths.pooler, 0o700)


def test_servers_with_an_account_of_their_own_own_only_the_folders_that_they_write_into() -> None:
    wanted = replace(WANTED, host=replace(WANTED.host, server_ids=(70, 71)))
    paths = wanted.cluster_paths
    former = (0o700, 70, 71)  # what version 0.1 made
    assert list(folders.plan(wanted, folders.Seen((former,) * 4))) == [
        MakeDirectory(paths.root, 0o710, (0, 71)),
        MakeDirectory(paths.certificate.parent, 0o710, (0, 71)),
    ]
    ours = (0o710, 0, 71)
    assert list(folders.plan(wanted, folders.Seen((ours, former, ours, former)))) == []


NAMES = frozenset({"localhost"})
YESTERDAY = NOW - timedelta(days=1)
VALID, NONE = Validity(YESTERDAY, NOW + timedelta(days=90)), Validity(NOW, NOW)


@pytest.mark.parametrize(
    ("names", "days", "planned"),
    [
        ({"localhost"}, 31, []),
        ({"localhost"}, 29, [RequestCertificate]),  # what still is good holds nothing up
        ({"localhost", "gone.example.com"}, 300, [RequestCertificate, Wait]),
        (set(), 300, [RequestCertificate, Wait]),
    ],
    ids=["good", "expires soon", "other names", "none"],
)
def test_a_certificate_is_requested_when_it_is_not_good_any_more(
    names: set[str], days: int, planned: list[type]
) -> None:
    seen = certificate.Seen(frozenset(names), Validity(YESTERDAY, NOW + timedelta(days=days)), NOW)
    assert kinds(list(certificate.plan(WANTED, seen))) == planned


@pytest.mark.parametrize("days", [1 / 1440, 10, 400])
def test_a_certificate_that_is_not_valid_yet_is_replaced_and_holds_nothing_up(days: float) -> None:
    begins = NOW + timedelta(days=days)
    seen = certificate.Seen(NAMES, Validity(begins, begins + certificates.LEAF_LIFETIME), NOW)
    assert kinds(list(certificate.plan(WANTED, seen))) == [RequestCertificate]
    issued = replace(seen, issued=b"key and certificate", issued_names=NAMES, issued_validity=VALID)
    assert kinds(list(certificate.plan(WANTED, issued))) == [WriteFile, Remove]


def test_a_requested_certificate_is_waited_for_and_asked_for_again_after_a_while() -> None:
    seen = certificate.Seen(frozenset(), NONE, NOW, requested_at=NOW - timedelta(seconds=1))
    assert kinds(list(certificate.plan(WANTED, seen))) == [Wait]
    late = replace(seen, requested_at=NOW - 2 * certificate.ASK_AGAIN_AFTER)
    assert kinds(list(certificate.plan(WANTED, late))) == [RequestCertificate, Wait]
    future = replace(seen, requested_at=NOW + timedelta(hours=1))  # made before the clock was set back
    assert kinds(list(certificate.plan(WANTED, future))) == [RequestCertificate, Wait]


def test_an_issued_certificate_is_put_in_place_if_it_has_the_names() -> None:
    seen = certificate.Seen(
        frozenset(),
        NONE,
        NOW,
        requested_at=NOW,
        issued=b"key and certificate",
        issued_names=NAMES,
        issued_validity=VALID,
    )
    assert kinds(list(certificate.plan(WANTED, seen))) == [WriteFile, Remove]
    other = replace(seen, issued_names=frozenset({"gone.example.com"}))
    assert kinds(list(certificate.plan(WANTED, other))) == [RequestCertificate, Wait]


def test_a_certificate_of_a_signer_with_another_clock_is_not_used_nor_asked_for_in_a_loop() -> None:
    later = Validity(NOW + timedelta(days=1), NOW + timedelta(days=90))
    seen = certificate.Seen(
        NAMES, NONE, NOW, requested_at=NOW, issued=b"x", issued_names=NAMES, issued_validity=later
    )
    assert kinds(list(certificate.plan(WANTED, seen))) == []
    late = replace(seen, requested_at=NOW - 2 * certificate.ASK_AGAIN_AFTER)
    assert kinds(list(certificate.plan(WANTED, late))) == [RequestCertificate]


def test_what_is_wrong_with_a_certificate_is_told_with_the_clock_that_it_is_compared_with() -> None:
    future = Validity(NOW + timedelta(days=1), NOW + timedelta(days=90))
    past = Validity(NOW - timedelta(days=90), NOW)
    assert certificate.problem(VALID, VALID, NOW) == ""
    assert "not valid before" in certificate.problem(future, VALID, NOW)
    assert "expired since" in certificate.problem(past, VALID, NOW)
    for authority in (future, past):
        told = certificate.problem(VALID, authority, NOW)
        assert "the cluster's CA" in told
        assert f"{NOW:%Y-%m-%d %H:%M}" in told


def test_a_removal_stops_the_pooler_then_the_server_and_only_then_removes() -> None:
    changes = list(removal.plan(WANTED, removal.Seen((True, True), True)))
    assert kinds(changes) == [Stop, Stop, Stop, EndProcesses, Remove, Remove]
    stopped = [change.program.name for change in changes if isinstance(change, Stop)]
    assert stopped == ["PgBouncer", "Patroni", "PostgreSQL"]


def test_a_removal_of_nothing_is_nothing() -> None:
    assert list(removal.plan(WANTED, removal.Seen((False, False), False))) == []


def test_a_node_that_was_moved_away_takes_nothing_of_another_node_with_it() -> None:
    seen = removal.Seen((True, True), True, has_others=True)
    changes = list(removal.plan(WANTED, seen))
    assert Remove(WANTED.paths.data) in changes
    assert Remove(WANTED.cluster_paths.root) not in changes
    assert Remove(WANTED.cluster_paths.sockets) not in changes
    assert Stop(WANTED.bouncer) not in changes
    deleted = replace(WANTED, cluster=msgspec.structs.replace(WANTED.cluster, deleted_at=NOW))
    assert Remove(WANTED.cluster_paths.root) in list(removal.plan(deleted, seen))


def test_the_parts_come_after_all_that_they_need() -> None:
    order = [part.name for part in NODE_PARTS]
    for earlier, later in (
        ("folders", "log positions"),
        ("folders", "certificate"),
        ("certificate", "PostgreSQL"),
        ("PostgreSQL", "roles"),
        ("roles", "databases"),
        ("databases", "grants"),
        ("databases", "PgBouncer"),
        ("restart", "PgBouncer"),  # which resumes what a restart has paused
        ("pooler access", "disconnect from PgBouncer"),
        ("PostgreSQL", "disconnect"),
        # Nothing that may wait stands before the end of the access to the pools.
        ("disconnect from PgBouncer", "certificate"),
        ("disconnect", "restart"),
    ):
        assert order.index(earlier) < order.index(later)


def test_a_standby_under_a_failover_agent_has_only_the_parts_that_run_anywhere() -> None:
    other = Node(name="node-2", host="there", port=25060, pool_port=25061)
    cluster = msgspec.structs.replace(CLUSTER, nodes=(*CLUSTER.nodes, other))
    context = NodeContext(cluster, other, SITE, leader="node-1")
    assert [part.name for part in NODE_PARTS if part.is_on(context)] == [
        "given up",
        "way to the primary",
        "former standby",
        "switching",
        "log space",
        "folders",
        "pooler access",
        "disconnect from PgBouncer",
        "log positions",
        "certificate",
        "backups",
        "base backup",
        "major upgrade",
        "PostgreSQL",
        "disconnect",
        "restart",
        "outdated binaries",
        "PgBouncer",
        "standby",
    ]
    has = {part.name for part in NODE_PARTS if part.is_on(WANTED)}
    assert {part.name for part in NODE_PARTS} - has == {
        *("restore", "base backup", "ending", "standby"),
        *("way to the primary", "switching"),
        *("former standby", "resting"),
    }


def pooler_access_of(wanted: NodeContext, *, read: bool = True) -> pooler_access.Seen:
    """What is seen of a PgBouncer that runs with what a context wants."""
    ready = pooler_ready(wanted)
    if not read:
        return pooler_access.Seen(unread=replace(ready, loaded=loaded.Loaded(PROCESS, "another")))
    files = {path: content for path, content in ready.files.items() if content is not None}
    return pooler_access.Seen(files=files, certificate=ready.certificate, loaded=ready.loaded)


def test_access_to_the_pools_is_left_alone_when_it_is_as_wanted_and_when_a_pool_is_added() -> None:
    assert list(pooler_access.plan(WANTED, pooler_access_of(WANTED))) == []
    more = msgspec.structs.replace(
        CLUSTER, pools=(*CLUSTER.pools, Pool(name="more", database="orders", size=1))
    )
    assert list(pooler_access.plan(replace(WANTED, cluster=more), pooler_access_of(WANTED))) == []
    assert list(pooler_access.plan(WANTED, pooler_access.Seen())) == []


def test_a_user_that_goes_is_out_of_the_pools_by_a_reload_of_the_present_configuration() -> None:
    fewer = msgspec.structs.replace(CLUSTER, users=CLUSTER.users[:1], pools=())
    changes = list(pooler_access.plan(replace(WANTED, cluster=fewer), pooler_access_of(WANTED)))
    written = [change.path.name for change in changes if isinstance(change, WriteFile)]
    assert written[-1:] == ["userlist.txt"]
    assert "pgbouncer.ini" not in written
    assert isinstance(changes[-1], Reload)


def test_files_that_pgbouncer_has_not_read_are_written_whole_before_they_are_read() -> None:
    seen = pooler_access_of(WANTED, read=False)
    assert seen.unread is not None
    edited = dict.fromkeys(seen.unread.files, b"edited")
    seen = pooler_access.Seen(unread=replace(seen.unread, files=dict(edited)))
    changes = list(pooler_access.plan(WANTED, seen))
    assert [change.path for change in changes if isinstance(change, WriteFile)] == list(edited)
    assert isinstance(changes[-1], Reload)
