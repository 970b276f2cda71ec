"""Intended differences between the drop-in and the official package, and the reasons.

Each reason matches its own differences by what both sides did, and no others.
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
        "the first request may have taken effect; a retry could create a second resource",
        lambda seen: (
            seen.sent.method in ("POST", "PATCH")
            and seen.status in (500, 503, 504)
            and not told_to_wait(seen)
            and repeated_only_there(seen)
        ),
    ),
    Reason(
        "`retry-after` with a status other than 429 and 503",
        "the request was rejected, or may have taken effect; a retry is useless or harmful",
        lambda seen: told_to_wait(seen) and seen.status not in (429, 503) and repeated_only_there(seen),
    ),
    Reason(
        "a success status other than that of the reference, or a body that is not JSON",
        "same error, but its message omits the body, which may contain passwords",
        lambda seen: (
            only_the_text_differs(seen)
            and 200 <= seen.status < 300
            and seen.text(seen.theirs).startswith(seen.text(seen.ours))
        ),
    ),
    Reason(
        "a body that is not JSON, with another content type, where it would be returned",
        "the same error for every such body, an HttpResponseError with `status_code` and `response`",
        lambda seen: (
            seen.theirs.raised == "JSONDecodeError"
            and seen.ours.raised == "DecodeError"
            and seen.theirs.requests == seen.ours.requests
        ),
    ),
    Reason(
        "an error status whose body is declared as JSON and is not",
        "the error follows the status, so that a 401 from a broken proxy is still a 401",
        lambda seen: (
            seen.is_kind("shape")
            and seen.status in (403, 422)
            and seen.theirs.raised in ("DecodeError", "RecursionError")
            and seen.ours.raised == "HttpResponseError"
            and len(seen.ours.requests) == 1
        ),
    ),
    Reason(
        "JSON with thousands of nested levels",
        "an error of the package instead of one of Python",
        lambda seen: seen.theirs.raised == "RecursionError" and seen.ours.raised == "DecodeError",
    ),
    Reason(
        "a JSON body with another content type or character set",
        "JSON is UTF-8 whatever the headers say",
        lambda seen: (
            seen.is_kind("shape")
            and "sent as" in seen.case.id
            and "ü" in json.dumps(seen.ours.outcome, ensure_ascii=False)
        ),
    ),
    Reason(
        "a body that does not match its `content-encoding`, or has one that was not requested",
        "an error status raises its usual error, a success an error of the package; no retry",
        lambda seen: (
            seen.is_kind("coding")
            and seen.ours.raised == ("DecodeError" if seen.status == 200 else "HttpResponseError")
            and len(seen.ours.requests) == 1
        ),
    ),
    Reason(
        "`ratelimit-…` headers that are not numbers",
        "they do not make a successful call fail",
        lambda seen: seen.is_kind("limits") and seen.ours.raised is None,
    ),
    Reason(
        "an empty name, `.` or `..`",
        "the path would select another operation: deleting the pool `..` would delete its cluster",
        lambda seen: seen.is_kind("names") and seen.ours.raised == "UsageError" and not seen.ours.requests,
    ),
    Reason(
        "a name that is None",
        "a UsageError is a ValueError too",
        lambda seen: seen.theirs.raised == "ValueError" and seen.ours.raised == "UsageError",
    ),
    Reason(
        "a name with a reserved character of URLs (asyncio)",
        "it is escaped, as the official package does in its sync client",
        lambda seen: seen.is_kind("names") and "%3B" in seen.sent.path,
    ),
    Reason(
        "a redirect",
        "a response cannot send the token to another host",
        lambda seen: seen.is_kind("redirect") and repeated_only_there(seen),
    ),
    Reason(
        "a value in `params=` with `&`, `=`, `#` or `%`",
        "it is escaped and stays one value",
        lambda seen: seen.case.id == "query: a nasty value" and seen.sent.query == "a=b%26c%3D%C3%A9%20d",
    ),
    Reason(
        "True or False in `params=`",
        "they are sent as in JSON",
        lambda seen: seen.is_kind("query") and seen.sent.query in ("a=true", "a=false"),
    ),
    Reason(
        "None in `params=`",
        "it is omitted",
        lambda seen: seen.case.id == "query: a none value" and seen.sent.query == "",
    ),
    Reason(
        "no body",
        "without a body there is no content type",
        lambda seen: (
            seen.ours.outcome == seen.theirs.outcome
            and seen.sent.body == ""
            and seen.theirs.requests == (seen.sent._replace(content_type="application/json"),)
        ),
    ),
    Reason(
        "a connection closed within the headers of a response",
        "incomplete headers are not a response",
        lambda seen: seen.is_kind("lost") and "cut head" in seen.case.id,
    ),
    Reason(
        "a connection closed within the body of a response",
        "the same error for every incomplete response; it is an AzureError too",
        lambda seen: (
            seen.is_kind("lost")
            and seen.theirs.raised == "IncompleteReadError"
            and seen.ours.raised == "ServiceResponseError"
            and seen.theirs.requests == seen.ours.requests
        ),
    ),
    Reason(
        "a connection closed without a response (asyncio)",
        "as in the official sync client: the request was sent, and is retried up to three times",
        lambda seen: (
            seen.is_kind("lost")
            and "no answer" in seen.case.id
            and (seen.theirs.raised == "ServiceRequestError" or seen.theirs.raised is None)
            and len(seen.ours.requests) <= 4
        ),
    ),
    Reason(
        "plain HTTP to another machine",
        "rejected when the client is created, not by each call; allowed to the local machine",
        lambda seen: seen.case.id == "mistake: plain HTTP" and seen.ours.raised == "UsageError",
    ),
]
