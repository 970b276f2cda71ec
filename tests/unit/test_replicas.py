"""Read replicas: what their records say, and what is planned for them and their sources."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from cenote.conf import conninfo, patroni
from cenote.engine.parts import NODE_PARTS
from cenote.engine.plan import base_backup, certificate, leading, postgresql, replica, slots
from cenote.engine.plan.context import Follower, NodeContext, NodeKind, Source
from cenote.engine.plan.slots import Slot
from cenote.errors import Busy, Invalid
from cenote.model import catalog, topology
from cenote.model.changes import Change, Plan, Refuse, Remove, Rename, Sql, Start, Stop, Wait, WriteFile
from cenote.model.migrations import MigrationSource, OnlineMigration
from cenote.model.parts import PartName
from cenote.model.records import Cluster, ClusterStatus, FirewallRule, MajorUpgrade, SourceType
from cenote.model.status_records import NodeStatus, Standby
from cenote.rules import node_counts, replicas
from cenote.security.certificates import Validity
from cenote.store.encoding import encode
from cenote.store.keys import Keys
from cenote.store.tables import Tables
from tests.support.etcd import bare_cluster
from tests.support.wanted import CLUSTER, NOW, SITE, WANTED, until_wait

SOURCE = msgspec.structs.replace(
    CLUSTER,
    storage_mib=20480,
    size="db-s-2vcpu-4gb",
    firewall=(FirewallRule(id=uuid4(), type=SourceType.IP_ADDR, value="192.0.2.1", created_at=NOW),),
)
DRAFT = msgspec.structs.replace(
    CLUSTER, id=uuid4(), name="reports", pools=(), users=(), databases=(), storage_mib=10240
)
REPLICA = replicas.inherited(SOURCE, DRAFT)
SLOT = replicas.slot(REPLICA)
FOLLOWER = Follower(SLOT, "there")
PLACES = (("192.0.2.7", 25060), ("192.0.2.8", 25062))
CONTEXT = NodeContext(REPLICA, REPLICA.nodes[0], SITE, source=Source("backend", PLACES))
FOLLOWED = replace(WANTED, replicas=(FOLLOWER,))
SMALL, LARGE = catalog.SIZES["db-s-1vcpu-2gb"], catalog.SIZES["db-s-4vcpu-8gb"]


def pass_of(plan: Plan) -> list[Change]:
    """Return the changes up to a wait, with it."""
    changes = list(plan)
    return changes[: len(until_wait(changes)) + 1]


def changed(**fields: Any) -> Cluster:
    return msgspec.structs.replace(REPLICA, **fields)


def seen(**fields: Any) -> NodeStatus:
    return NodeStatus(reached=0, at=NOW, **fields)


# -- Records


def test_a_replica_has_the_users_and_databases_of_its_source_and_none_in_its_own_record() -> None:
    used = replicas.as_used(REPLICA, SOURCE)
    assert (used.users, used.databases, used.pools) == (SOURCE.users, SOURCE.databases, ())
    written = replicas.as_written(used)
    assert (written.users, written.databases) == ((), ())
    assert replicas.as_written(SOURCE) is SOURCE
    assert used.storage_mib == SOURCE.storage_mib  # which may grow by itself
    assert replicas.as_used(changed(storage_mib=40960), SOURCE).storage_mib == 40960


def test_a_new_replica_takes_trusted_sources_over_as_rules_of_its_own() -> None:
    [rule], [own] = SOURCE.firewall, REPLICA.firewall
    assert (own.value, own.type) == (rule.value, rule.type)
    assert own.id != rule.id
    assert REPLICA.authority == SOURCE.authority
    assert REPLICA.backups is None


def test_a_promoted_replica_has_its_users_in_its_own_record_and_follows_nobody() -> None:
    asked = replicas.asked_to_promote(REPLICA, NOW)
    assert replicas.asked_to_promote(asked, NOW) is asked
    after = replicas.promoted(asked, SOURCE)
    assert (after.users, after.databases, after.removing) == (
        SOURCE.users,
        SOURCE.databases,
        SOURCE.removing,
    )
    assert (after.replica_of, after.promote_asked_at) == (None, None)
    assert replicas.as_written(after) is after
    assert (after.id, after.name, after.nodes) == (REPLICA.id, REPLICA.name, REPLICA.nodes)


@pytest.mark.parametrize(
    ("report", "whole"),
    [
        (None, False),
        (seen(copy=1), False),
        (seen(copy=1, standby=Standby(streaming=False, replayed=5)), False),
        (seen(copy=1, standby=Standby(streaming=True, replayed=5)), True),
        (seen(copy=2, standby=Standby(streaming=True, replayed=5)), False),
        # Its source may be gone, which is what it may be there for.
        (NodeStatus(reached=9, at=NOW, copy=1, standby=Standby(streaming=False, replayed=5)), True),
    ],
)
def test_a_replica_is_promoted_once_it_has_all_data(report: NodeStatus | None, whole: bool) -> None:
    assert replicas.is_whole(REPLICA, report) is whole


def test_a_replica_is_never_smaller_than_its_source() -> None:
    same = catalog.SIZES[SOURCE.size]
    replicas.check_size(SOURCE, same, SOURCE.storage_mib)
    replicas.check_size(SOURCE, LARGE, SOURCE.storage_mib + 1)
    with pytest.raises(Invalid, match="at least as large as its source backend"):
        replicas.check_size(SOURCE, SMALL, SOURCE.storage_mib)
    with pytest.raises(Invalid, match="storage_size_mib: 10240 is less than the 20480 of backend"):
        replicas.check_size(SOURCE, same, 10240)
    with pytest.raises(Invalid, match=f"Resize its read replica reports first: .* Its id is {REPLICA.id}"):
        replicas.check_growth(SOURCE, LARGE, SOURCE.storage_mib, [REPLICA])
    replicas.check_growth(SOURCE, LARGE, SOURCE.storage_mib, [])
    with pytest.raises(Invalid, match="a read replica has 1 node, not 2"):
        node_counts.check(REPLICA, 2)


def test_a_cluster_with_replicas_is_not_deleted_and_one_whose_replicas_leave_soon_is_later() -> None:
    replicas.check_none(SOURCE, [])
    leaving = replicas.asked_to_promote(REPLICA, NOW)
    with pytest.raises(Invalid, match=r"has read replicas: reports\. Delete or promote them first"):
        replicas.check_none(SOURCE, [leaving, REPLICA])
    with pytest.raises(Busy, match="reports is being promoted"):
        replicas.check_none(SOURCE, [leaving])


def test_which_clusters_can_have_one_more_replica() -> None:
    online = ClusterStatus.ONLINE
    replicas.check_source(SOURCE, online, [], "more")
    with pytest.raises(Busy, match="backend is creating"):
        replicas.check_source(SOURCE, ClusterStatus.CREATING, [], "more")
    upgraded = msgspec.structs.replace(SOURCE, major_upgrade=MajorUpgrade(source="15", asked_at=NOW))
    with pytest.raises(Busy, match="is being upgraded"):
        replicas.check_source(upgraded, online, [], "more")
    origin = MigrationSource(host="old", port=5432, dbname="d", username="u", sealed_password="s")
    migration = OnlineMigration(id=uuid4(), source=origin, asked_at=NOW)
    busy = msgspec.structs.replace(SOURCE, online_migration=migration)
    with pytest.raises(Busy, match="has an online migration into it"):
        replicas.check_source(busy, online, [], "more")
    for source, others, words in (
        (REPLICA, [], "no replicas of its own"),
        (SOURCE, [REPLICA], "replica name is not available"),
        (SOURCE, [changed(name=f"r-{number}") for number in range(replicas.MOST)], "at most 10"),
    ):
        with pytest.raises(Invalid, match=words):
            replicas.check_source(source, online, others, "reports")


def test_records_are_found_by_their_source_until_they_follow_it_no_more() -> None:
    keys = Keys("/cenote/")
    tables, source = Tables(keys), bare_cluster("one", 10_000)
    follower = msgspec.structs.replace(bare_cluster("two", 10_002), replica_of=source.id)
    key = keys.cluster(follower.id)
    tables.put(key, encode(follower), 1)
    assert tables.replicas == {source.id: {follower.id}}
    tables.put(key, encode(msgspec.structs.replace(follower, replica_of=None)), 2)
    assert tables.replicas == {}
    assert tables.left_by_replicas == {source.id}
    tables.put(key, encode(follower), 3)
    tables.remove(key)
    assert tables.replicas == {}


# -- The source's server


def test_a_source_has_a_slot_for_each_replica_and_drops_it_with_the_replica() -> None:
    [made] = slots.plan(FOLLOWED, slots.Seen())
    assert isinstance(made, Sql)
    assert made.summary == f"making the slot {SLOT}"
    there = slots.Seen((Slot(SLOT, pid=7), Slot("customers", logical=True)))
    assert list(slots.plan(FOLLOWED, there)) == []
    [dropped] = slots.plan(WANTED, there)
    assert isinstance(dropped, Sql)
    assert dropped.summary == f"dropping the slot {SLOT}"


def test_a_slot_that_has_lost_wal_has_its_replica_copied_anew_by_another_one() -> None:
    lost = slots.Seen((Slot(SLOT, lost=True), Slot("customers", logical=True, lost=True)))
    assert slots.report(FOLLOWED, lost)["lost_slots"] == (SLOT,)
    again = replicas.copied_anew(REPLICA, [SLOT])
    assert replicas.slot(again) not in (SLOT, replicas.slot(changed(id=uuid4())))
    assert replicas.copied_anew(again, [SLOT]) is again
    leaving = replicas.asked_to_promote(REPLICA, NOW)
    assert replicas.copied_anew(leaving, [SLOT]) is leaving  # it has all that it will ever have


def test_slots_of_replicas_stand_in_patronis_configuration_so_that_they_outlive_a_failover() -> None:
    assert patroni.shared({}, [SLOT], seconds=10, synchronous=True)["slots"] == {SLOT: {"type": "physical"}}
    assert "slots" not in patroni.shared({}, seconds=10, synchronous=True)


def test_a_source_lets_the_hosts_of_its_replicas_replicate_and_no_others() -> None:
    def rendered(context: NodeContext) -> str:
        files = postgresql.configuration_files(context)
        return b"".join(
            files[context.paths.data / name] for name in ("pg_hba.conf", "pg_ident.conf")
        ).decode()

    assert "cert map=cenote-nodes" in rendered(FOLLOWED)
    assert "there" in rendered(FOLLOWED)
    assert "cert map=cenote-nodes" not in rendered(WANTED)
    assert "ssl_ca_file" in postgresql.settings(FOLLOWED)
    assert not FOLLOWED.is_alone
    assert WANTED.is_alone


# -- The replica's own


def test_what_a_replica_has_no_part_in() -> None:
    assert CONTEXT.kinds == {NodeKind.REPLICA}
    names = {part.name for part in NODE_PARTS if part.is_on(CONTEXT)}
    assert names >= {PartName.BASE_BACKUP, PartName.SERVER, PartName.POOLER, PartName.RESTART}
    writing = {PartName.ROLES, PartName.DATABASES, PartName.GRANTS, PartName.UPGRADE, PartName.SLOTS}
    assert not names & {*writing, PartName.ADOPTION, PartName.MAJOR_UPGRADE}


def test_a_replica_follows_whichever_server_of_its_source_is_primary() -> None:
    settings = postgresql.settings(CONTEXT)
    assert settings["primary_slot_name"] == SLOT
    for words in ("host='192.0.2.7,192.0.2.8'", "port='25060,25062'", "target_session_attrs='primary'"):
        assert words in settings["primary_conninfo"]
    assert "max_standby_streaming_delay" not in settings  # its owner's
    unknown = replace(CONTEXT, source=None)
    assert postgresql.settings(unknown)["primary_conninfo"] == ""


def test_the_copy_is_of_the_source_by_the_slot_of_the_replica_and_has_its_number() -> None:
    [*_, started, waits] = pass_of(base_backup.plan(CONTEXT, base_backup.Seen(has_data=False)))
    assert isinstance(started, Start)
    assert isinstance(waits, Wait)
    assert waits.reason == "copying the data of backend"
    arguments = started.program.argv
    assert arguments[arguments.index("--slot") + 1] == SLOT
    complete = base_backup.Seen(has_data=False, has_draft=True, complete=True)
    mark, signal, renamed, *_ = base_backup.plan(CONTEXT, complete)
    assert isinstance(mark, WriteFile)
    assert (mark.path.name, mark.content) == (base_backup.COPY, b"1")
    assert isinstance(signal, WriteFile)
    assert isinstance(renamed, Rename)


def test_a_copy_whose_slot_is_not_made_yet_says_so_and_any_other_what_its_log_says() -> None:
    said = base_backup.why_ended(f'pg_basebackup: error: ERROR:  replication slot "{SLOT}" does not exist')
    assert said == "its replication slot is not there yet on the node to copy from"
    assert base_backup.why_ended("no space left on device") == "no space left on device"


def test_a_replica_that_is_to_be_copied_anew_gives_its_data_up_and_promoted_data_never() -> None:
    has = base_backup.Seen(has_data=True, is_standby=True, copy=1, server_runs=True)
    assert list(base_backup.plan(CONTEXT, has)) == []
    again = replicas.as_used(changed(copies=2), SOURCE)
    context = replace(CONTEXT, cluster=again)
    stop, remove, *_ = base_backup.plan(context, has)
    assert isinstance(stop, Stop)
    assert remove == Remove(context.paths.data)
    assert base_backup.report(context, has) == {
        "copied_mib": 0,
        "copy": 1,
        "standby": None,
        "wal_gone": False,
    }
    [refused] = base_backup.plan(context, replace(has, is_standby=False))
    assert isinstance(refused, Refuse)


def test_how_far_a_replica_is_and_that_it_is_not_known_while_it_is_not_connected() -> None:
    good = replica.Seen(receiving=True, replayed=7, behind=0, seconds=0.0)
    assert list(replica.plan(CONTEXT, good)) == []
    assert replica.report(CONTEXT, good) == {
        "standby": Standby(streaming=True, replayed=7, seconds=0.0),
        "wal_gone": False,
    }
    [waits] = replica.plan(CONTEXT, replace(good, behind=3 << 30))
    assert waits == Wait("catching up with backend, 3072 MiB behind")
    away = replica.Seen(receiving=False, replayed=7)
    assert list(replica.plan(CONTEXT, away)) == [Wait("not connected to backend")]
    standby = replica.report(CONTEXT, away)["standby"]
    assert isinstance(standby, Standby)
    assert standby.seconds is None
    stop, _ = pass_of(replica.plan(CONTEXT, replace(good, paused=True)))
    assert stop == Stop(CONTEXT.server)


def test_a_replica_whose_source_lacks_wal_for_it_is_copied_anew_unless_it_has_more() -> None:
    removed = replica.Seen(False, said="ERROR:  requested WAL segment 00 has already been removed")
    assert replica.report(CONTEXT, removed)["wal_gone"]
    stuck = seen(copy=1, wal_gone=True)
    assert replicas.without_gap(REPLICA, stuck).copies == 2
    assert replicas.without_gap(changed(copies=2), stuck).copies == 2
    leaving = replicas.asked_to_promote(REPLICA, NOW)
    assert replicas.without_gap(leaving, stuck) is leaving
    ahead = replica.Seen(False, said="new timeline 2 forked off current database system timeline 1 before")
    assert replica.report(CONTEXT, ahead)["wal_gone"]
    recovered = replace(CONTEXT, source=Source("backend", PLACES, recovered_at=NOW))
    assert not replica.report(recovered, ahead)["wal_gone"]
    before, after = (replace(ahead, copied_at=NOW + timedelta(seconds=one)) for one in (-1, 1))
    assert not replica.report(recovered, before)["wal_gone"]
    assert replica.report(recovered, after)["wal_gone"], "another node of the source has taken over since"
    [refused] = pass_of(replica.plan(recovered, ahead))[:1]
    assert isinstance(refused, Refuse)
    assert "promote it to keep what it has" in refused.reason


def test_a_promoted_replica_is_created_until_its_server_takes_writes() -> None:
    after = replicas.promoted(replicas.asked_to_promote(REPLICA, NOW), SOURCE)
    context = replace(CONTEXT, cluster=after, source=None)
    assert context.kinds == {NodeKind.WRITER, NodeKind.PLAIN}
    [promote, _] = pass_of(leading.plan(context, leading.Seen(follows=True)))
    assert isinstance(promote, Sql)
    before = NodeStatus(reached=9, at=NOW, copy=1)
    assert topology.status(after, before) is ClusterStatus.CREATING
    assert topology.status(after, msgspec.structs.replace(before, copy=0)) is ClusterStatus.ONLINE
    assert topology.status(REPLICA, before) is ClusterStatus.ONLINE


def test_a_server_that_replicas_follow_needs_a_certificate_that_names_its_host() -> None:
    found = certificate.Seen(
        names=frozenset(CLUSTER.server_names),
        validity=Validity(NOW, NOW.replace(year=2027)),
        at=NOW,
        for_nodes=False,
    )
    assert list(certificate.plan(WANTED, found)) == []
    assert list(certificate.plan(FOLLOWED, found)) != []
    assert conninfo.of_source(PLACES, WANTED.cluster_paths.certificate, SLOT)["sslcert"]
