"""Secrets for one process alone."""

from __future__ import annotations

import base64

import pytest

from cenote.errors import Invalid
from cenote.security.boxes import Recipient, box


def test_only_the_recipient_opens_a_box_and_only_for_what_it_is_about() -> None:
    recipient, other = Recipient(), Recipient()
    closed = box("a secret ä", recipient.public_key, "host-1")
    assert recipient.open(closed, "host-1") == "a secret ä"
    assert "secret" not in closed
    assert box("a secret ä", recipient.public_key, "host-1") != closed
    for opener, about in ((other, "host-1"), (recipient, "host-2")):
        with pytest.raises(Invalid, match="not for this process"):
            opener.open(closed, about)


@pytest.mark.parametrize("garbage", ["", "x", "ä", base64.b64encode(bytes(32)).decode(), "A" * 200])
def test_what_is_damaged_is_refused(garbage: str) -> None:
    with pytest.raises(Invalid):
        Recipient().open(garbage, "host-1")
    if len(garbage) < 100:
        with pytest.raises(Invalid):
            box("a secret", garbage, "host-1")


def test_a_changed_box_does_not_open() -> None:
    recipient = Recipient()
    content = bytearray(base64.b64decode(box("a secret", recipient.public_key, "host-1")))
    for at in (0, 31, 32, len(content) - 1):
        changed = bytearray(content)
        changed[at] ^= 1
        with pytest.raises(Invalid):
            recipient.open(base64.b64encode(changed).decode(), "host-1")
