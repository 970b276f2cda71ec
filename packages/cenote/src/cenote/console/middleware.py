"""Routes requests to the API or the console, and adds the security headers of the console."""

from __future__ import annotations

from collections.abc import Callable

from cenote.console.app import create_console
from cenote.http.routing import ASGIApp, Message, Receive, Scope, Send

PREFIX = "/console"

# Resources of this service only, no inline scripts or styles, no embedding in frames.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
# Only with the operator's own certificate, since browsers apply it to all ports of the host.
_HSTS = (b"strict-transport-security", b"max-age=31536000")
_NO_STORE = (b"cache-control", b"no-store")


def with_console(api: ASGIApp, key: Callable[[], bytes], *, only_tls: bool = False) -> ASGIApp:
    """Return an application with both; the console seals its cookies with keys derived from ``key``."""
    console = create_console(api, key)
    added = (*_HEADERS, _HSTS) if only_tls else _HEADERS

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await api(scope, receive, send)
            return
        path = scope["path"]
        if path == "/" and _is_browser(scope):
            headers = [(b"location", PREFIX.encode()), (b"vary", b"accept"), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 303, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        if path != PREFIX and not path.startswith(PREFIX + "/"):
            await api(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message["headers"])
                if not any(name == b"cache-control" for name, _ in own):
                    own.append(_NO_STORE)
                message["headers"] = [*own, *added]
            await send(message)

        await console(scope, receive, send_with_headers)

    return app


def _is_browser(scope: Scope) -> bool:
    accept = dict(scope["headers"]).get(b"accept", b"")
    return scope["method"] in ("GET", "HEAD") and b"text/html" in accept
