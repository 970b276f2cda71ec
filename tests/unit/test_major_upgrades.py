"""Which upgrades to another major version are refused, and how the record follows their end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from cenote.errors import Busy, CenoteError, Invalid
from cenote.model.fleet_records import Host
from cenote.model.records import Cluster, ClusterStatus, Move, Node, RestartTurn, Restoration, Switchover
from cenote.model.status_records import NodeStatus, UpgradeReport
from cenote.rules import major_upgrades, record_formats
from tests.support.wanted import CLUSTER, NOW

HOST = Host(
    id="here",
    name="host-1",
    address="127.0.0.1",
    memory_mib=1,
    cpus=1,
    versions={"15": "15.18", "17": "17.12"},
    first_port=1,
    last_port=2,
)
SEEN = NodeStatus(reached=1, at=NOW, data_version="15")
BEGUN = major_upgrades.begun(CLUSTER, "17", NOW)
SECOND = Node(name="node-2", host="there", port=1, pool_port=2)


@pytest.mark.parametrize(
    ("requested", "words"),
    [
        pytest.param("15", "already", id="same"),
        pytest.param("14", "no way leads back", id="older"),
        pytest.param("16", "is not installed on host-1, which has 15, 17", id="missing"),
        pytest.param("17.2", "no major version", id="minor"),
        pytest.param("", "no major version", id="empty"),
        pytest.param("１７", "no major version", id="other digits"),
    ],
)
def test_versions_that_are_refused(requested: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        major_upgrades.version(CLUSTER, requested, [HOST])


def test_newer_version_that_is_installed_is_taken() -> None:
    assert major_upgrades.version(CLUSTER, "17", [HOST]) == "17"


@pytest.mark.parametrize(
    ("cluster", "kind"),
    [
        pytest.param(BEGUN, Busy, id="upgrade"),
        pytest.param(
            replace(
                CLUSTER,
                nodes=(*CLUSTER.nodes, SECOND),
                switchover=Switchover(source="node-1", target="node-2", asked_at=NOW, until=NOW),
            ),
            Busy,
            id="switchover",
        ),
        pytest.param(
            replace(CLUSTER, restart_turn=RestartTurn(node="node-2", since=NOW)), Busy, id="restart"
        ),
        pytest.param(
            replace(CLUSTER, move=Move(source="node-1", target="node-2", asked_at=NOW)), Busy, id="move"
        ),
        pytest.param(
            replace(CLUSTER, restoration=Restoration(node="node-1", source=CLUSTER.id, asked_at=NOW)),
            Busy,
            id="restoration",
        ),
    ],
)
def test_clusters_that_are_refused(cluster: Cluster, kind: type[CenoteError]) -> None:
    major_upgrades.check(CLUSTER, SEEN, ClusterStatus.ONLINE)
    with pytest.raises(kind):
        major_upgrades.check(cluster, SEEN, ClusterStatus.ONLINE)


def reported(**fields: object) -> dict[str, NodeStatus]:
    return {"node-1": replace(SEEN, **fields)}


def test_record_has_the_new_version_at_once_and_older_versions_leave_it_alone() -> None:
    assert BEGUN.version == "17"
    assert record_formats.needed(BEGUN) == record_formats.WITH_MAJOR_UPGRADES
    assert major_upgrades.ended(BEGUN, reported()) is BEGUN


def test_end_takes_the_mark_away() -> None:
    done = reported(data_version="17", major_upgrade=UpgradeReport(asked_at=NOW, done=True, held_ms=3200))
    ended = major_upgrades.ended(BEGUN, done)
    assert (ended.version, ended.major_upgrade) == ("17", None)
    assert record_formats.needed(ended) == record_formats.needed(CLUSTER)
    assert major_upgrades.note_of_end(BEGUN, done).what == (
        "was upgraded from PostgreSQL 15 to 17, with 3.2 s without a server"
    )


def test_refusal_takes_the_version_back() -> None:
    refused = reported(major_upgrade=UpgradeReport(asked_at=NOW, refused="no room"))
    assert major_upgrades.ended(BEGUN, refused) == CLUSTER
    assert major_upgrades.note_of_end(BEGUN, refused).what == "was not upgraded to PostgreSQL 17: no room"


def test_report_on_a_former_upgrade_ends_none() -> None:
    former = UpgradeReport(asked_at=NOW - timedelta(seconds=1), refused="no room")
    assert major_upgrades.ended(BEGUN, reported(major_upgrade=former)) is BEGUN


def test_record_of_an_older_store_follows_the_data() -> None:
    assert major_upgrades.ended(CLUSTER, reported(data_version="17")).version == "17"
    assert major_upgrades.ended(CLUSTER, reported(data_version="")) is CLUSTER
    assert major_upgrades.ended(CLUSTER, reported(data_version="15")) is CLUSTER


def test_record_of_several_nodes_follows_the_data_of_the_one_that_takes_writes() -> None:
    [first] = CLUSTER.nodes
    several = replace(CLUSTER, nodes=(first, replace(first, name="node-2")))
    reports = reported(data_version="17")
    assert major_upgrades.ended(several, reports, first.name).version == "17"
    assert major_upgrades.ended(several, reports, "node-2") is several  # its data are not known
    assert major_upgrades.ended(several, reports, None) is several
    begun = replace(BEGUN, nodes=several.nodes)  # ends step by step
    done = reported(data_version="17", major_upgrade=UpgradeReport(asked_at=NOW, done=True))
    assert major_upgrades.ended(begun, done, first.name) is begun
