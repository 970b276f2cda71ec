"""What is planned for the two nodes of a cluster that moves, without a machine."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from cenote.conf import conninfo, hba
from cenote.engine.parts import NODE_PARTS
from cenote.engine.plan import (
    base_backup,
    certificate,
    ending,
    given_up,
    leading,
    loaded,
    pooler,
    postgresql,
    removal,
    slots,
)
from cenote.engine.plan import standby as following
from cenote.engine.plan.context import NodeContext, NodeKind, Peer
from cenote.engine.plan.slots import Slot
from cenote.model import topology
from cenote.model.changes import (
    Change,
    CopyTemplate,
    Discard,
    EndProcesses,
    HoldPools,
    MakeDirectory,
    Plan,
    Refuse,
    Remove,
    Rename,
    RequestCertificate,
    Resume,
    Sql,
    Start,
    Stop,
    Wait,
    WriteFile,
)
from cenote.model.pauses import LEASE, MOVE, Pause
from cenote.model.records import ClusterStatus, Move, MoveStage, Node
from cenote.model.status_records import NodeStatus, Standby
from cenote.model.trash import TrashNote
from cenote.security.certificates import Validity
from tests.support.wanted import CERTIFICATE, CLUSTER, MOMENT, NOW, PROCESS, SITE, WANTED, kinds, until_wait

SOURCE, TARGET = CLUSTER.nodes[0], Node(name="node-2", host="there", port=26000, pool_port=26001)
COPYING, SWITCHING, LEAVING = MoveStage
HELD = Pause("an id", MOVE, ending.WHY, MOMENT.boot, MOMENT.seconds + LEASE)
READY = ending.Seen(
    running=True,
    at=MOMENT,
    pools=("a", "b"),
    sessions=frozenset({"b"}),
    follower=ending.Follower(streaming=True, lag=0),
    checkpointed=0.4,
)


def moving(stage: MoveStage, *, target: bool = False, address: str = "192.0.2.7") -> NodeContext:
    move = Move(source=SOURCE.name, target=TARGET.name, asked_at=NOW, stage=stage)
    cluster = msgspec.structs.replace(CLUSTER, nodes=(SOURCE, TARGET), move=move)
    own, other = (TARGET, SOURCE) if target else (SOURCE, TARGET)
    return NodeContext(cluster, own, SITE, peer=Peer(other, address))


def pass_of(plan: Plan) -> list[Change]:
    """Return the changes up to a wait, with it."""
    changes = list(plan)
    return changes[: len(until_wait(changes)) + 1]


def test_one_node_at_most_takes_writes_and_the_target_never_before_the_source_has_given_up() -> None:
    for stage in MoveStage:
        writers = [
            context.node.name
            for context in (moving(stage), moving(stage, target=True))
            if NodeKind.WRITER in context.kinds
        ]
        assert writers == {COPYING: ["node-1"], SWITCHING: [], LEAVING: ["node-2"]}[stage]


def test_a_node_that_gives_up_does_nothing_else_and_one_that_was_left_runs_no_server() -> None:
    for stage in (SWITCHING, LEAVING):
        names = [part.name for part in NODE_PARTS if part.is_on(moving(stage))]
        assert names[:2] == ["given up", "ending"]
        assert not {"PostgreSQL", "roles", "databases", "standby", "base backup"} & set(names)
    assert isinstance(pass_of(ending.plan(moving(SWITCHING), READY))[-1], Wait)


# -- A record that is older than the switch


def test_a_node_that_was_left_is_marked_before_anything_else_happens_and_once() -> None:
    context = moving(LEAVING)
    assert next(part.name for part in NODE_PARTS if part.is_on(context)) == "given up"
    [mark] = given_up.plan(context, given_up.Seen(has_data=True))
    assert isinstance(mark, WriteFile)
    assert (mark.path, mark.durable, mark.for_servers) == (context.paths.given_up, True, False)
    assert mark.content.startswith(b"given up to node-2 on host there\n")
    for seen in (given_up.Seen(has_data=True, mark="given up"), given_up.Seen(has_data=False)):
        assert list(given_up.plan(context, seen)) == []


def test_the_mark_says_which_host_has_the_data_and_since_when() -> None:
    context = moving(LEAVING)
    assert context.cluster.move is not None
    since = msgspec.structs.replace(context.cluster.move, since=NOW)
    cluster = msgspec.structs.replace(context.cluster, move=since)
    named = replace(context, cluster=cluster, peer=Peer(TARGET, "192.0.2.7", "host-2"))
    assert given_up.in_words(named) == f"given up to node-2 on host host-2 at {NOW:%Y-%m-%d %H:%M:%S} UTC"


def test_a_marked_node_is_never_started_again_whatever_the_record_says() -> None:
    marked = given_up.Seen(has_data=True, mark="given up to node-2 on host host-2")
    for context in (WANTED, moving(COPYING), moving(SWITCHING), moving(COPYING, target=True)):
        [refusal] = given_up.plan(context, marked)
        assert isinstance(refusal, Refuse)
        assert "given up to node-2 on host host-2" in refusal.reason
        assert str(context.paths.given_up) in refusal.reason
        assert kinds(list(given_up.plan(context, replace(marked, running=True)))) == [Stop, Refuse]
        empty = given_up.plan(context, replace(marked, mark=""))  # its disk was full, or somebody made it
        assert kinds(list(empty)) == [Refuse]


def test_no_other_node_meets_a_mark() -> None:
    for stage in (COPYING, SWITCHING):  # a switch that was given up goes on at its source
        assert list(given_up.plan(moving(stage), given_up.Seen(has_data=True))) == []
    for stage in MoveStage:
        assert list(given_up.plan(moving(stage, target=True), given_up.Seen(has_data=True))) == []
    there, back = (SITE.layout.node(CLUSTER.id, name) for name in ("node-1", "node-3"))
    assert there.given_up != back.given_up  # of one host


# -- The target


def test_data_is_copied_anew_until_a_copy_is_complete() -> None:
    context = moving(COPYING, target=True)
    nothing = base_backup.Seen(has_data=False)
    assert kinds(pass_of(base_backup.plan(context, nothing))) == [MakeDirectory, Start, Wait]
    broken_off = replace(nothing, has_draft=True)
    again = [EndProcesses, Remove, MakeDirectory, Start, Wait]
    assert kinds(pass_of(base_backup.plan(context, broken_off))) == again
    running = replace(broken_off, running=True, progress=", 42 %")
    assert pass_of(base_backup.plan(context, running)) == [Wait("copying the data of node-1, 42 %")]
    signal, rename, *rest = base_backup.plan(context, replace(broken_off, complete=True))
    assert isinstance(signal, WriteFile)
    assert signal.path == context.paths.draft / "standby.signal"
    assert rename == Rename(context.paths.draft, context.paths.data)
    assert set(kinds(rest)) == {Remove}
    assert list(base_backup.plan(context, base_backup.Seen(has_data=True, is_standby=True))) == []


def test_a_copy_waits_for_the_address_and_data_of_no_standby_is_never_made_to_follow() -> None:
    context = moving(COPYING, target=True, address="")
    [wait] = pass_of(base_backup.plan(context, base_backup.Seen(has_data=False)))
    assert isinstance(wait, Wait)
    [refusal] = base_backup.plan(context, base_backup.Seen(has_data=True, is_standby=False))
    assert isinstance(refusal, Refuse)


def test_the_rate_of_a_copy_is_limited_if_the_host_says_so() -> None:
    context = moving(COPYING, target=True)
    assert "--max-rate" not in base_backup.program_of(context).argv
    limited = replace(context, host=replace(SITE, copy_rate_mib=20))
    assert base_backup.program_of(limited).argv[-2:] == ("--max-rate", "20M")


def test_a_target_never_gets_an_empty_database() -> None:
    nothing = postgresql.Seen(False, {}, CERTIFICATE, loaded.Loaded(None, None), b"")
    after = msgspec.structs.replace(CLUSTER, nodes=(TARGET,))
    for context in (
        *(moving(stage, target=target) for stage in MoveStage for target in (True, False)),
        NodeContext(after, TARGET, SITE),
    ):
        assert kinds(list(postgresql.plan(context, nothing))) == [Refuse]
    assert CopyTemplate in kinds(list(postgresql.plan(WANTED, nothing)))


def test_a_target_follows_with_a_slot_and_stops_to_do_so_when_it_leads() -> None:
    def settings(stage: MoveStage) -> str:
        context = moving(stage, target=True)
        return postgresql.configuration_files(context)[postgresql.configuration_file(context)].decode()

    assert "primary_slot_name = 'cenote_node_2'" in settings(COPYING)
    assert "192.0.2.7" in settings(SWITCHING)
    assert "primary_" not in settings(LEAVING)


def test_a_standby_streams_only_if_it_is_close() -> None:
    close = following.Seen(receiving=True, replayed=10, behind=following.CLOSE)
    assert close.streaming
    assert not replace(close, paused=True).streaming
    assert not replace(close, behind=following.CLOSE + 1).streaming
    assert not replace(close, receiving=False).streaming
    [wait] = following.plan(moving(SWITCHING, target=True), close)
    assert wait == Wait("following node-1", often=True)


def test_a_standby_is_restarted_for_what_the_source_is_restarted_for_but_not_while_clients_wait() -> None:
    def streams(seen: following.Seen) -> bool:
        standby = following.report(moving(COPYING, target=True), seen)["standby"]
        assert isinstance(standby, Standby)
        return standby.streaming

    seen = following.Seen(receiving=True, replayed=10, pending={"max_worker_processes": "1"})
    assert kinds(pass_of(following.plan(moving(COPYING, target=True), seen))) == [Stop, Wait]
    assert kinds(pass_of(following.plan(moving(SWITCHING, target=True), seen))) == [Wait]
    raised = replace(seen, pending={}, raised={"max_worker_processes": "90"})
    assert kinds(pass_of(following.plan(moving(COPYING, target=True), raised))) == [Wait]
    for waits in (seen, raised):
        assert not streams(waits)
    assert streams(replace(seen, pending={}))
    later = replace(seen, pending={"listen_addresses": "*"})  # in the maintenance window
    assert kinds(pass_of(following.plan(moving(COPYING, target=True), later))) == [Wait]


def test_a_standby_has_no_less_than_the_wal_that_it_replays_needs() -> None:
    context = moving(COPYING, target=True)
    file = postgresql.configuration_file(context)

    def settings(least: dict[str, int]) -> str:
        return postgresql.configuration_files(context, least=least)[file].decode()

    own = settings({})
    assert settings({"max_connections": 1, "max_prepared_transactions": 0}) == own
    assert "max_connections = '9000'" in settings({"max_connections": 9_000})
    # One that is set and then left out again would need a restart.
    assert settings({"max_locks_per_transaction": 64}) == own
    assert "max_locks_per_transaction = '65'" in settings({"max_locks_per_transaction": 65})
    assert postgresql.raised(context, {"max_connections": 9_000, "max_wal_senders": 1}) == {
        "max_connections": "9000"
    }


def test_the_server_that_is_left_waits_for_a_standby_that_is_gone_for_seconds_only() -> None:
    context = moving(COPYING, target=True)
    text = postgresql.configuration_files(context)[postgresql.configuration_file(context)].decode()
    assert "-c wal_sender_timeout=8s" in text
    assert not any("wal_sender_timeout" in one for one in base_backup.program_of(context).argv)


def test_a_standby_is_promoted_when_it_is_to_lead_and_not_before() -> None:
    follows = leading.Seen(follows=True)
    assert kinds(list(leading.plan(moving(LEAVING, target=True), follows))) == [Sql, Wait]
    for stage in (COPYING, SWITCHING):
        assert list(leading.plan(moving(stage, target=True), follows)) == []
    assert list(leading.plan(moving(LEAVING, target=True), leading.Seen())) == []


# -- The source


def test_a_slot_is_made_for_the_target_and_only_ours_are_dropped() -> None:
    theirs = (Slot("theirs", logical=True), Slot("cenote_other", logical=True), Slot("backup"))
    copying = moving(COPYING)
    [made] = slots.plan(copying, slots.Seen(theirs))
    assert isinstance(made, Sql)
    assert made.summary == "making the slot cenote_node_2"
    ours = Slot("cenote_node_2", pid=7)
    assert list(slots.plan(copying, slots.Seen((*theirs, ours)))) == []
    lost = slots.Seen((replace(ours, lost=True), Slot("cenote_other", logical=True, lost=True)))
    assert list(slots.plan(copying, lost)) == []
    assert slots.report(copying, lost)["slot_lost"]
    assert not slots.report(WANTED, lost)["slot_lost"]
    [dropped] = slots.plan(WANTED, slots.Seen((*theirs, ours)))
    assert isinstance(dropped, Sql)
    assert dropped.summary == "dropping the slot cenote_node_2"
    report = slots.report(copying, slots.Seen((*theirs, ours)))
    assert report == {"logical_slots": ("cenote_other", "theirs"), "slot_lost": False, "lost_slots": ()}


def test_pools_of_transactions_are_held_before_the_server_ends_and_those_of_sessions_after() -> None:
    first, stop, wait = pass_of(ending.plan(moving(SWITCHING), READY))
    assert isinstance(first, HoldPools)
    assert (first.pools, first.or_none) == (("a",), True)
    assert isinstance(stop, Stop)
    assert isinstance(wait, Wait)
    ended = replace(READY, running=False, ended_at=99, paused=True, pause=HELD)
    last, wait = pass_of(ending.plan(moving(SWITCHING), ended))
    assert isinstance(last, HoldPools)
    assert (last.pools, last.or_none) == (("a", "b"), False)
    assert isinstance(wait, Wait)


@pytest.mark.parametrize(
    "seen",
    [
        replace(READY, follower=None),
        replace(READY, follower=ending.Follower(streaming=False, lag=0)),
        replace(READY, follower=ending.Follower(streaming=True, lag=ending.CLOSE + 1)),
        replace(READY, oldest=ending.LONG + 0.1),
    ],
)
def test_nobody_is_held_while_the_switch_would_take_long(seen: ending.Seen) -> None:
    [wait] = pass_of(ending.plan(moving(SWITCHING), seen))
    assert isinstance(wait, Wait)
    assert wait.reason.startswith("busy: ")


@pytest.mark.parametrize("checkpointed", [-3.0, ending.RECENT + 1, ending.Seen(True, MOMENT).checkpointed])
def test_a_checkpoint_comes_first_and_all_is_looked_at_again_before_anybody_is_held(
    checkpointed: float,
) -> None:
    changes = pass_of(ending.plan(moving(SWITCHING), replace(READY, checkpointed=checkpointed)))
    assert kinds(changes) == [Sql, Wait]
    assert isinstance(changes[-1], Wait)
    assert changes[-1].often


def test_what_a_killed_process_has_paused_is_resumed_before_it_is_held_again() -> None:
    changes = kinds(pass_of(ending.plan(moving(SWITCHING), replace(READY, paused=True))))
    assert changes.index(Resume) < changes.index(HoldPools)


def test_a_server_that_has_ended_stays_so_behind_pools_that_are_held() -> None:
    ended = replace(READY, running=False, ended_at=99, paused=True, held=True, pause=HELD, follower=None)
    assert kinds(pass_of(ending.plan(moving(SWITCHING), ended))) == [Wait]
    assert ending.report(moving(SWITCHING), ended) == {"ended_at": 99}
    assert ending.report(moving(SWITCHING), READY) == {"ended_at": 0}
    left_alone = replace(HELD, until=MOMENT.seconds + 1)
    for pause in (None, left_alone):
        again = pass_of(ending.plan(moving(SWITCHING), replace(ended, pause=pause)))
        assert kinds(again) == [HoldPools, Wait]
    [wait] = pass_of(ending.plan(moving(SWITCHING), replace(ended, ended_at=0)))
    assert isinstance(wait, Wait)
    assert "given up" in wait.reason


def test_a_server_of_a_node_that_was_left_is_ended() -> None:
    seen = ending.Seen(running=True, at=MOMENT)
    assert kinds(list(ending.plan(moving(LEAVING), seen))) == [Stop]
    assert list(ending.plan(moving(LEAVING), replace(seen, running=False))) == []


def pooler_of(context: NodeContext) -> pooler.Seen:
    contents = dict(pooler.configuration_files(context))
    seen = pooler.Seen(dict(contents), CERTIFICATE, loaded.Loaded(PROCESS, None), listening=True, at=MOMENT)
    return replace(seen, loaded=loaded.Loaded(PROCESS, pooler.digest_of(contents, seen)))


def test_held_clients_go_on_when_the_target_takes_writes_and_not_before() -> None:
    left = moving(LEAVING)
    held = replace(pooler_of(left), paused=True, pause=HELD)
    [wait] = pass_of(pooler.plan(left, held))
    assert isinstance(wait, Wait)
    assert wait.often
    assert kinds(pass_of(pooler.plan(left, replace(held, leads=True)))) == [Resume, Wait]
    again = replace(held, pause=replace(HELD, until=MOMENT.seconds + 1))
    assert kinds(pass_of(pooler.plan(left, again))) == [HoldPools, Wait]
    assert pooler.report(left, replace(held, clients=3)) == {"clients": 0, "leads_on": False}


def test_clients_that_a_switch_has_held_go_on_when_it_is_given_up() -> None:
    copying = moving(COPYING)
    held = replace(pooler_of(copying), paused=True, pause=HELD)
    assert kinds(list(pooler.plan(copying, held))) == [Resume]


# -- What both rely on


def test_a_pooler_reaches_the_other_host_by_tls_with_its_certificate() -> None:
    left = moving(LEAVING)
    text = pooler.configuration_files(left)[left.cluster_paths.pooler / "pgbouncer.ini"].decode()
    assert "host='192.0.2.7' port='26000'" in text
    assert "server_tls_sslmode = verify-ca" in text
    own = pooler.configuration_files(WANTED)[WANTED.cluster_paths.pooler / "pgbouncer.ini"].decode()
    assert "server_tls_sslmode" not in own


def test_only_while_there_are_other_nodes_may_they_log_in_and_only_by_certificate() -> None:
    alone, with_nodes = hba.render(()), hba.render((), nodes=True)
    assert "cert" not in alone
    added = [line.split() for line in with_nodes.splitlines() if line not in alone.splitlines()]
    assert added == [
        ["hostssl", "replication", "postgres", "all", "cert", "map=cenote-nodes"],
        ["hostssl", "all", "all", "all", "scram-sha-256", "clientcert=verify-ca"],
    ]
    order = with_nodes.splitlines()
    assert order.index("host     all  postgres  all  reject") < len(order) - 1
    assert "cenote-nodes" not in hba.render_ident("root", "postgres", ())
    named = hba.render_ident("root", "postgres", (), nodes=("one.host.cenote", "two.host.cenote"))
    assert [line.split() for line in named.splitlines()[-2:]] == [
        ["cenote-nodes", '"one.host.cenote"', '"postgres"'],
        ["cenote-nodes", '"two.host.cenote"', '"postgres"'],
    ]


def test_the_certificate_of_the_other_node_of_a_move_is_let_in_and_that_of_no_other_host() -> None:
    def admitted(context: NodeContext) -> list[list[str]]:
        text = postgresql.configuration_files(context)[context.paths.data / "pg_ident.conf"].decode()
        return [line.split() for line in text.splitlines() if line.startswith("cenote-nodes")]

    for stage in MoveStage:
        assert admitted(moving(stage)) == [["cenote-nodes", '"there.host.cenote"', '"postgres"']]
        assert admitted(moving(stage, target=True)) == [["cenote-nodes", '"here.host.cenote"', '"postgres"']]
    assert admitted(WANTED) == []


def test_a_certificate_that_cannot_be_shown_to_other_nodes_is_replaced_for_a_move() -> None:
    names = frozenset(CLUSTER.server_names)
    validity = Validity(NOW.replace(year=2025), NOW.replace(year=2030))
    seen = certificate.Seen(names, validity, NOW, for_nodes=False)
    assert list(certificate.plan(WANTED, seen)) == []
    assert list(certificate.plan(moving(COPYING), seen)) != []
    assert list(certificate.plan(moving(COPYING), replace(seen, for_nodes=True))) == []


def test_a_move_waits_for_a_certificate_that_names_the_host_and_asks_a_former_controller_now_and_then() -> (
    None
):
    names = frozenset(CLUSTER.server_names)
    validity = Validity(NOW.replace(year=2025), NOW.replace(year=2030))
    seen = certificate.Seen(names, validity, NOW, for_nodes=False)
    asked = kinds(list(certificate.plan(moving(COPYING), seen)))
    assert asked == [RequestCertificate, Wait]
    former = replace(
        seen,
        requested_at=NOW,
        issued=b"pem",
        issued_names=names,
        issued_validity=validity,
        issued_for_nodes=False,
    )
    assert kinds(list(certificate.plan(moving(COPYING), former))) == [Wait]
    later = replace(former, at=NOW + certificate.ASK_AGAIN_AFTER)
    assert kinds(list(certificate.plan(moving(COPYING), later))) == [RequestCertificate, Wait]
    fit = replace(former, issued_for_nodes=True)
    assert kinds(list(certificate.plan(moving(COPYING), fit))) == [WriteFile, Remove]


def test_what_goes_to_the_trash_has_no_key_any_more() -> None:
    paths = WANTED.cluster_paths
    note = TrashNote(cluster=CLUSTER.id, why="moved", at=NOW)
    changes = list(removal.plan_discard(paths, [WANTED.paths], note))
    discarded = next(place for place, change in enumerate(changes) if isinstance(change, Discard))
    with_keys = (paths.certificate.parent, paths.backups, paths.drill, WANTED.paths.restore_work)
    assert changes[discarded - len(with_keys) : discarded] == [Remove(path) for path in with_keys]
    assert paths.requested_key.parent == paths.certificate.parent


def test_a_copy_that_was_begun_goes_with_its_node_and_nothing_of_the_other_one_there() -> None:
    context = moving(COPYING, target=True)
    paths = context.paths
    seen = removal.Seen((True, True), has_processes=True, has_others=True)
    note = TrashNote(cluster=CLUSTER.id, why="moved", at=NOW)
    for given in (None, note):
        changes = list(removal.plan(context, seen, given))
        removed = [change.path for change in changes if isinstance(change, Remove)]
        assert {"copying-node-2", "copying-node-2.log", "copying-node-2.started"} <= {p.name for p in removed}
        assert changes.index(EndProcesses(paths.draft)) < changes.index(Remove(paths.draft))
        assert {path.parent for path in removed} == {context.cluster_paths.root}
        assert all("node-2" in path.name for path in removed)


def test_values_of_a_connection_string_are_quoted() -> None:
    assert (
        conninfo.render({"host": "a b", "user": "it's", "path": "\\"}) == r"host='a b' user='it\'s' path='\\'"
    )


def test_a_cluster_that_moves_is_judged_by_the_node_that_takes_writes() -> None:
    move = Move(source=SOURCE.name, target=TARGET.name, asked_at=NOW, stage=LEAVING)
    cluster = msgspec.structs.replace(CLUSTER, nodes=(SOURCE, TARGET), move=move)
    report = NodeStatus(reached=0, at=NOW)
    assert topology.status(cluster, report) is ClusterStatus.ONLINE
    assert topology.status(CLUSTER, report) is ClusterStatus.CREATING
