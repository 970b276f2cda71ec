"""What is planned for a node that Patroni runs, without a machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cenote.conf import patroni
from cenote.engine.plan import events, loaded, managed, postgresql, release, replication
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.engine.plan.managed import Seen
from cenote.engine.plan.slots import Slot
from cenote.model.changes import (
    Change,
    CopyTemplate,
    Publish,
    Refuse,
    Reload,
    Remove,
    RemoveMark,
    Sql,
    Start,
    Stop,
    Wait,
    WriteFile,
)
from cenote.model.failover import Agreed, HostFailover
from cenote.model.paths import PATRONI, POSTGRESQL
from cenote.model.record import Secret
from cenote.model.records import Configuration, MajorUpgrade, Node, UpgradeStep
from tests.support.wanted import CERTIFICATE, CLUSTER, NOW, PROCESS, SITE, until_wait

FAILOVER = HostFailover(
    python=Path("/programs/patroni/bin/python"),
    launcher=b"launcher",
    endpoints=lambda: [Path("/data/etcd-servers/client.sock:0")],
    in_fleet=False,
    namespace="/cenote-patroni/",
    open=Secret,
)
TRIO = msgspec.structs.replace(
    CLUSTER,
    failover_login="sealed",
    nodes=(
        *CLUSTER.nodes,
        Node(name="node-2", host="here", port=25062, pool_port=25061),
        Node(name="node-3", host="there", port=25060, pool_port=25061),
    ),
)
TAKEN_OVER = Agreed(leader="node-1", identifier="7", shared=None)


def of_node(name: str = "node-1", agreed: Agreed = TAKEN_OVER, **fields: Any) -> NodeContext:
    node = next(node for node in TRIO.nodes if node.name == name)
    site = replace(SITE, failover=FAILOVER)
    addresses = {"here": "10.0.0.1", "there": "10.0.0.2"}
    context = NodeContext(TRIO, node, site, leader=agreed.leader, agreed=agreed, addresses=addresses)
    return replace(context, **fields)


def seen(context: NodeContext, **fields: Any) -> Seen:
    """A node whose servers both run with what is wanted of them, unless told otherwise."""
    found = Seen(
        has_data=True,
        files={},
        certificate=CERTIFICATE,
        loaded=loaded.Loaded(None, None),
        state=b"",
        agent=loaded.Loaded(None, None),
        endpoints=tuple(FAILOVER.endpoints()),
        has_folder=True,
        password=Secret("drawn"),
    )
    of_server = managed.server_files(context)
    files = of_server | managed.agent_files(context, FAILOVER, found)
    digest = loaded.digest(*of_server.values(), CERTIFICATE)
    started, shown = managed._digests(context, FAILOVER, found)
    good = replace(
        found,
        files=files,
        loaded=loaded.Loaded(PROCESS, digest),
        state=postgresql.READY,
        agent=loaded.Loaded(PROCESS, started + shown),
    )
    return replace(good, **fields)


def plan(context: NodeContext, **fields: Any) -> list[Change]:
    return until_wait(list(managed.plan(context, seen(context, **fields))))


def in_words(changes: list[Change]) -> list[str]:
    return [
        f"{type(one).__name__} {one.program.name}"
        if isinstance(one, Start | Stop | Reload)
        else type(one).__name__
        for one in changes
    ]


def settled(context: NodeContext) -> NodeContext:
    shared = patroni.encode_shared(managed.shared(context))
    return replace(context, agreed=replace(context.agreed, shared=shared))


DOWN = loaded.Loaded(None, None)
NEW = Agreed()


def test_a_settled_node_is_left_alone() -> None:
    for name in ("node-1", "node-2", "node-3"):
        assert plan(settled(of_node(name))) == []


def test_the_first_node_of_a_new_cluster_is_made_of_the_template_and_adopted() -> None:
    context = of_node(agreed=NEW)
    made = plan(context, has_data=False, loaded=DOWN, agent=DOWN, state=b"", files={}, has_folder=False)
    assert in_words(made) == [
        "CopyTemplate",
        "WriteFile",
        "WriteFile",
        "WriteFile",
        "WriteFile",
        "Start PostgreSQL",
    ]
    adopted = plan(context, agent=DOWN, has_folder=False)
    assert in_words(adopted) == ["MakeDirectory", "Start Patroni"]


@pytest.mark.parametrize("name", ["node-2", "node-3"])
@pytest.mark.parametrize("agreed", [NEW, TAKEN_OVER], ids=["new", "taken over"])
def test_no_other_node_is_ever_made_of_the_template(name: str, agreed: Agreed) -> None:
    context = of_node(name, agreed)
    changes = list(managed.plan(context, seen(context, has_data=False, loaded=DOWN, agent=DOWN, state=b"")))
    assert isinstance(changes[0], Wait)


@pytest.mark.parametrize(
    "agreed",
    [Agreed(identifier="7"), TAKEN_OVER, Agreed(leader="node-2")],
    ids=["without a leader", "led by itself", "led by another one"],
)
def test_a_first_node_that_has_lost_its_data_is_not_made_of_the_template_again(agreed: Agreed) -> None:
    context = of_node(agreed=agreed)
    changes = list(managed.plan(context, seen(context, has_data=False, loaded=DOWN, agent=DOWN, state=b"")))
    assert not any(isinstance(one, CopyTemplate) for one in until_wait(changes))


def test_one_that_was_online_and_lost_its_data_before_patroni_came_says_so() -> None:
    context = of_node(agreed=NEW, was_online=True)
    changes = managed.plan(context, seen(context, has_data=False, loaded=DOWN, agent=DOWN, state=b""))
    assert isinstance(next(iter(changes)), Refuse)


def test_a_physical_slot_that_is_not_ours_keeps_patroni_from_taking_over() -> None:
    slots = (Slot("logical", logical=True), Slot("cenote_node_2"), Slot("theirs"))
    context = of_node(agreed=NEW, was_online=True)
    refused = plan(context, agent=DOWN, slots=slots)
    assert next(one.reason for one in refused if isinstance(one, Refuse)).startswith(
        "its server has physical replication slots that Patroni would drop: theirs;"
    )
    assert in_words(plan(context, agent=DOWN, slots=slots[:2])) == ["Start Patroni"]
    # Later there are the slots of the other nodes, which Patroni makes.
    assert in_words(plan(of_node(), agent=DOWN, slots=(Slot("node_2"),))) == ["Start Patroni"]


def test_a_server_is_never_started_once_patroni_has_taken_over() -> None:
    for name in ("node-1", "node-2"):
        for agent in (DOWN, seen(of_node(name)).agent):
            changes = plan(of_node(name), loaded=DOWN, state=b"", agent=agent)
            assert f"Start {POSTGRESQL}" not in in_words(changes)


def test_what_patroni_reads_once_is_read_by_another_one_and_certificates_by_a_signal() -> None:
    context = settled(of_node())
    running = seen(context).agent
    digest = running.digest or ""
    other = loaded.Loaded(PROCESS, "0" * 16 + digest[16:])
    assert in_words(plan(context, agent=other)) == [f"Stop {PATRONI}", f"Start {PATRONI}"]
    shown = loaded.Loaded(PROCESS, digest[:16] + "0" * 16)
    assert in_words(plan(context, agent=shown)) == [f"Reload {PATRONI}"]


def test_patroni_goes_on_when_settings_of_the_server_change() -> None:
    context = settled(of_node())
    changed = msgspec.structs.replace(TRIO, storage_mib=TRIO.storage_mib * 2, size="db-s-2vcpu-4gb")
    after = replace(context, cluster=changed)
    before = seen(context)
    changes = until_wait(list(managed.plan(after, before)))
    assert f"Stop {PATRONI}" not in in_words(changes)
    assert f"Reload {POSTGRESQL}" in in_words(changes)
    assert any(isinstance(one, Publish) for one in changes)


def test_patroni_goes_on_after_a_crash_between_its_files_and_their_reload() -> None:
    context = settled(of_node())
    before = seen(context)
    changed = {**before.files, context.paths.patroni_configuration: b"{}"}
    writes = until_wait(list(managed.plan(context, replace(before, files=changed))))
    assert in_words(writes) == ["WriteFile", "WriteFile", f"Reload {PATRONI}"]
    [stamp, *_] = writes
    assert isinstance(stamp, WriteFile)
    left = loaded.Loaded(PROCESS, stamp.content.split()[2].decode())
    after = until_wait(list(managed.plan(context, replace(before, agent=left))))
    assert in_words(after) == [f"Reload {PATRONI}"]


def test_only_the_node_that_takes_writes_tells_the_store_what_all_follow() -> None:
    assert any(isinstance(one, Publish) for one in plan(of_node("node-1")))
    assert not any(isinstance(one, Publish) for one in plan(of_node("node-2")))


def test_without_patroni_or_a_login_nothing_is_begun() -> None:
    context = of_node()
    lacking = replace(context, host=replace(context.host, failover=None))
    assert isinstance(next(iter(managed.plan(lacking, seen(context)))), Refuse)
    assert isinstance(next(iter(managed.plan(context, seen(context, password=None)))), Refuse)
    unknown = replace(context, cluster=msgspec.structs.replace(TRIO, failover_login=""))
    assert isinstance(next(iter(managed.plan(unknown, seen(context)))), Wait)


# -- The configuration


def configuration(context: NodeContext) -> Any:
    files = managed.agent_files(context, FAILOVER, seen(context))
    return json.loads(files[context.paths.patroni_configuration])


def test_patroni_can_never_make_a_database_of_its_own() -> None:
    bootstrap = configuration(of_node())["bootstrap"]
    assert bootstrap[bootstrap["method"]]["command"] == "/bin/false"
    assert "initdb" not in bootstrap


def test_all_that_patroni_gives_on_the_command_line_is_what_the_server_has() -> None:
    context = of_node()
    wanted = postgresql.settings(context)
    parameters = configuration(context)["bootstrap"]["dcs"]["postgresql"]["parameters"]
    for name in ("max_connections", "max_wal_senders", "max_replication_slots", "wal_level", "wal_log_hints"):
        assert parameters[name] == wanted[name]
    assert parameters["wal_level"] == "logical"
    assert configuration(context)["scope"] == wanted["cluster_name"]


def test_logical_slots_are_left_to_customers_and_commits_wait_for_a_standby() -> None:
    shared = managed.shared(of_node())
    assert {"type": "logical"} in shared["ignore_slots"]
    assert shared["synchronous_mode"] == "quorum"
    assert shared["ttl"] >= shared["loop_wait"] + 2 * shared["retry_timeout"]
    assert shared["primary_start_timeout"] == 0


def test_the_configuration_says_whether_commits_wait_and_when_a_silent_primary_is_replaced() -> None:
    chosen = Configuration(
        failover={"synchronous_replication": "off", "max_failover_replication_time_lag": 60}
    )
    context = of_node()
    shared = managed.shared(replace(context, cluster=msgspec.structs.replace(TRIO, configuration=chosen)))
    assert shared["synchronous_mode"] is False
    assert managed.shared(context)["ttl"] + 50 == shared["ttl"] == 57


def test_a_server_that_is_rewound_is_waited_for_in_words() -> None:
    context = settled(of_node("node-2"))
    changes = managed.plan(context, seen(context, loaded=DOWN, rewinding=True))
    wait = next(change for change in changes if isinstance(change, Wait))
    assert wait.reason == "rewinding to where node-1 went on"


def test_a_node_that_was_rewound_is_told_of_once_its_server_works() -> None:
    context = settled(of_node("node-2"))
    [change] = plan(context, rewound=2.34)
    assert change == RemoveMark(context.paths.rewound, "node-2 rejoined by rewind after 2.3 s")
    note = events.of_server(change)
    assert note is not None
    assert note.what == "node-2 rejoined by rewind after 2.3 s"
    assert plan(context, loaded=DOWN, rewound=2.34) == []


def test_a_secret_is_in_the_file_alone() -> None:
    context = of_node()
    assert configuration(context)["etcd3"]["password"] == "drawn"
    [change] = [
        one
        for one in plan(context, files={}, agent=DOWN)
        if isinstance(one, WriteFile) and one.path == context.paths.patroni_configuration
    ]
    assert change.mode == 0o600
    assert "drawn" not in repr(change)
    assert not any("drawn" in word for word in context.failover_agent.argv)


def test_in_a_fleet_patroni_asks_the_members_by_tls_with_a_certificate_of_its_own() -> None:
    fleet = replace(
        FAILOVER, in_fleet=True, endpoints=lambda: ["https://10.0.0.1:2379", "https://10.0.0.2:2379"]
    )
    context = of_node(store_certificate="pem")
    context = replace(context, host=replace(context.host, failover=fleet))
    before = replace(seen(of_node()), endpoints=tuple(fleet.endpoints()))
    files = managed.agent_files(context, fleet, before)
    found = json.loads(files[context.paths.patroni_configuration])
    assert found["etcd3"]["hosts"] == ["10.0.0.1:2379", "10.0.0.2:2379"]
    assert found["etcd3"]["protocol"] == "https"
    assert found["etcd3"]["cert"] == str(context.paths.store_certificate)
    assert files[context.paths.store_certificate] == b"pem"
    assert found["cenote"]["socket"] == ""
    # Another member is no reason to start Patroni anew: the members tell it.
    fewer = replace(before, endpoints=("https://10.0.0.2:2379",))
    assert managed._digests(context, fleet, before) == managed._digests(context, fleet, fewer)


def test_files_of_nodes_that_share_a_host_are_apart() -> None:
    first, second = of_node("node-1").paths, of_node("node-2").paths
    for name in ("data", "settings", "patroni", "patroni_configuration", "patroni_launcher"):
        assert getattr(first, name) != getattr(second, name)
    assert not second.patroni.is_relative_to(first.patroni)


# -- What follows for the other parts


def test_what_a_host_has_once_is_the_part_of_its_first_node() -> None:
    assert [of_node(name).is_first_here for name in ("node-1", "node-2", "node-3")] == [True, False, True]
    assert of_node().kinds == {NodeKind.WRITER, NodeKind.MANAGED}
    assert of_node("node-2").kinds == {NodeKind.MANAGED}


def test_nodes_let_each_other_in_by_certificates_and_nobody_else_as_superuser() -> None:
    files = managed.server_files(of_node("node-2"))
    hba = next(content.decode() for path, content in files.items() if path.name == "pg_hba.conf")
    ident = next(content.decode() for path, content in files.items() if path.name == "pg_ident.conf")
    lines = [line.split() for line in hba.splitlines()]
    of_superuser = [line for line in lines if len(line) > 2 and line[2] == "postgres"]
    assert ["hostssl", "replication,postgres", "postgres", "all", "cert", "map=cenote-nodes"] in of_superuser
    assert of_superuser[-1][-1] == "reject"
    assert '"here.host.cenote"' in ident or "here.host.cenote" in ident
    assert "there.host.cenote" in ident


def test_a_node_that_is_alone_again_is_released_once_it_takes_writes() -> None:
    alone = msgspec.structs.replace(TRIO, nodes=TRIO.nodes[:1])
    context = NodeContext(alone, alone.nodes[0], replace(SITE, failover=FAILOVER))
    assert list(release.plan(context, release.Seen(has_folder=False))) == []
    following = release.Seen(has_folder=True, running=True, recovering=True)
    assert isinstance(next(iter(release.plan(context, following))), Wait)
    ending = list(release.plan(context, release.Seen(has_folder=True, running=True)))
    assert in_words(ending)[0] == f"Stop {PATRONI}"
    assert isinstance(ending[0], Stop)
    assert ending[0].program.stop_signal.name == "SIGKILL"  # in order it would stop PostgreSQL


def test_no_node_that_was_removed_takes_over_from_the_one_that_is_left() -> None:
    """Its host may be away, with a Patroni that works and sees that nobody leads any more."""
    alone = msgspec.structs.replace(TRIO, nodes=TRIO.nodes[:1], left=TRIO.nodes[1:])
    context = NodeContext(alone, alone.nodes[0], replace(SITE, failover=FAILOVER), leader="node-1")
    context = replace(context, agreed=TAKEN_OVER)
    found = release.Seen(has_folder=True, running=True, password=Secret("drawn"))
    publish, stop, *_ = release.plan(context, found)
    assert isinstance(publish, Publish)
    assert json.loads(publish.content)["pause"] is True
    assert isinstance(stop, Stop)
    told = replace(context, agreed=replace(TAKEN_OVER, shared=publish.content))
    assert isinstance(next(iter(release.plan(told, found))), Stop)
    # With nodes again, all follow what they followed before.
    grown = replace(of_node(), agreed=replace(TAKEN_OVER, shared=publish.content))
    assert any(isinstance(change, Publish) and b"pause" not in change.content for change in plan(grown))


def test_slots_of_patroni_go_with_it_and_no_others() -> None:
    alone = msgspec.structs.replace(TRIO, nodes=TRIO.nodes[:1])
    context = NodeContext(alone, alone.nodes[0], replace(SITE, failover=FAILOVER))
    names = [Slot("node_2", pid=7), Slot("node_3"), Slot("theirs"), Slot("node_4", logical=True)]
    changes = list(release.plan(context, release.Seen(has_folder=True, slots=tuple(names))))
    dropped = [change.summary for change in changes if isinstance(change, Sql)]
    assert dropped == ["dropping the slot node_2", "dropping the slot node_3"]
    assert isinstance(changes[-1], Remove)
    # While its server cannot be asked, the folder stays, so that they are not forgotten.
    assert list(release.plan(context, release.Seen(has_folder=True, slots=None))) == []


def test_a_standby_reports_what_it_lacks_and_the_writer_who_follows() -> None:
    behind = replication.Seen(True, receiving=True, replayed=7, behind=3, seconds=0.5)
    found = replication.report(of_node("node-2"), behind)["standby"]
    assert found is not None
    assert (found.streaming, found.replayed, found.behind, found.seconds) == (True, 7, 3, 0.5)  # type: ignore[attr-defined]
    writes = replication.Seen(False, quorum=("node-2",), followers=("node-2", "node-3"))
    assert replication.report(of_node(), writes) == {
        "standby": None,
        "quorum": ("node-2",),
        "followers": ("node-2", "node-3"),
    }
    assert list(replication.plan(of_node(), writes)) == []
    assert isinstance(next(iter(replication.plan(of_node("node-2"), replication.Seen(True)))), Wait)


def test_a_full_disk_is_told_where_a_server_does_not_start_or_follow() -> None:
    context, full = of_node("node-2"), "the disk is full (3 MiB free)"
    starting = managed.plan(context, seen(context, loaded=loaded.Loaded(None, None), full_disk=full))
    waits = next(one for one in starting if isinstance(one, Wait))
    assert waits == Wait(f"Patroni is starting PostgreSQL: {full}")
    [follows] = replication.plan(context, replication.Seen(True, full_disk=full))
    assert follows == Wait(f"not connected to node-1: {full}")


def test_a_node_whose_wal_the_primary_has_not_kept_gives_up_its_data_and_says_so() -> None:
    gone = (
        "could not receive data from WAL stream: ERROR:  requested WAL segment 00A has already been removed"
    )
    context = of_node("node-2")
    written, waits = list(replication.plan(context, replication.Seen(True, said=gone)))
    assert isinstance(written, WriteFile)
    assert written.path == context.paths.cannot_follow
    assert isinstance(waits, Wait)
    assert "node-1 does not have the WAL any more that it needs" in waits.reason
    others = (
        (context, replication.Seen(True, receiving=True, said=gone)),  # of a former attempt
        (context, replication.Seen(True, said="could not connect to the primary server")),
        (
            of_node("node-2", Agreed(leader=None, identifier="7", shared=None)),
            replication.Seen(True, said=gone),
        ),
        (of_node(), replication.Seen(False, followers=("node-2",), quorum=("node-2",), said=gone)),
    )
    for of_other, seen_there in others:
        assert not [one for one in replication.plan(of_other, seen_there) if isinstance(one, WriteFile)]


def test_a_host_that_was_removed_as_lost_replicates_no_more() -> None:
    lost = msgspec.structs.replace(TRIO.nodes[2], lost_at=NOW)
    cluster = msgspec.structs.replace(TRIO, nodes=(*TRIO.nodes[:2], lost))
    ident = managed.server_files(of_node(cluster=cluster))[of_node().paths.data / "pg_ident.conf"].decode()
    assert "here.host.cenote" in ident
    assert "there.host.cenote" not in ident


def test_patroni_listens_nowhere_while_the_address_of_its_host_is_not_known() -> None:
    unknown = of_node(addresses={"here": "", "there": "10.0.0.2"})
    changes = plan(unknown, agent=DOWN)
    assert changes == []  # it waits


def test_patronis_own_slots_are_no_hindrance_after_an_upgrade_that_was_not_made() -> None:
    slots = (Slot("node_2"), Slot("cenote_node_2"))
    context = of_node(agreed=NEW, was_online=True)
    assert any(isinstance(one, Refuse) for one in plan(context, agent=DOWN, slots=slots))
    mark = MajorUpgrade(source="15", asked_at=NOW, node="node-1", step=UpgradeStep.REJOINING)
    cluster = msgspec.structs.replace(context.cluster, major_upgrade=mark)
    rejoining = replace(context, cluster=cluster)
    assert in_words(plan(rejoining, agent=DOWN, slots=slots)) == ["Start Patroni"]


def test_after_an_upgrade_that_was_not_made_patroni_begins_with_the_node_that_went_on_alone() -> None:
    mark = MajorUpgrade(source="15", asked_at=NOW, node="node-1", step=UpgradeStep.REJOINING)
    stopped = loaded.Loaded(None, None)

    def starts(name: str, agreed: Agreed, *, lost: bool = False) -> bool:
        first, *others = TRIO.nodes
        first = msgspec.structs.replace(first, lost_at=NOW if lost else None)
        cluster = msgspec.structs.replace(TRIO, nodes=(first, *others), major_upgrade=mark)
        context = replace(of_node(name, agreed), cluster=cluster)
        changes = managed.plan(context, seen(context, agent=stopped, loaded=stopped, state=b""))
        return any(isinstance(change, Start) for change in until_wait(list(changes)))

    assert starts("node-1", Agreed())
    for agreed in (Agreed(), Agreed(identifier="7")):
        assert not starts("node-2", agreed)
        assert starts("node-2", agreed, lost=True)
    assert starts("node-2", TAKEN_OVER)


def test_patroni_begins_with_nothing_that_the_store_said_once() -> None:
    """It may have been a pause, by which a node ended Patroni that was lost since."""
    context = of_node("node-2", Agreed())
    changes = plan(context, agent=DOWN, loaded=DOWN, state=b"", remembers=True)
    assert in_words(changes) == ["Remove", "Start Patroni"]
    assert changes[0] == Remove(context.paths.data / "patroni.dynamic.json")
    assert in_words(plan(context, agent=DOWN, loaded=DOWN, state=b"")) == ["Start Patroni"]


def test_patroni_ends_for_an_upgrade_once_commits_wait_for_another_node() -> None:
    mark = MajorUpgrade(source="15", asked_at=NOW, node="node-1", step=UpgradeStep.RELEASING)
    context = of_node(cluster=msgspec.structs.replace(TRIO, version="17", major_upgrade=mark))
    found = release.Seen(has_folder=True, running=True, password=Secret("drawn"))
    assert isinstance(next(iter(release.plan(context, found))), Wait)
    known = replace(TAKEN_OVER, may_lead=frozenset({"node-2"}))
    leaderless = replace(context, agreed=replace(known, leader=None))
    assert isinstance(next(iter(release.plan(leaderless, found))), Wait), (
        "nothing could be told to the others"
    )
    publish, stop, *_ = release.plan(replace(context, agreed=known), found)
    assert isinstance(publish, Publish)
    assert isinstance(stop, Stop)
    off = Configuration(failover={"synchronous_replication": "off"})
    alone = replace(context, cluster=msgspec.structs.replace(context.cluster, configuration=off))
    assert isinstance(next(iter(release.plan(alone, found))), Publish), "commits wait for none"
    told = replace(context, agreed=replace(known, shared=publish.content))
    assert isinstance(next(iter(release.plan(told, found))), Stop), "it has paused"
