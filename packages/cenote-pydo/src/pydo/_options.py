"""Converts the options of pydo's ``Client`` and methods to those of ``cenote_client``.

An option that the official package ignores is ignored with a warning; one that it supports and this package
does not is rejected.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

from cenote_client import Retry
from cenote_client._base import DEFAULT_ENDPOINT, lowercase_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cenote_client.types import Call

VERSION = "0.2.0"
FOR_OTHER_GROUPS = frozenset(
    {"inference_endpoint", "agent_endpoint", "agents_endpoint", "gateway_endpoint", "gateway_provider"}
)
WITHOUT_EFFECT = frozenset(
    {
        "logging_enable",
        "logger",
        "http_logging_policy",
        "polling_interval",
        "sdk_moniker",
        "user_agent_overwrite",
    }
)
RETRY = frozenset(
    {
        "retry_total",
        "retry_connect",
        "retry_read",
        "retry_status",
        "retry_backoff_factor",
        "retry_backoff_max",
    }
)
TIMES = frozenset({"timeout", "connection_timeout", "read_timeout"})
CALL = RETRY | TIMES | {"headers", "params", "content_type", "cls", "error_map", "enforce_https"}
DEFAULTS: dict[str, Any] = {"timeout": 120, "connection_timeout": 300, "read_timeout": 300}


def client_settings(
    token: str | None, api_key: str | None, options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings for ``cenote_client``, and the default timeouts and retries of calls."""
    if token is not None and api_key is not None:
        raise TypeError("Pass only one of token or api_key.")
    chosen = token if token is not None else api_key
    if chosen is None:
        raise TypeError("token or api_key is required (positional, or keyword token= / api_key=).")
    times = DEFAULTS | {name: options.pop(name) for name in TIMES | RETRY if name in options}
    settings: dict[str, Any] = {
        "token": chosen,
        "endpoint": options.pop("endpoint", None)
        or os.environ.get("DIGITALOCEAN_API_URL")
        or DEFAULT_ENDPOINT,
        "verify": options.pop("connection_verify", options.pop("verify", True)),
        "headers": options.pop("headers", None) or options.pop("base_headers", None),
        "user_agent": options.pop("user_agent", None) or f"cenote-pydo/{VERSION}",
        "allow_plain_http": not options.pop("enforce_https", True),
        "timeout": timeout_of(times),
        "retry": retry_of(times),
        "proxy": proxy_of(options.pop("proxies", None)),
    }
    for name in options:
        if name in ("transport", "authentication_policy", "credential_scopes") or name.endswith("_policy"):
            if name not in WITHOUT_EFFECT:
                raise TypeError(f"{name}= takes an object of azure-core, which this package does not use")
        elif name not in FOR_OTHER_GROUPS | WITHOUT_EFFECT:
            warnings.warn(f"pydo.Client has no option {name}=; it is ignored", stacklevel=3)
    return settings, times


def timeout_of(times: Mapping[str, Any]) -> Any:
    """Return the timeouts for connecting, receiving, sending, and waiting for a free connection."""
    total = times["timeout"]
    connect, read = min(times["connection_timeout"], total), min(times["read_timeout"], total)
    return connect if connect == read else (connect, read, read, connect)


def retry_of(times: Mapping[str, Any]) -> Retry:
    counts = [times.get(f"retry_{kind}", 3) for kind in ("total", "connect", "read", "status")]
    return Retry(
        tries=1 + max(0, min(counts)),
        budget=float(times["timeout"]),
        first_wait=float(times.get("retry_backoff_factor", 0.8)),
        longest_wait=float(times.get("retry_backoff_max", 120)),
    )


def proxy_of(proxies: Mapping[str, str] | None) -> str | None:
    return (proxies.get("https") or proxies.get("http")) if proxies else None


def call_settings(
    call: Mapping[str, Any], times: Mapping[str, Any], has_body: bool
) -> tuple[Call, Retry | None]:
    """Return the options of one call, and its retries if they differ from the client's."""
    unknown = sorted(set(call) - CALL)
    if unknown:
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}")
    headers = lowercase_names(call.get("headers") or {})
    if has_body:
        headers["content-type"] = (
            call.get("content_type") or headers.get("content-type") or "application/json"
        )
    chosen: Call = {"headers": headers, "params": call.get("params") or {}}
    changed = call.keys() & (RETRY | TIMES)
    if not changed:
        return chosen, None
    times = {**times, **{name: call[name] for name in changed}}
    chosen["timeout"] = timeout_of(times)
    return chosen, retry_of(times)


def missing_group(name: str) -> str:
    """Return the error message for an attribute that the client lacks: a group, unless it is private."""
    if name.startswith("_"):
        return name
    return (
        f"'Client' has no {name!r}: this pydo is cenote-pydo, which has the group 'databases' only. "
        "For the other groups of the API, install the official package pydo instead of cenote-pydo"
    )
