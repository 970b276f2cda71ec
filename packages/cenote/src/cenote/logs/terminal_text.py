"""Text that others have chosen, such as names and messages of servers, for a terminal."""


def printable(text: str, kept: str = "") -> str:
    """Return a text with control characters replaced, except those in ``kept``."""
    return "".join(letter if letter.isprintable() or letter in kept else "�" for letter in text)
