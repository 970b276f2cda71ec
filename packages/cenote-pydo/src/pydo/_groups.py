"""What is said to someone who reaches for a group of operations that is not here."""

from __future__ import annotations


def without_group(name: str) -> str:
    if name.startswith("_"):
        return name
    return (
        f"'Client' has no {name!r}: this pydo is cenote-pydo, which has the group 'databases' only. "
        "For the other groups of the API, install the official package pydo instead of cenote-pydo"
    )
