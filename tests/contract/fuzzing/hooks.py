"""What schemathesis is told beside the description: checks of our own, and what to keep and to write down.

It is run by schemathesis, in an environment of its own.  ``CENOTE_FUZZ_KEPT`` has the ids and names that the
calls are about, which none of them may delete.  To ``CENOTE_FUZZ_SECRETS`` goes every secret of an answer, a
line each, and to ``CENOTE_FUZZ_CALLS`` every call: its operation and the status code.
"""

from __future__ import annotations

import json
import os
from uuid import uuid4

import schemathesis

KEPT = frozenset(json.loads(os.environ["CENOTE_FUZZ_KEPT"]))
# Open as long as the process.
SECRETS = open(os.environ["CENOTE_FUZZ_SECRETS"], "a", buffering=1)  # noqa: SIM115
CALLS = open(os.environ["CENOTE_FUZZ_CALLS"], "a", buffering=1)  # noqa: SIM115
SECRET_KEYS = frozenset({"password", "basic_auth_password"})
LIMITS = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")


@schemathesis.hook
def before_call(context, case, kwargs):
    """Let a removal miss what the other calls need: the cluster, what is in it, and the token of them all.

    Nor does the cluster get more nodes: while several are restarted one after another, a change that takes
    access away is not in force in time, which is answered with 503, rightly.
    """
    is_resize = isinstance(case.body, dict) and case.operation.path.endswith("/resize")
    if is_resize and case.body.get("num_nodes") in (2, 3):
        case.body["num_nodes"] = 1
    parameters = case.path_parameters
    if case.method.upper() == "DELETE" and parameters:
        last = list(parameters)[-1]
        if parameters[last] in KEPT:
            parameters[last] = str(uuid4())


@schemathesis.hook
def after_call(context, case, response):
    CALLS.write(f"{case.method.upper()} {case.operation.path} {response.status_code}\n")
    if response.content:
        try:
            answered = json.loads(response.content)
        except ValueError:
            return
        for secret in secrets(answered, inside_token=False):
            SECRETS.write(secret + "\n")


def secrets(node, inside_token):
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, str) and value and (key in SECRET_KEYS or (inside_token and key == "token")):
                yield value
            else:
                yield from secrets(value, key == "token")
    elif isinstance(node, list):
        for value in node:
            yield from secrets(value, False)


@schemathesis.check
def every_answer_can_be_found_in_the_log(ctx, response, case):
    assert first(response, "x-request-id"), "the answer has no x-request-id"


@schemathesis.check
def limits_are_whole_numbers(ctx, response, case):
    """Clients that read them fail on anything else."""
    for name in LIMITS:
        value = first(response, name)
        assert value is None or value.isdigit(), f"{name}: {value!r}"


@schemathesis.check
def a_refusal_has_the_form_that_clients_read(ctx, response, case):
    if response.status_code < 400 or case.method.upper() == "HEAD":
        return
    told = json.loads(response.content)
    assert set(told) == {"id", "message", "request_id"}, f"its keys are {sorted(told)}"
    assert all(isinstance(value, str) and value for value in told.values()), told
    assert len(told["message"]) <= 1000, "a message of more than 1,000 characters"
    assert told["message"].isprintable(), "a message with characters that a terminal would obey"
    assert told["request_id"] == first(response, "x-request-id")


def first(response, name):
    return (response.headers.get(name) or [None])[0]
