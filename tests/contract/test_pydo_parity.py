"""The drop-in ``pydo`` against the official one: the same calls must have the same outcome."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cenote.security import certificates
from pydo import exceptions
from tests.contract.parity import outcomes
from tests.contract.parity.cases import Case, Signatures, all_cases
from tests.contract.parity.outcomes import Seen, words
from tests.contract.parity.reasons import REASONS, Difference, Reason
from tests.contract.parity.table import table
from tests.support.folders import server_folder
from tests.support.official_pydo import PINS, official_answer
from tests.support.recorder import recorder

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

TABLE = Path(__file__).parents[2] / "docs" / "pydo-differences.md"
RENEW = "RENEW=1 .venv/bin/pytest tests/contract/test_pydo_parity.py"
SYNC, ASYNC = False, True


class Walked(NamedTuple):
    """The outcomes of both packages, by asyncio or not and by case id."""

    cases: list[Case]
    theirs: dict[bool, dict[str, Seen]]
    ours: dict[bool, dict[str, Seen]]

    def pairs(self) -> list[tuple[str, Difference]]:
        """Return every case with both outcomes."""
        return [
            (
                f"{case.id} ({'asyncio' if asynchronous else 'sync'})",
                Difference(case, theirs[case.id], self.ours[asynchronous][case.id]),
            )
            for asynchronous, theirs in self.theirs.items()
            for case in self.cases
            if case.id in theirs
        ]

    def differences(self) -> list[tuple[str, Difference]]:
        return [(id, pair) for id, pair in self.pairs() if pair.theirs != pair.ours]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with server_folder() as made:
        yield made


@pytest.fixture(scope="module")
def official(folder: Path) -> dict[bool, Signatures]:
    return {kind: outcomes.signatures(folder, official=True, asynchronous=kind) for kind in (SYNC, ASYNC)}


@pytest.fixture(scope="module")
def ours(folder: Path) -> dict[bool, Signatures]:
    return {kind: outcomes.signatures(folder, official=False, asynchronous=kind) for kind in (SYNC, ASYNC)}


@pytest.fixture(scope="module")
def walked(folder: Path, official: dict[bool, Signatures]) -> Walked:
    (folder / "other.crt").write_text(certificates.new_authority("another")[0])
    cases = all_cases(official[SYNC])
    seen: dict[tuple[bool, bool], dict[str, Seen]] = {}
    with recorder(folder) as server:
        for asynchronous in (SYNC, ASYNC):
            chosen = [case for case in cases if not asynchronous or also_asyncio(case)]
            for official_one in (True, False):
                seen[official_one, asynchronous] = outcomes.seen(
                    folder, server, chosen, official=official_one, asynchronous=asynchronous
                )
    return Walked(
        cases,
        theirs={kind: seen[True, kind] for kind in (SYNC, ASYNC)},
        ours={kind: seen[False, kind] for kind in (SYNC, ASYNC)},
    )


def also_asyncio(case: Case) -> bool:
    """Of the many calls of the matrix, asyncio runs those with a JSON body only."""
    return not case.id.startswith("matrix") or (case.id.endswith(" JSON") and not case.id.endswith("no JSON"))


@pytest.fixture(scope="module")
def explained(walked: Walked) -> dict[Reason | None, list[tuple[str, Difference]]]:
    """The differences by matching reason, None for those without one."""
    found: dict[Reason | None, list[tuple[str, Difference]]] = defaultdict(list)
    for id, difference in walked.differences():
        found[next((reason for reason in REASONS if reason.fits(difference)), None)].append((id, difference))
    return found


@pytest.mark.parametrize("asynchronous", [SYNC, ASYNC], ids=["sync", "asyncio"])
def test_every_official_method_is_there_with_its_parameters(
    official: dict[bool, Signatures], ours: dict[bool, Signatures], asynchronous: bool
) -> None:
    assert len(official[asynchronous]) == 71
    assert "list_opeasearch_indexes" in official[asynchronous]
    without_paging = {
        method: [each for each in parameters if each[0] not in ("page", "per_page")]
        for method, parameters in ours[asynchronous].items()
        if method in official[asynchronous]
    }
    assert without_paging == official[asynchronous]


@pytest.mark.parametrize("asynchronous", [SYNC, ASYNC], ids=["sync", "asyncio"])
def test_what_is_there_besides_disturbs_no_call_that_the_official_package_takes(
    official: dict[bool, Signatures], ours: dict[bool, Signatures], asynchronous: bool
) -> None:
    added = [
        each
        for method, parameters in official[asynchronous].items()
        for each in ours[asynchronous][method]
        if each not in parameters
    ]
    assert {tuple(each) for each in added} == {
        ("page", "KEYWORD_ONLY", "None"),
        ("per_page", "KEYWORD_ONLY", "None"),
    }


def test_every_method_was_called_with_every_status(walked: Walked, official: dict[bool, Signatures]) -> None:
    called = {case.method for case in walked.cases if case.id.startswith("matrix")}
    assert called == set(official[SYNC])
    assert all(len(side) == len(walked.cases) for side in (walked.theirs[SYNC], walked.ours[SYNC]))


def test_every_call_has_the_official_outcome_but_for_what_has_a_reason(
    explained: dict[Reason | None, list[tuple[str, Difference]]],
) -> None:
    without = [
        "\n".join(
            (id, f"  pydo: {words(each.theirs, each.ours)}", f"  here: {words(each.ours, each.theirs)}")
        )
        for id, each in explained.get(None, [])
    ]
    assert not without, f"{len(without)} calls differ without a reason:\n" + "\n".join(without[:40])


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.when)
def test_every_reason_stands_for_a_difference(
    explained: dict[Reason | None, list[tuple[str, Difference]]], reason: Reason
) -> None:
    assert explained.get(reason), "no call differs for this reason; remove it"


def test_our_sync_and_asyncio_clients_do_the_same(walked: Walked) -> None:
    differing = [id for id, seen in walked.ours[ASYNC].items() if seen != walked.ours[SYNC][id]]
    assert differing == []


def test_the_table_of_differences_is_up_to_date(
    walked: Walked,
    explained: dict[Reason | None, list[tuple[str, Difference]]],
    official: dict[bool, Signatures],
    ours: dict[bool, Signatures],
) -> None:
    added = sorted(f"`{method}`" for method in ours[SYNC] if method not in official[SYNC])
    text = table(
        {reason: [each for _, each in found] for reason, found in explained.items() if reason},
        version=next(line for line in PINS.read_text().splitlines() if line.startswith("pydo=="))[6:],
        calls=len(walked.pairs()),
        methods=len(official[SYNC]),
        added=", ".join(added),
        paged=sum("page" in [each[0] for each in parameters] for parameters in ours[SYNC].values()),
    )
    if os.environ.get("RENEW"):
        TABLE.write_text(text)
    assert TABLE.exists(), f"make {TABLE.name} with: {RENEW}"
    assert TABLE.read_text() == text, f"renew {TABLE.name} with: {RENEW}"


def test_every_error_is_caught_by_the_names_that_catch_it_officially() -> None:
    script = """
import json
from azure.core import exceptions
kinds = {name: kind for name, kind in vars(exceptions).items() if isinstance(kind, type)}
print(json.dumps({name: [base.__name__ for base in kind.__mro__] for name, kind in kinds.items()}))
"""
    official: dict[str, list[str]] = official_answer(script)
    errors = {name: kind for name, kind in vars(exceptions).items() if name in official}
    assert len(errors) >= 12
    ours = {name: [base.__name__ for base in kind.__mro__] for name, kind in errors.items()}
    for name in errors:
        assert [base for base in ours[name] if base in errors] == [
            base for base in official[name] if base in errors
        ]
