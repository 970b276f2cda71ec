"""Makes calls with the installed ``pydo`` and prints the outcomes; a program, not a test.

It runs under the official package and under ours, and contains nothing of either.  Its argument is a file
with ``{"asynchronous": …, "endpoint": …, "ca": …, "other_ca": …, "cases": […]}``; it prints the outcomes in
the order of the cases, or, without cases, the signatures of all methods.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import io
import json
import sys
import warnings
from pathlib import Path
from typing import Any

# Exception classes that users catch.
CAUGHT = {
    "AzureError",
    "HttpResponseError",
    "DecodeError",
    "ClientAuthenticationError",
    "ResourceExistsError",
    "ResourceNotFoundError",
    "ResourceNotModifiedError",
    "ServiceRequestError",
    "ServiceResponseError",
    "ServiceRequestTimeoutError",
    "ServiceResponseTimeoutError",
    "TypeError",
    "ValueError",
}


async def main(plan: dict[str, Any]) -> None:
    client_class = importlib.import_module("pydo.aio" if plan["asynchronous"] else "pydo").Client
    if "cases" not in plan:
        json.dump(signatures(client_class(token="secret")), sys.stdout)
        return
    clients: dict[str, Any] = {}
    outcomes = []
    for case in plan["cases"]:
        try:
            outcomes.append({"returned": await call(client_class, clients, plan, case)})
        except Exception as error:  # every exception is an outcome
            outcomes.append({"raised": described(error)})
    for client in clients.values():
        closing = client.close()
        if inspect.isawaitable(closing):
            await closing
    json.dump(outcomes, sys.stdout)


async def call(client_class: Any, clients: dict[str, Any], plan: dict[str, Any], case: dict[str, Any]) -> Any:
    """Make one call; clients are reused for calls with the same client options."""
    options = {"token": "secret", "endpoint": plan["endpoint"], "retry_backoff_factor": 0, **case["client"]}
    key = json.dumps(options)
    if key not in clients:
        if "connection_verify" in options:
            options["connection_verify"] = plan[options["connection_verify"]]
        clients[key] = client_class(**{name: value for name, value in options.items() if value != "unset"})
    given = [body_of(argument) for argument in case["arguments"]]
    named = {name: body_of(value) for name, value in case["names"].items()} | case["options"]
    if "cls" in named:
        named["cls"] = seen_by_cls
    if "error_map" in named:
        named["error_map"] = {404: KeyError, 418: KeyError}
    named["headers"] = {**named.get("headers", {}), "x-case": case["id"]}
    answer = getattr(clients[key].databases, case["method"])(*given, **named)
    return await answer if inspect.isawaitable(answer) else answer


def body_of(value: Any) -> Any:
    """Return an argument; ``{"bytes": text}`` and ``{"file": text}`` stand for what JSON cannot express."""
    if isinstance(value, dict) and set(value) == {"bytes"}:
        return value["bytes"].encode()
    if isinstance(value, dict) and set(value) == {"file"}:
        return io.BytesIO(value["file"].encode())
    return value


def seen_by_cls(answer: Any, value: Any, limits: Any) -> Any:
    return {"status": answer.http_response.status_code, "value": value, "limits": limits}


def described(error: Exception) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": type(error).__name__,
        "caught as": [kind.__name__ for kind in type(error).__mro__ if kind.__name__ in CAUGHT],
        "text": str(error),
    }
    for name in ("message", "status_code", "reason"):
        if hasattr(error, name):
            found[name] = getattr(error, name)
    body = getattr(error, "error", None)
    if body is not None:
        found["error"] = {name: getattr(body, name) for name in ("code", "message", "target")}
    answer = getattr(error, "response", None)
    if answer is not None:
        found["response"] = {
            "status_code": answer.status_code,
            "reason": answer.reason,
            "text": answer.text(),
        }
        found["response"]["x-request-id"] = answer.headers.get("X-Request-Id")
    return found


def signatures(client: Any) -> dict[str, Any]:
    """Return the public methods of ``client.databases`` with their parameters: name, kind, and default."""
    group = type(client.databases)
    methods = [name for name in dir(group) if not name.startswith("_") and callable(getattr(group, name))]
    found = {}
    for method in methods:
        parameters = inspect.signature(getattr(group, method)).parameters.values()
        found[method] = [
            [each.name, each.kind.name, None if each.default is each.empty else repr(each.default)]
            for each in parameters
        ]
    return found


if __name__ == "__main__":
    # Warnings of either package would be noise on standard error.
    warnings.simplefilter("ignore")
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
