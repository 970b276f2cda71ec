"""The cases that both packages run: each is one call, and the responses to it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from cenote_client import _operations
from cenote_client._sync import other_engines
from tests.support.recorder import Asked, Reply, reply

Signatures = dict[str, list[list[Any]]]

OPERATIONS = {**vars(other_engines), **vars(_operations)}
SUCCESSES = (200, 201, 202, 204)
REFUSALS = (400, 401, 403, 404, 409, 412, 422, 429, 500, 503)
UNUSUAL = (206, 304, 402, 405, 408, 410, 413, 415, 418, 501, 502, 504)
REFUSAL = {
    "id": "some_error",
    "message": "it cannot be «done»",
    "request_id": "4d9d8375-3c56-4925-a3e7-eb137fed17e9",
}
BODIES = {
    "JSON": b"",  # see `matrix`: a refusal for a refusal
    "empty": b"",
    "no JSON": b"<html>down, d\xc3\xbcrfte bald kommen</html>",
}
HEADERS = {"ratelimit-limit": "5000", "ratelimit-remaining": "4999", "ratelimit-reset": "1415984218"}
CLUSTER = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30"
NAMES = {"database_cluster_uuid": CLUSTER}
NASTY = "a/b c?d=é&%41#+~:@!$'()*,;"
READ, CHANGE, CREATE, REMOVE = (
    "get_connection_pool",
    "update_connection_pool",
    "add_connection_pool",
    "delete_connection_pool",
)
ONE_OF_EACH = (READ, CREATE, CHANGE, REMOVE, "patch_config")  # GET, POST, PUT, DELETE, PATCH


class Case(NamedTuple):
    """One call; ``id`` begins with the kind of case, by which reasons match differences.

    ``names`` are keyword arguments, ``arguments`` positional ones, ``options`` further options of the call,
    ``client`` those of the client.  The last of ``replies`` is repeated.
    """

    id: str
    method: str
    names: dict[str, Any]
    replies: tuple[Reply, ...]
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = {}  # noqa: RUF012 - it is never changed
    client: dict[str, Any] = {}  # noqa: RUF012


def all_cases(signatures: Signatures) -> list[Case]:
    cases = [
        *matrix(signatures),
        *bodies(signatures),
        *queries(signatures),
        *spellings(signatures),
        *unusual(signatures),
        *pauses(signatures),
        *shapes(signatures),
        *options(signatures),
        *failures(signatures),
        *mistakes(signatures),
    ]
    assert len({case.id for case in cases}) == len(cases)
    return cases


def answers(cases: list[Case]) -> Any:
    """Return the recorder's function, which replies by the case id in a header of the request."""
    by_id = {case.id: case for case in cases}
    times: dict[str, int] = {}

    def answer(asked: Asked) -> Reply:
        case = by_id[asked.headers["x-case"]]
        times[case.id] = times.get(case.id, 0) + 1
        return case.replies[min(times[case.id], len(case.replies)) - 1]

    return answer


def arguments_of(signatures: Signatures, method: str, text: str = "some-name") -> dict[str, Any]:
    """Return valid values for the required parameters of a method, and for a body in any case."""
    found: dict[str, Any] = {}
    for name, kind, default in signatures[method]:
        if name == "body":
            found[name] = {"name": "some ünusual name", "size": 10, "tags": [], "no": None}
        elif name != "self" and kind == "POSITIONAL_OR_KEYWORD" and default is None:
            found[name] = NAMES.get(name, text)
    return found


def good(method: str, body: bytes = b"{}") -> Reply:
    """Return a reply with the success status of the reference."""
    return reply(OPERATIONS[method.upper()].success, body)


def matrix(signatures: Signatures) -> Iterator[Case]:
    """Every method with every status and every kind of body."""
    for method in signatures:
        for status in (*SUCCESSES, *REFUSALS):
            for kind, body in BODIES.items():
                if status == 204 and kind != "empty":
                    continue
                headers = dict(HEADERS)
                if kind == "JSON":
                    body = json.dumps(
                        REFUSAL if status >= 400 else {"thing": {"size": 1, "name": "ü"}}
                    ).encode()
                elif kind == "no JSON":
                    headers["content-type"] = "text/html"
                yield Case(
                    f"matrix: {method} {status} {kind}",
                    method,
                    arguments_of(signatures, method),
                    (reply(status, body, headers),),
                )


def bodies(signatures: Signatures) -> Iterator[Case]:
    """Every method that takes a body, with each form that a body may have."""
    forms = {
        "dict": {"name": "ü", "rules": [{"value": "10.0.0.0/8"}], "half": 0.5, "on": True},
        "list": [1],
        "bytes": {"bytes": '{"a": 1, "ü": "é"}'},
        "file": {"file": '{"a":  2}'},
        "empty dict": {},
        "no JSON bytes": {"bytes": "a,b\nc"},
    }
    for method, parameters in signatures.items():
        defaults = {name: default for name, _, default in parameters}
        if "body" not in defaults:
            continue
        named = arguments_of(signatures, method)
        for form, body in forms.items():
            yield Case(f"body: {method} {form}", method, named | {"body": body}, (good(method),))
        by_position = tuple(named[name] for name, *_ in parameters if name in named)
        yield Case(f"body: {method} by position", method, {}, (good(method),), arguments=by_position)
        if defaults["body"] is not None:
            without = {name: value for name, value in named.items() if name != "body"}
            yield Case(f"body: {method} left out", method, without, (good(method),))
    given = arguments_of(signatures, CREATE)
    calls: dict[str, dict[str, Any]] = {
        "content_type=": {"content_type": "text/csv"},
        "a header": {"headers": {"Content-Type": "text/plain"}},
        "a header in lower case": {"headers": {"content-type": "text/plain"}},
    }
    for name, call in calls.items():
        yield Case(f"body: content type by {name}", CREATE, given, (good(CREATE),), options=call)


def queries(signatures: Signatures) -> Iterator[Case]:
    """Lists and others with a query, by ``params=`` and by the one parameter that is a query."""
    for method in signatures:
        given = arguments_of(signatures, method)
        params: dict[str, Any] = {"page": 2, "per_page": "50", "empty": "", "half": 0.5}
        yield Case(f"query: {method}", method, given, (good(method),), options={"params": params})
    odd: dict[str, dict[str, Any]] = {
        "nasty": {"a": "b&c=é d"},
        "number": {"a": 1.5},
        "list": {"a": ["x", "y"]},
        "true": {"a": True},
        "false": {"a": False},
        "none": {"a": None},
    }
    given = arguments_of(signatures, READ)
    for name, odd_params in odd.items():
        yield Case(f"query: a {name} value", READ, given, (good(READ),), options={"params": odd_params})
    for tag in ("blue", "a b&c", ""):
        yield Case(f"query: tag {tag!r}", "list_clusters", {"tag_name": tag}, (good("list_clusters"),))


def spellings(signatures: Signatures) -> Iterator[Case]:
    """Every method with names that must be escaped."""
    for method in signatures:
        given = arguments_of(signatures, method, NASTY)
        if NASTY in given.values():
            yield Case(f"names: {method}", method, given, (good(method),))
    for name in ("", ".", "..", "-", "a&#0;", "%2e%2e"):
        given = arguments_of(signatures, REMOVE) | {"pool_name": name}
        yield Case(f"names: {name!r}", REMOVE, given, (reply(204),))


def unusual(signatures: Signatures) -> Iterator[Case]:
    """Statuses that the reference does not speak of, for one method of each kind."""
    for method in ONE_OF_EACH:
        for status in UNUSUAL:
            body = json.dumps(REFUSAL if status >= 400 else {"a": 1}).encode()
            given = arguments_of(signatures, method)
            yield Case(f"unusual: {method} {status}", method, given, (reply(status, body),))
    for status in (301, 302, 303, 307, 308):
        moved = reply(status, b"", {"location": "/v2/elsewhere"})
        for method in (READ, CHANGE):
            replies = (moved, reply(200, b'{"moved": true}'))
            yield Case(f"redirect: {method} {status}", method, arguments_of(signatures, method), replies)


def pauses(signatures: Signatures) -> Iterator[Case]:
    """Refusals that pass: with ``retry-after`` and without, good at the second try."""
    for method in ONE_OF_EACH:
        for status in (400, 404, 408, 409, 412, 422, 429, 500, 502, 503, 504):
            for header in ({}, {"retry-after": "0"}):
                told = "with retry-after" if header else "once"
                replies = (reply(status, json.dumps(REFUSAL).encode(), header), good(method))
                given = arguments_of(signatures, method)
                yield Case(f"pause: {method} {status} {told}", method, given, replies)


def shapes(signatures: Signatures) -> Iterator[Case]:
    """Bodies that are JSON, but not of the shape that the reference gives; and bodies that are odd."""
    texts = {
        "code and message": '{"code": "c1", "message": "m"}',
        "nested error": '{"error": {"code": "c1", "message": "m", "target": "t"}}',
        "nested details": '{"error": {"code": "c", "message": "m", "details": [{"message": "n"}]}}',
        "inner error": '{"error": {"code": "c", "message": "m", "innererror": {"code": "i"}}}',
        "no message": '{"id": "x"}',
        "empty message": '{"id": "x", "message": ""}',
        "a message that is no text": '{"id": 1, "message": {"a": 1}}',
        "a list": "[1, 2]",
        "an empty list": "[]",
        "a text": '"down"',
        "an empty text": '""',
        "a number": "0",
        "null": "null",
        "true": "true",
        "NaN": "NaN",
        "a byte order mark": '\ufeff{"id": "x", "message": "m"}',
        "white space": "  \n",
        "cut": '{"id": "x", "mess',
        "a deep list": "[" * 100_000 + "]" * 100_000,
        "a long text": "x" * 3000,
        "a long message": json.dumps({"id": "x", "message": "m" * 3000}),
    }
    given = arguments_of(signatures, READ)
    for status in (200, 403, 404, 422):
        for shape, text in texts.items():
            yield Case(f"shape: {status} {shape}", READ, given, (reply(status, text.encode()),))
        yield Case(f"shape: {status} no UTF-8", READ, given, (reply(status, b'{"a": "\xff"}'),))
        for kind in ("text/plain", "application/octet-stream", "application/json; charset=latin-1", ""):
            body = '{"message": "ü"}'.encode()
            yield Case(
                f"shape: {status} sent as {kind or 'nothing'}",
                READ,
                given,
                (reply(status, body, {"content-type": kind}),),
            )
    for status in (200, 403):
        for coding, packed in {
            "gzip": gzip.compress(b'{"message": "m"}'),
            "deflate": b"no",
            "br": b"no",
        }.items():
            odd = reply(status, packed, {"content-encoding": coding})
            yield Case(f"coding: {status} {coding}", READ, given, (odd,))
    for limit in ("-1", "many", "", "1.5"):
        bad = reply(200, b"{}", {"ratelimit-remaining": limit})
        yield Case(f"limits: {limit!r}", READ, given, (bad,))
        yield Case(f"limits: {limit!r} with cls", READ, given, (bad,), options={"cls": True})
    coded = reply(422, json.dumps(REFUSAL).encode(), {"x-request-id": "from-a-header"})
    yield Case("shape: request id in a header", READ, given, (coded,))


def options(signatures: Signatures) -> Iterator[Case]:
    """What a call takes besides its arguments."""
    given = arguments_of(signatures, READ)
    limits = reply(200, b'{"pool": {}}', HEADERS)
    failing = reply(500, json.dumps(REFUSAL).encode())
    yield Case("options: cls", READ, given, (limits,), options={"cls": True})
    yield Case("options: cls without limits", READ, given, (reply(200, b"{}"),), options={"cls": True})
    yield Case("options: cls and 404", READ, given, (reply(404, b'{"id": "x"}'),), options={"cls": True})
    yield Case(
        "options: cls and 204", REMOVE, arguments_of(signatures, REMOVE), (reply(204),), options={"cls": True}
    )
    yield Case("options: error_map", READ, given, (reply(418, b"{}"),), options={"error_map": True})
    for count in (0, 1, 2):
        yield Case(f"options: retry_total={count}", READ, given, (failing,), options={"retry_total": count})
        yield Case(f"options: retry_status={count}", READ, given, (failing,), options={"retry_status": count})
        yield Case(
            f"options: retry_total={count} of the client",
            READ,
            given,
            (failing,),
            client={"retry_total": count},
        )
    yield Case(
        "options: a header", READ, given, (limits,), options={"headers": {"X-Own": "1", "Accept": "text/x"}}
    )
    yield Case("options: timeout", READ, given, (limits,), options={"timeout": 30})
    yield Case("options: unknown", READ, given, (limits,), options={"no_such_option": 1})
    yield Case("options: unknown to the client", READ, given, (limits,), client={"no_such_option": 1})
    yield Case("options: headers of the client", READ, given, (limits,), client={"headers": {"X-Own": "2"}})


def failures(signatures: Signatures) -> Iterator[Case]:
    """Connections that end before the answer has, for one method of each kind."""
    for method in ONE_OF_EACH[:4]:
        given = arguments_of(signatures, method)
        whole = good(method, b'{"a": 1}').data
        if b"{" not in whole:  # an answer without a body, of which nothing could be cut
            whole = reply(200, b'{"a": 1}').data
        for what, data in {
            "no answer": b"",
            "cut head": whole[:30],
            "cut body": whole[:-3],
            "noise": b"\0\1\2\r\n\r\n",
        }.items():
            yield Case(f"lost: {method} {what}", method, given, (Reply(data, ends=True),))
            yield Case(f"lost: {method} {what} once", method, given, (Reply(data, ends=True), good(method)))


def mistakes(signatures: Signatures) -> Iterator[Case]:
    """What the caller did wrong."""
    given = arguments_of(signatures, READ)
    clients: dict[str, dict[str, Any]] = {
        "no token": {"token": "unset"},
        "token and api_key": {"api_key": "x"},
        "only api_key": {"token": "unset", "api_key": "secret"},
        "plain HTTP": {"endpoint": "http://cenote.invalid"},
        "nobody there": {"endpoint": "https://127.0.0.1:9", "retry_total": 0},
        "no such host": {"endpoint": "https://nowhere.invalid", "retry_total": 0},
        "a certificate that is not trusted": {"connection_verify": "other_ca", "retry_total": 0},
        "a certificate that is trusted": {"connection_verify": "ca"},
    }
    for client, options in clients.items():
        yield Case(f"mistake: {client}", READ, given, (reply(200, b"{}"),), client=options)
    yield Case("mistake: no arguments", READ, {}, (reply(200, b"{}"),))
    yield Case("mistake: no body", CREATE, NAMES, (reply(200, b"{}"),))
    yield Case("mistake: body None", CREATE, NAMES | {"body": None}, (reply(201, b"{}"),))
    for kind, value in {"None": None, "a number": 7}.items():
        yield Case(
            f"mistake: a name that is {kind}", READ, given | {"pool_name": value}, (reply(200, b"{}"),)
        )
