"""Where pools of a cluster with several nodes lead, and for how long their clients are held meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cenote.engine.parts import NODE_PARTS
from cenote.engine.plan import loaded, pooler, routing
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.routing import Seen
from cenote.model.changes import Change, HoldPools, Reload, Resume, Wait, WriteFile
from cenote.model.parts import PartName
from cenote.model.pauses import AGENT, LEASE, MOVE, Pause
from cenote.model.records import Cluster, Node, Switchover, SwitchStage
from tests.support.wanted import CERTIFICATE, CLUSTER, MOMENT, NOW, PROCESS, SITE

ONE, TWO, THREE = (
    Node(name=f"node-{number}", host=host, port=25060, pool_port=25061)
    for number, host in enumerate(("here", "there", "third"), 1)
)
TRIO = msgspec.structs.replace(CLUSTER, nodes=(ONE, TWO, THREE))
ADDRESSES = {"here": "10.0.0.1", "there": "10.0.0.2", "third": "10.0.0.3"}
HELD = Pause("an id", MOVE, routing.FAILOVER, MOMENT.boot, MOMENT.seconds + LEASE, MOMENT.seconds - 1)
SWITCH = Switchover(
    source="node-1",
    target="node-2",
    asked_at=NOW,
    until=NOW + timedelta(seconds=9),
    stage=SwitchStage.HOLDING,
)


def context(leader: str | None, cluster: Cluster = TRIO, node: Node = ONE) -> NodeContext:
    return NodeContext(cluster, node, SITE, leader=leader, addresses=ADDRESSES)


def seen_of(former: NodeContext, **changes: Any) -> Seen:
    """A pooler that has read what it was to read in another situation."""
    contents = dict(pooler.configuration_files(former))
    digest = loaded.digest(*contents.values(), CERTIFICATE)
    seen = Seen(
        files=contents,
        certificate=CERTIFICATE,
        loaded=loaded.Loaded(PROCESS, digest),
        at=MOMENT,
        pools=("backend-pool",),
    )
    return replace(seen, **changes)


def pass_of(wanted: NodeContext, seen: Seen) -> list[Change]:
    done: list[Change] = []
    for change in routing.plan(wanted, seen):
        done.append(change)
        if isinstance(change, Wait):
            break
    return done


def kinds(changes: list[Change]) -> list[type]:
    return [type(change) for change in changes]


def leads_to(text: bytes) -> dict[str, str]:
    lines = text.decode().partition("[databases]\n")[2].partition("\n\n")[0].splitlines()
    return {line.partition(" = ")[0]: line.partition(" = ")[2].partition(" dbname")[0] for line in lines}


HERE = f"host='/data/run/{CLUSTER.id.hex[:12]}' port='25060'"


@pytest.mark.parametrize(
    ("node", "leader", "primary", "standby"),
    [
        pytest.param(ONE, "node-1", HERE, "host='10.0.0.2,10.0.0.3' port='25060'", id="primary's host"),
        pytest.param(ONE, "node-2", "host='10.0.0.2' port='25060'", HERE, id="standby's host"),
        pytest.param(THREE, "node-1", "host='10.0.0.1' port='25060'", HERE, id="another standby's host"),
    ],
)
def test_pools_lead_to_the_primary_and_to_a_standby_of_the_same_host_if_there_is_one(
    node: Node, leader: str, primary: str, standby: str
) -> None:
    files = pooler.configuration_files(context(leader, node=node))
    found = leads_to(files[routing.ini(context(leader))])
    assert found == {"backend-pool": primary, "backend-pool.standby": standby}


def test_two_nodes_of_a_host_have_one_pooler_that_leads_to_either_by_its_port() -> None:
    beside = msgspec.structs.replace(TWO, host="here", port=25062)
    cluster = msgspec.structs.replace(TRIO, nodes=(ONE, beside))
    for leader, ports in (("node-1", (25060, 25062)), ("node-2", (25062, 25060))):
        wanted = context(leader, cluster)
        assert (pooler.primary(wanted).port, getattr(pooler.standby(wanted), "port", 0)) == ports
        assert pooler.primary(wanted).hosts == ()


def test_standbys_whose_address_is_not_known_or_whose_port_is_another_are_left_out() -> None:
    nodes = (ONE, TWO, msgspec.structs.replace(THREE, port=25070))
    cluster = msgspec.structs.replace(TRIO, nodes=nodes)
    found = pooler.standby(context("node-1", cluster))
    assert found is not None
    assert (found.port, found.hosts) == (25060, ("10.0.0.2",))
    unknown = replace(context("node-1"), addresses={"there": "", "third": "10.0.0.3"})
    found = pooler.standby(unknown)
    assert found is not None
    assert found.hosts == ("10.0.0.3",)
    assert pooler.standby(replace(unknown, addresses={})) is None


def test_a_primary_whose_address_is_not_known_is_led_to_by_no_guess() -> None:
    unknown = replace(context("node-2"), addresses={"here": "10.0.0.1", "there": ""})
    assert kinds(pass_of(unknown, seen_of(context("node-1"), leads=True))) == [HoldPools, Wait]
    contents = dict(pooler.configuration_files(context("node-1")))
    seen = pooler.Seen(dict(contents), CERTIFICATE, loaded.Loaded(PROCESS, None), listening=True, at=MOMENT)
    assert list(pooler.configure(unknown, seen)) == []


def test_a_pooler_that_leads_where_it_shall_is_left_alone() -> None:
    for leader in ("node-1", "node-2"):
        assert pass_of(context(leader), seen_of(context(leader))) == []


def test_a_pooler_that_is_down_or_has_read_other_files_is_left_to_its_own_part() -> None:
    assert pass_of(context("node-2"), Seen()) == []


def test_clients_follow_the_new_primary_as_soon_as_it_takes_writes() -> None:
    wanted, seen = context("node-2"), seen_of(context("node-1"))
    waiting = pass_of(wanted, seen)
    assert kinds(waiting) == [HoldPools, Wait]
    [hold, wait] = waiting
    assert isinstance(hold, HoldPools)
    assert (hold.pools, hold.anyway, hold.or_none) == (("backend-pool",), True, False)
    assert isinstance(wait, Wait)
    assert wait.often
    held = replace(seen, paused=True, held=True, pause=HELD)
    assert kinds(pass_of(wanted, held)) == [Wait]
    led = pass_of(wanted, replace(held, leads=True))
    assert kinds(led) == [WriteFile, Reload, Resume]
    hanging = pass_of(wanted, replace(held, leads=True, hangs=True))
    assert kinds(hanging) == [HoldPools, WriteFile, Reload, Resume]
    cut = hanging[0]
    assert isinstance(cut, HoldPools)
    assert cut.cut == routing.LEFT, "queries that hang on the former primary end"
    planned = msgspec.structs.replace(TRIO, switchover=SWITCH)
    switched = pass_of(context("node-2", planned), replace(held, leads=True))
    assert kinds(switched) == [WriteFile, Reload, Resume], "of a planned switch there are none"
    [write] = [change for change in led if isinstance(change, WriteFile)]
    assert write.content == pooler.configuration_files(wanted)[routing.ini(wanted)]
    after = replace(seen_of(wanted), paused=True, held=True, pause=HELD, leads=True)
    assert kinds(pass_of(wanted, after)) == [Resume], "after a crash before it"


def test_pools_and_users_that_are_new_wait_for_their_own_parts() -> None:
    pools = (*CLUSTER.pools, msgspec.structs.replace(CLUSTER.pools[0], name="new-pool"))
    wanted = context("node-2", msgspec.structs.replace(TRIO, pools=pools))
    led = pass_of(wanted, replace(seen_of(context("node-1")), leads=True))
    [write] = [change for change in led if isinstance(change, WriteFile)]
    assert b"new-pool" not in write.content


def test_clients_are_held_while_no_node_takes_writes_and_the_pass_waits_for_one_at_first() -> None:
    seen = seen_of(context("node-1"))
    assert kinds(pass_of(context(None), seen)) == [HoldPools, Wait]
    assert kinds(pass_of(context("node-1"), replace(seen, is_up=False))) == [HoldPools, Wait]
    held = replace(seen, paused=True, held=True, pause=HELD)
    [wait] = pass_of(context(None), held)
    assert isinstance(wait, Wait)
    assert (wait.at_once, wait.often) == (True, False), "the new one wakes it"
    long_ago = replace(HELD, since=MOMENT.seconds - routing.SOON)
    assert pass_of(context(None), replace(held, pause=long_ago)) == [], "the pass goes on"
    ending = replace(long_ago, until=MOMENT.seconds + 1)
    assert kinds(pass_of(context(None), replace(held, pause=ending))) == [HoldPools], "nobody prolongs it"
    assert pass_of(context(None), replace(seen, pools=())) == []


def test_pools_are_led_before_a_switch_is_prepared_anew() -> None:
    """Preparing it waits, and would leave those paused that an attempt before had held."""
    names = [part.name for part in NODE_PARTS]
    assert names.index(PartName.ROUTING) < names.index(PartName.SWITCHING)


def test_the_own_part_of_the_pooler_neither_leads_nor_lets_go_meanwhile() -> None:
    contents = dict(pooler.configuration_files(context("node-2")))
    seen = pooler.Seen(dict(contents), CERTIFICATE, loaded.Loaded(PROCESS, None), listening=True, at=MOMENT)
    held = replace(seen, paused=True, pause=HELD)
    assert list(pooler.plan(context(None), held)) == []
    switching = msgspec.structs.replace(TRIO, switchover=SWITCH)
    current = replace(held, loaded=loaded.Loaded(PROCESS, pooler.digest_of(contents, seen)))
    assert list(pooler.plan(context("node-2", switching), current))[-1:] == [
        Resume(context("node-2").bouncer)
    ], "the switch is over"
    known = pooler.configuration_files(context("node-1"))
    of_source: dict[Path, bytes | None] = dict(known)
    read = loaded.Loaded(PROCESS, pooler.digest_of(known, seen))
    before = replace(current, files=of_source, loaded=read)
    assert list(pooler.plan(context("node-1", switching), before)) == []


def test_clients_are_not_held_for_ever_for_a_node_that_does_not_come() -> None:
    long_ago = replace(HELD, since=MOMENT.seconds - routing.GIVEN_UP - 1)
    seen = replace(seen_of(context("node-1")), paused=True, held=True, pause=long_ago)
    assert kinds(pass_of(context("node-2"), seen)) == [WriteFile, Reload, Resume]


def test_the_pause_of_another_owner_is_left_to_it() -> None:
    pause = replace(HELD, owner="operator")
    seen = replace(seen_of(context("node-1")), paused=True, pause=pause, leads=True)
    assert pass_of(context("node-2"), seen) == []
    assert kinds(pass_of(context("node-2"), replace(seen, pause=replace(HELD, owner=AGENT)))) == [
        HoldPools,
        WriteFile,
        Reload,
        Resume,
    ]


# -- Planned switches


def test_pools_are_held_for_a_switch_when_nobody_is_in_the_middle_of_something() -> None:
    wanted = context("node-1", msgspec.structs.replace(TRIO, switchover=SWITCH))
    seen = seen_of(context("node-1"))
    busy = pass_of(wanted, replace(seen, oldest=2.0))
    assert kinds(busy) == [Wait]
    assert kinds(pass_of(wanted, replace(seen, oldest=2.0, paused=True))) == [Resume, Wait]
    [hold, wait] = pass_of(wanted, seen)
    assert isinstance(hold, HoldPools)
    assert (hold.or_none, hold.anyway) == (True, False)
    assert isinstance(wait, Wait)
    assert wait.now == {"held_for": SWITCH.attempt}, "it is told without another look"
    held = replace(seen, paused=True, held=True, pause=HELD)
    assert kinds(pass_of(wanted, held)) == [Wait]
    assert routing.report(wanted, held)["held_for"] == SWITCH.attempt
    assert routing.report(wanted, seen)["held_for"] == ""
    assert routing.report(wanted, Seen())["held_for"], "nobody is there to be held"
    assert routing.report(wanted, Seen(unknown=True))["held_for"] == "", "they work in it"
    assert routing.report(wanted, replace(seen, pools=(), unknown=True))["held_for"] == ""


def test_what_is_let_go_again_is_not_held_for_the_next_attempt() -> None:
    again = msgspec.structs.replace(SWITCH, stage=SwitchStage.PREPARING, tries=1)
    wanted = context("node-1", msgspec.structs.replace(TRIO, switchover=again))
    held = replace(seen_of(context("node-1")), paused=True, held=True, pause=HELD, leads=True)
    assert kinds(pass_of(wanted, held)) == [Resume]
    assert routing.report(wanted, held)["held_for"] == ""


def test_pools_are_not_let_go_once_the_other_node_was_asked_to_take_over() -> None:
    asked = msgspec.structs.replace(SWITCH, stage=SwitchStage.SWITCHING)
    wanted = context("node-1", msgspec.structs.replace(TRIO, switchover=asked))
    ending = replace(HELD, until=MOMENT.seconds + 1)
    seen = replace(seen_of(context("node-1")), paused=True, held=True, oldest=2.0, pause=ending)
    [hold, wait] = pass_of(wanted, seen)
    assert isinstance(hold, HoldPools)
    assert (hold.anyway, hold.or_none) == (True, False)
    assert isinstance(wait, Wait)


def test_a_switch_that_is_to_cut_does_not_wait_for_long_transactions() -> None:
    cutting = msgspec.structs.replace(SWITCH, cut=True)
    wanted = context("node-1", msgspec.structs.replace(TRIO, switchover=cutting))
    [hold, wait] = pass_of(wanted, replace(seen_of(context("node-1")), oldest=2.0))
    assert isinstance(hold, HoldPools)
    assert (hold.or_none, hold.cut) == (True, routing.LONG)
    assert isinstance(wait, Wait)


def test_where_pools_lead_is_told_once_their_clients_are_not_held_any_more() -> None:
    wanted = context("node-1", msgspec.structs.replace(TRIO, switchover=SWITCH))
    held = replace(seen_of(context("node-1")), paused=True, held=True, pause=HELD)
    assert routing.report(wanted, held)["led_to"] == ""
    assert routing.report(context(None), held)["led_to"] == ""
    assert "led_to" not in routing.report(context("node-2"), held), "it does not take writes yet"
    told = routing.report(context("node-2"), replace(held, leads=True))
    assert (told["led_to"], told["held_ms"]) == ("node-2", 1000)
    assert routing.report(context("node-2"), seen_of(context("node-2")))["led_to"] == "node-2"


def test_nobody_is_held_while_a_switch_is_prepared() -> None:
    preparing = msgspec.structs.replace(SWITCH, stage=SwitchStage.PREPARING)
    wanted = context("node-1", msgspec.structs.replace(TRIO, switchover=preparing))
    seen = seen_of(context("node-1"))
    assert pass_of(wanted, seen) == []
    held = replace(seen, paused=True, held=True, pause=HELD, leads=True)
    assert kinds(pass_of(wanted, held)) == [Resume], "since an attempt before was given up"


def test_it_is_told_while_a_switch_is_prepared_whether_a_transaction_would_have_clients_held_in_vain() -> (
    None
):
    preparing = msgspec.structs.replace(SWITCH, stage=SwitchStage.PREPARING)
    wanted = context("node-1", msgspec.structs.replace(TRIO, switchover=preparing))
    seen = seen_of(context("node-1"))

    def told(where: NodeContext, found: Seen) -> tuple[object, object]:
        report = routing.report(where, found)
        return report["free_for"], report["busy_seconds"]

    assert told(wanted, seen) == (preparing.attempt, 0)
    assert told(wanted, Seen()) == (preparing.attempt, 0), "nobody is there to be held"
    assert told(wanted, replace(seen, oldest=2.5)) == ("", 2)
    assert told(wanted, replace(seen, oldest=59.9)) == ("", 55), "a report each second would cost a write"
    assert told(wanted, replace(seen, oldest=3601.0)) == ("", 3600)
    assert told(wanted, replace(seen, unknown=True))[0] == ""
    cutting = msgspec.structs.replace(TRIO, switchover=msgspec.structs.replace(preparing, cut=True))
    assert told(context("node-1", cutting), replace(seen, oldest=2.5))[0] == preparing.attempt
    assert told(context("node-2", wanted.cluster), seen) == ("", 0), "that one leads already"
    holding = msgspec.structs.replace(TRIO, switchover=SWITCH)
    assert told(context("node-1", holding), seen) == ("", 0)


def test_an_attempt_is_told_from_the_one_before() -> None:
    again = msgspec.structs.replace(SWITCH, tries=1)
    assert again.attempt != SWITCH.attempt


def test_a_switch_that_is_given_up_lets_clients_go_on() -> None:
    seen = replace(seen_of(context("node-1")), paused=True, held=True, pause=HELD, leads=True)
    assert kinds(pass_of(context("node-1"), seen)) == [Resume]


def test_pools_are_held_while_the_writer_is_restarted_in_its_place_which_its_own_pass_goes_on_to() -> None:
    switch = msgspec.structs.replace(SWITCH, target="node-1", stage=SwitchStage.SWITCHING)
    restarting = msgspec.structs.replace(TRIO, switchover=switch)
    writer, other = context("node-1", restarting), context("node-1", restarting, TWO)
    held = replace(seen_of(context("node-1")), paused=True, held=True, pause=HELD)
    assert pass_of(writer, held) == []
    assert pass_of(writer, replace(held, is_up=False)) == []
    elsewhere = replace(seen_of(context("node-1", node=TWO)), paused=True, held=True, pause=HELD)
    assert pass_of(other, elsewhere) == [Wait("held, for a restart", at_once=True)]
    holding = msgspec.structs.replace(
        TRIO, switchover=msgspec.structs.replace(switch, stage=SwitchStage.HOLDING)
    )
    assert kinds(pass_of(context("node-1", holding), held)) == [Wait]
    assert kinds(pass_of(context("node-1"), replace(held, leads=True))) == [Resume]


def test_after_a_switch_clients_follow_although_the_record_still_has_it() -> None:
    wanted = context("node-2", msgspec.structs.replace(TRIO, switchover=SWITCH))
    seen = replace(seen_of(context("node-1")), paused=True, held=True, pause=HELD, leads=True)
    assert kinds(pass_of(wanted, seen)) == [WriteFile, Reload, Resume]
    assert routing.report(wanted, seen)["held_ms"] == 1000
