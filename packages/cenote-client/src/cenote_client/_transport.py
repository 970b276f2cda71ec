"""Opens the transport of a client: selects the adapter, the proxy and the trusted certificates.

The HTTP libraries are imported by the first call, because importing them takes most of a short script's time.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ._base import LOOPBACK
from .errors import UsageError

if TYPE_CHECKING:
    import ssl

    from ._base import Request
    from ._httpcore_adapter import HttpcoreAdapter
    from ._httpx_adapter import HttpxAdapter

    Verify = bool | str | os.PathLike[str] | ssl.SSLContext
    Adapter = HttpcoreAdapter | HttpxAdapter

KEEPALIVE_SECONDS = 4.0  # below the 5 s after which uvicorn closes idle connections, to avoid a race
MAX_CONNECTIONS, MAX_KEEPALIVE_CONNECTIONS = 100, 20


def open_async_adapter(endpoint: str, verify: Verify, proxy: Any, owner: object) -> Adapter:
    """Return an asyncio adapter for a service; UsageError for unusable certificates or an invalid proxy."""
    del owner  # no finalizer: there may be no event loop left to close it in
    return _adapter(endpoint, verify, proxy, "Async")


def open_adapter(endpoint: str, verify: Verify, proxy: Any, owner: object) -> Adapter:
    """Return a sync adapter for a service; UsageError for unusable certificates or an invalid proxy.

    It is closed when its owner is garbage-collected at the latest, because code written for pydo never closes
    its client.
    """
    import weakref

    made = _adapter(endpoint, verify, proxy, "")
    weakref.finalize(owner, made.transport.close)
    return made


def _adapter(endpoint: str, verify: Verify, proxy: Any, kind: str) -> Adapter:
    trust, proxy = ssl_context(endpoint, verify), proxy or proxy_for(endpoint)
    if needs_httpx(endpoint, proxy):
        import httpx

        return wrap_httpx(getattr(httpx, f"{kind}HTTPTransport")(**_for_httpx(trust, proxy)))
    import httpcore

    from ._httpcore_adapter import HttpcoreAdapter

    return HttpcoreAdapter(getattr(httpcore, f"{kind}ConnectionPool")(**_for_httpcore(trust)), endpoint)


def needs_httpx(endpoint: str, proxy: Any) -> bool:
    """Return whether httpcore alone is not enough: for a proxy, or a non-ASCII host name."""
    return bool(proxy) or not endpoint.isascii()


def wrap_httpx(transport: Any) -> Adapter:
    """Return an adapter for an httpx transport."""
    from ._httpx_adapter import HttpxAdapter

    return HttpxAdapter(transport)


def _for_httpcore(trust: ssl.SSLContext | None) -> dict[str, Any]:
    return {
        "ssl_context": trust,
        "max_connections": MAX_CONNECTIONS,
        "max_keepalive_connections": MAX_KEEPALIVE_CONNECTIONS,
        "keepalive_expiry": KEEPALIVE_SECONDS,
    }


def _for_httpx(trust: ssl.SSLContext | None, proxy: Any) -> dict[str, Any]:
    import httpx

    try:
        chosen = httpx.Proxy(proxy) if isinstance(proxy, str) else proxy
    except (ValueError, httpx.InvalidURL):
        raise UsageError("the URL of the proxy is invalid") from None
    limits = httpx.Limits(
        max_connections=MAX_CONNECTIONS,
        max_keepalive_connections=MAX_KEEPALIVE_CONNECTIONS,
        keepalive_expiry=KEEPALIVE_SECONDS,
    )
    return {"verify": trust or False, "proxy": chosen, "limits": limits}


def proxy_for(endpoint: str) -> str | None:
    """Return the proxy for the endpoint from the environment (``HTTPS_PROXY`` and the like)."""
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None  # Linux has no system-wide proxy settings, and importing urllib.request takes 15 ms
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    parts = urlsplit(endpoint)
    name = parts.hostname or ""
    if not proxies or name in LOOPBACK or name.startswith("127.") or proxy_bypass(parts.netloc):
        return None
    found = proxies.get(parts.scheme) or proxies.get("all")
    return f"http://{found}" if found and "://" not in found else found


def ssl_context(endpoint: str, verify: Verify) -> ssl.SSLContext | None:
    """Return the TLS context, None for plain HTTP.

    With ``verify=True`` it trusts ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``, else certifi's certificates.
    """
    if endpoint.startswith("http://"):
        return None  # saves the 20 ms for loading certificates
    import ssl

    if isinstance(verify, ssl.SSLContext):
        return verify
    if verify is False:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if verify is not True:
        return _ssl_context_of(os.fspath(verify))
    if os.environ.get("SSL_CERT_FILE"):
        return _ssl_context_of(os.environ["SSL_CERT_FILE"])
    if os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context(capath=os.environ["SSL_CERT_DIR"])
    import certifi

    return _ssl_context_of(certifi.where())


def _ssl_context_of(file: str) -> ssl.SSLContext:
    import ssl

    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:
        raise UsageError(f"cannot read certificates from {file}: {error.strerror or error}") from None


def log_retry(request: Request, reason: str, wait: float) -> None:
    """Log a retry, without the query, which may contain secrets."""
    import logging

    logging.getLogger("cenote_client").info(
        "%s %s: %s; again in %.1f s", request.method, urlsplit(request.url).path, reason, wait
    )
