"""The table of differences, docs/pydo-differences.md, made from what was seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.contract.parity.outcomes import words
from tests.contract.parity.reasons import REASONS, Difference, Reason

MOST_WORDS = 2
HEAD = """\
# Where cenote-pydo differs from the official pydo

Made by `tests/contract/test_pydo_parity.py`. It makes {calls} calls with the official pydo {version} and with
cenote-pydo, sync and asyncio, against a server that answers both alike, and compares what each returns or
raises, and what each sends: method, path, query, content type, body. That is the same but for the {different}
calls below. Not compared are the texts of errors that the network, the system or Python itself words.

All {methods} methods of `databases` are there with their parameters, and no other group. Beyond them there
are {added}; {paged} lists take `page=` and `per_page=`.

| When | pydo {version} | here | Why | Calls |
| --- | --- | --- | --- | --- |
"""


def table(found: Mapping[Reason, list[Difference]], **numbers: object) -> str:
    different = sum(len(differences) for differences in found.values())
    rows = [_row(reason, found[reason]) for reason in REASONS if reason in found]
    return HEAD.format(different=different, **numbers) + "\n".join(rows) + "\n"


def _row(reason: Reason, differences: list[Difference]) -> str:
    theirs = _listed(words(each.theirs, each.ours) for each in differences)
    ours = _listed(words(each.ours, each.theirs) for each in differences)
    return f"| {reason.when} | {theirs} | {ours} | {reason.why} | {len(differences)} |"


def _listed(said: Iterable[str]) -> str:
    """Return the different things that were said, the first of them when there are many."""
    different = list(dict.fromkeys(said))
    more = [f"and {len(different) - MOST_WORDS} alike"] if len(different) > MOST_WORDS else []
    return "; ".join(different[:MOST_WORDS] + more)
