"""What a pass over a node tells of its parts while it is under way, and after it has failed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from cenote.agent.pass_progress import PassProgress

PARTS = ("access", "server", "roles", "pooler")


def fields(tried: int, ahead: Collection[str] = (), **failed: str) -> dict[str, Any]:
    return {"tried": tried, "failed": failed, "ahead": tuple(ahead)}


def failed_at_the_pooler(revision: int) -> PassProgress:
    """Return the progress of a first pass in which the access and the pooler failed."""
    progress = PassProgress()
    assert progress.fields() == {}
    progress.begin(revision, PARTS)
    assert progress.fields() == fields(revision, PARTS)
    progress.failed("access", "no answer")
    progress.done("server")
    progress.done("roles")
    assert progress.fields() == fields(revision, ["pooler"], access="no answer")
    progress.ended("no answer")
    assert progress.fields() == fields(revision, access="no answer", pooler="no answer")
    return progress


def test_a_further_pass_for_a_revision_takes_nothing_back_that_was_brought_about() -> None:
    progress = failed_at_the_pooler(7)
    progress.begin(7, PARTS)
    assert progress.fields() == fields(7, access="no answer", pooler="no answer")
    progress.done("access")
    assert progress.fields() == fields(7, pooler="no answer")
    progress.ended("the server does not start")
    assert progress.fields() == fields(7, pooler="the server does not start")
    progress.begin(7, PARTS)
    for part in PARTS:
        progress.done(part)
    assert progress.fields() == fields(7)


def test_a_pass_for_another_revision_begins_anew() -> None:
    progress = failed_at_the_pooler(7)
    progress.begin(8, PARTS)
    assert progress.fields() == fields(8, PARTS)


def test_what_failed_is_ahead_once_a_pass_waits_before_it() -> None:
    progress = failed_at_the_pooler(7)
    progress.begin(7, PARTS)
    progress.failed("access", "a lock")
    progress.waits()
    assert progress.fields() == fields(7, ["pooler"], access="a lock")
    progress.begin(7, PARTS)
    progress.done("access")
    progress.ended("a full disk")
    assert progress.fields() == fields(7, pooler="a full disk")
