"""In what the drop-in differs from the official package on purpose, and why.

Each reason recognises the differences that it stands for, by what each side did, and no other.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from tests.contract.parity.cases import Case
from tests.contract.parity.outcomes import Request, Seen

NOTHING = Request("", "", "", None, None, None, "")


class Difference(NamedTuple):
    case: Case
    theirs: Seen
    ours: Seen

    @property
    def status(self) -> int:
        """The status of the first answer, 0 when it has none."""
        head = self.case.replies[0].data[:12].partition(b" ")[2]
        return int(head) if head.isdigit() else 0

    @property
    def sent(self) -> Request:
        """Our first request, an empty one when there was none."""
        return (*self.ours.requests, NOTHING)[0]

    def is_kind(self, *kinds: str) -> bool:
        return self.case.id.partition(":")[0] in kinds

    def text(self, side: Seen) -> str:
        return side.outcome["raised"]["text"] if side.raised else ""


class Reason(NamedTuple):
    when: str
    why: str
    fits: Callable[[Difference], bool]


def told_to_wait(seen: Difference) -> bool:
    return b"retry-after" in seen.case.replies[0].data.lower()


def repeated_only_there(seen: Difference) -> bool:
    return len(seen.theirs.requests) > 1 and len(seen.ours.requests) == 1


def only_the_text_differs(seen: Difference) -> bool:
    if seen.theirs.requests != seen.ours.requests or seen.theirs.raised is None or seen.ours.raised is None:
        return False
    theirs, ours = ({**side.outcome["raised"], "text": ""} for side in (seen.theirs, seen.ours))
    return theirs == ours


REASONS = [
    Reason(
        "POST or PATCH, and 500, 503 or 504 without `retry-after`",
        "nobody knows whether the first one took effect; a second one could create a second thing",
        lambda seen: (
            seen.sent.method in ("POST", "PATCH")
            and seen.status in (500, 503, 504)
            and not told_to_wait(seen)
            and repeated_only_there(seen)
        ),
    ),
    Reason(
        "`retry-after` with a status other than 429 and 503",
        "the answer is a refusal, or may have taken effect; asking again cannot help or may do harm",
        lambda seen: told_to_wait(seen) and seen.status not in (429, 503) and repeated_only_there(seen),
    ),
    Reason(
        "a success that is not the one of the reference, or whose body is no JSON",
        "same error, but its text leaves the body out, which may hold passwords",
        lambda seen: (
            only_the_text_differs(seen)
            and 200 <= seen.status < 300
            and seen.text(seen.theirs).startswith(seen.text(seen.ours))
        ),
    ),
    Reason(
        "a body that is no JSON, sent as something else, where it would be returned",
        "one error for every such body, with `status_code` and `response`, caught as HttpResponseError",
        lambda seen: (
            seen.theirs.raised == "JSONDecodeError"
            and seen.ours.raised == "DecodeError"
            and seen.theirs.requests == seen.ours.requests
        ),
    ),
    Reason(
        "an error whose body claims to be JSON and is none",
        "the error is the one of the status, so that a 401 from a broken proxy is still one",
        lambda seen: (
            seen.is_kind("shape")
            and seen.status in (403, 422)
            and seen.theirs.raised in ("DecodeError", "RecursionError")
            and seen.ours.raised == "HttpResponseError"
            and len(seen.ours.requests) == 1
        ),
    ),
    Reason(
        "JSON that is nested thousands deep",
        "an error of the package instead of Python's",
        lambda seen: seen.theirs.raised == "RecursionError" and seen.ours.raised == "DecodeError",
    ),
    Reason(
        "a body with another content type or character set than JSON has",
        "JSON is UTF-8 whatever a proxy says",
        lambda seen: (
            seen.is_kind("shape")
            and "sent as" in seen.case.id
            and "ü" in json.dumps(seen.ours.outcome, ensure_ascii=False)
        ),
    ),
    Reason(
        "a body that is not what its `content-encoding` says, or in one that was not asked for",
        "an error keeps the name of its status, a success has one of the package; it is not repeated",
        lambda seen: (
            seen.is_kind("coding")
            and seen.ours.raised == ("DecodeError" if seen.status == 200 else "HttpResponseError")
            and len(seen.ours.requests) == 1
        ),
    ),
    Reason(
        "`ratelimit-…` headers that are no numbers",
        "a call that went well is not failed by them",
        lambda seen: seen.is_kind("limits") and seen.ours.raised is None,
    ),
    Reason(
        "an empty name, `.` or `..`",
        "the path would be that of another operation: deleting the pool `..` would delete its cluster",
        lambda seen: seen.is_kind("names") and seen.ours.raised == "UsageError" and not seen.ours.requests,
    ),
    Reason(
        "a name that is None",
        "a UsageError is a ValueError too",
        lambda seen: seen.theirs.raised == "ValueError" and seen.ours.raised == "UsageError",
    ),
    Reason(
        "a name with a character that means something in an address (asyncio)",
        "it is escaped, as the official package does in its sync client",
        lambda seen: seen.is_kind("names") and "%3B" in seen.sent.path,
    ),
    Reason(
        "a redirect",
        "the token does not go to an address that an answer chose",
        lambda seen: seen.is_kind("redirect") and repeated_only_there(seen),
    ),
    Reason(
        "a value in `params=` with `&`, `=`, `#` or `%`",
        "it is escaped, so that it stays one value",
        lambda seen: seen.case.id == "query: a nasty value" and seen.sent.query == "a=b%26c%3D%C3%A9%20d",
    ),
    Reason(
        "True or False in `params=`",
        "they are sent as JSON spells them",
        lambda seen: seen.is_kind("query") and seen.sent.query in ("a=true", "a=false"),
    ),
    Reason(
        "None in `params=`",
        "it is left out",
        lambda seen: seen.case.id == "query: a none value" and seen.sent.query == "",
    ),
    Reason(
        "no body",
        "without content there is no content type",
        lambda seen: (
            seen.ours.outcome == seen.theirs.outcome
            and seen.sent.body == ""
            and seen.theirs.requests == (seen.sent._replace(content_type="application/json"),)
        ),
    ),
    Reason(
        "a connection that is closed within the head of an answer",
        "half a head is no answer",
        lambda seen: seen.is_kind("lost") and "cut head" in seen.case.id,
    ),
    Reason(
        "a connection that is closed within the body of an answer",
        "one error for every answer that did not arrive; it is an AzureError as well",
        lambda seen: (
            seen.is_kind("lost")
            and seen.theirs.raised == "IncompleteReadError"
            and seen.ours.raised == "ServiceResponseError"
            and seen.theirs.requests == seen.ours.requests
        ),
    ),
    Reason(
        "a connection that is closed without an answer (asyncio)",
        "as in the official sync client: it was sent, and is repeated three times at most",
        lambda seen: (
            seen.is_kind("lost")
            and "no answer" in seen.case.id
            and (seen.theirs.raised == "ServiceRequestError" or seen.theirs.raised is None)
            and len(seen.ours.requests) <= 4
        ),
    ),
    Reason(
        "plain HTTP to another machine",
        "it is refused when the client is made, not at each call; to this machine it is let through",
        lambda seen: seen.case.id == "mistake: plain HTTP" and seen.ours.raised == "UsageError",
    ),
]
