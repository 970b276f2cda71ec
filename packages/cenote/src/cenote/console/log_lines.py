"""Log messages for a page or a file: bounded, and with control characters made visible.  Pure."""

from __future__ import annotations

from typing import Any

MAX_TEXT = 2_000  # characters that a page shows of a message
MAX_SHOWN = 40_000  # and of all of them
_PICTURES = 0x2400  # where Unicode has the symbols of the control characters


def newest(messages: list[Any], limit: int = MAX_SHOWN) -> list[Any]:
    """Return the newest messages that fit into so many characters, long ones shortened, oldest first."""
    found: list[Any] = []
    for message in reversed(messages):
        text, left = visible(message["text"]), len(message["text"]) - MAX_TEXT
        if left > 0:
            text = f"{visible(message['text'][:MAX_TEXT])} … ({left:,} more characters in the file)"
        limit -= len(text)
        if limit < 0 and found:
            break
        found.append(message | {"text": text})
    return found[::-1]


def visible(text: str) -> str:
    """Return a text in which control characters are symbols; servers log what their clients send.

    That includes those that change the direction of text.
    """
    return "".join(map(_visible, text))


def _visible(letter: str) -> str:
    if letter.isprintable() or letter in "\n\t":
        return letter
    return chr(_PICTURES + ord(letter)) if letter < " " else "�"


def line(message: Any) -> str:
    """Return a message as a line of a file."""
    process = "-" if message["process"] is None else message["process"]
    return f"{message['at'] or '-'} [{process}] {message['severity'].upper()}: {visible(message['text'])}\n"
