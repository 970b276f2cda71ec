"""Whose a pause of a pooler is, and when it is over."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.engine.plan import loaded, pooler
from cenote.engine.plan.pooler import Seen
from cenote.model import pauses
from cenote.model.changes import Change, Resume, Start, Wait, WriteFile
from cenote.model.pauses import AGENT, LONGEST, Moment, Pause
from tests.support.wanted import CERTIFICATE, MOMENT, PROCESS, WANTED, kinds

PAUSE = Pause(
    id="1", owner=AGENT, why="PostgreSQL is being restarted", boot=MOMENT.boot, until=MOMENT.seconds + 5
)
ANOTHERS = replace(PAUSE, owner="controller", why="the primary moves")


def ready() -> Seen:
    first = list(pooler.plan(WANTED, Seen({}, CERTIFICATE, loaded.Loaded(None, None), False, MOMENT)))
    [start] = [change for change in first if isinstance(change, Start)]
    written = {change.path: change.content for change in first if isinstance(change, WriteFile)}
    return Seen(dict(written), CERTIFICATE, loaded.Loaded(PROCESS, start.digest), True, MOMENT)


def planned(*, paused: bool, pause: Pause | None, at: Moment = MOMENT) -> list[Change]:
    return list(pooler.plan(WANTED, replace(ready(), paused=paused, pause=pause, at=at)))


@given(st.text(), st.text(), st.floats(0, 1e9))
def test_a_pause_is_read_as_it_was_written(owner: str, why: str, until: float) -> None:
    pause = Pause(id="1", owner=owner, why=why, boot="b", until=until)
    assert pauses.decode(pause.encode()) == pause


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'"text"', b'{"id": "1"}', b"\xff", b"null"])
def test_a_file_that_is_none_of_ours_is_no_pause(content: bytes | None) -> None:
    assert pauses.decode(content) is None


def test_a_pause_is_over_at_its_deadline_and_after_a_boot_and_when_it_would_last_too_long() -> None:
    assert not PAUSE.is_over(MOMENT)
    assert PAUSE.is_over(Moment(MOMENT.boot, PAUSE.until))
    assert PAUSE.is_over(Moment("another boot", MOMENT.seconds))
    assert replace(PAUSE, until=MOMENT.seconds + LONGEST + 1).is_over(MOMENT)


def test_a_pause_without_an_owner_is_ended() -> None:
    assert kinds(planned(paused=True, pause=None)) == [Resume]


def test_the_agents_own_pause_is_ended_also_when_an_earlier_agent_began_it() -> None:
    assert kinds(planned(paused=True, pause=PAUSE)) == [Resume]


def test_the_pause_of_another_is_waited_for_until_its_deadline() -> None:
    [wait] = planned(paused=True, pause=ANOTHERS)
    assert wait == Wait("the pools are paused by the controller: the primary moves")
    assert kinds(planned(paused=True, pause=ANOTHERS, at=Moment(MOMENT.boot, ANOTHERS.until))) == [Resume]


def test_the_file_of_a_pause_that_has_ended_goes_unless_another_is_about_to_pause() -> None:
    assert kinds(planned(paused=False, pause=PAUSE)) == [Resume]
    assert planned(paused=False, pause=ANOTHERS) == []
    assert planned(paused=False, pause=None) == []
