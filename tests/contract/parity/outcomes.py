"""Runs the cases under one of the two packages, and describes the outcomes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from tests.contract.parity.cases import CLUSTER, Case, Signatures, answers
from tests.support.official_pydo import run_official
from tests.support.recorder import Recorder
from tests.support.service import clean_environment

WALK = Path(__file__).with_name("walk.py")
# The messages of these come from the network, the system or Python, not from either package.
WORDED_BELOW = {
    "ServiceRequestError",
    "ServiceResponseError",
    "ServiceRequestTimeoutError",
    "ServiceResponseTimeoutError",
    "IncompleteReadError",
    "TypeError",
}
LONGEST_WORDS = 60


class Request(NamedTuple):
    """One request of a case: the parts that the service reads."""

    method: str
    path: str
    query: str
    content_type: str | None
    accept: str | None
    own_header: str | None
    body: str


class Seen(NamedTuple):
    """The outcome of a case: the result or exception, and the requests."""

    outcome: dict[str, Any]
    requests: tuple[Request, ...]

    @property
    def raised(self) -> str | None:
        """The name of the error's type, None when the call returned."""
        return self.outcome["raised"]["type"] if "raised" in self.outcome else None


def walk(folder: Path, plan: dict[str, Any], *, official: bool, trust: str = "") -> Any:
    """Run walk.py under the official package or ours, and return its output."""
    file = folder / "plan.json"
    file.write_text(json.dumps(plan))
    variables = {"SSL_CERT_FILE": trust, "REQUESTS_CA_BUNDLE": trust} if trust else {}
    if official:
        done = run_official(WALK.read_text(), str(file), **variables)
    else:
        done = subprocess.run(
            [sys.executable, "-I", str(WALK), str(file)],
            capture_output=True,
            text=True,
            env=clean_environment() | variables,
            check=False,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout, parse_constant=str)  # NaN is not equal to itself


def signatures(folder: Path, *, official: bool, asynchronous: bool) -> Signatures:
    found: Signatures = walk(folder, {"asynchronous": asynchronous}, official=official)
    return found


def seen(
    folder: Path, server: Recorder, cases: list[Case], *, official: bool, asynchronous: bool
) -> dict[str, Seen]:
    """Make all calls, and return the outcomes by case id."""
    server.asked, server.answer = [], answers(cases)
    plan: dict[str, Any] = {
        "asynchronous": asynchronous,
        "endpoint": server.address,
        "ca": str(folder / "ca.crt"),
        "other_ca": str(folder / "other.crt"),
        "cases": [{**case._asdict(), "replies": None} for case in cases],
    }
    outcomes = walk(folder, plan, official=official, trust=plan["ca"])
    requests: dict[str, list[Request]] = defaultdict(list)
    for asked in server.asked:
        fields = asked.headers
        requests[fields["x-case"]].append(
            Request(
                asked.method,
                asked.path,
                asked.query,
                fields.get("content-type"),
                fields.get("accept"),
                fields.get("x-own"),
                asked.body.decode(),
            )
        )
    return {
        case.id: Seen(comparable(outcome), tuple(requests[case.id]))
        for case, outcome in zip(cases, outcomes, strict=True)
    }


def comparable(outcome: dict[str, Any]) -> dict[str, Any]:
    """Return an outcome without messages that come from below both packages."""
    error = outcome.get("raised")
    if error is None or error["type"] not in WORDED_BELOW:
        return outcome
    return {"raised": {**error, "text": "…", **({"message": "…"} if "message" in error else {})}}


def words(one: Seen, other: Seen) -> str:
    """Describe how the outcome ``one`` differs from ``other``."""
    said = []
    if len(one.requests) != len(other.requests):
        said.append(f"{len(one.requests)} request{'s' * (len(one.requests) != 1)}")
    elif one.requests != other.requests:
        mine, theirs = next(
            pair for pair in zip(one.requests, other.requests, strict=True) if pair[0] != pair[1]
        )
        for name, value, its in zip(mine._fields, mine, theirs, strict=True):
            if value != its:
                what = name.replace("_", " ")
                said.append(f"sends no {what}" if value is None else f"sends the {what} `{_short(value)}`")
    if one.outcome != other.outcome:
        said.append(_outcome_words(one, other))
    return ", ".join(said)


def _outcome_words(one: Seen, other: Seen) -> str:
    if one.raised is None:
        return f"returns `{_short(json.dumps(one.outcome['returned'], ensure_ascii=False))}`"
    if one.raised != other.raised:
        return f"raises `{one.raised}`"
    mine, theirs = one.outcome["raised"], other.outcome["raised"]
    field = next(name for name in mine if mine[name] != theirs.get(name))
    return f"raises `{one.raised}` with the {field} `{_short(str(mine[field]))}`"


def _short(text: str) -> str:
    text = re.sub(r"\s+", " ", text.replace(CLUSTER, "{id}")).replace("|", r"\|").replace("`", "'")
    return text if len(text) <= LONGEST_WORDS else text[:LONGEST_WORDS] + "…"
