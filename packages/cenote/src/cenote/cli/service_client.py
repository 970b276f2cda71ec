"""The API client of a command, and which service it is for.

One named by the environment needs both an address and a token: a token alone may be meant for another
service, such as the hosted product, and must neither be sent to this machine's nor be passed over for its
administrator's.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import click

from cenote.cli.env import exports
from cenote.cli.failures import REMOTE
from cenote.cli.printer import CommandError
from cenote.model.paths import Layout
from cenote_client import Client

URL = "DIGITALOCEAN_API_URL"
TOKENS = ("DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN")  # the first that is set is used

# https://docs.digitalocean.com/reference/api/create-personal-access-token/
_HOSTED_TOKENS = ("dop_v1_", "doo_v1_", "dor_v1_")
_OWN_TOKENS = ("cenote_v1_",)
_HOSTED = "digitalocean.com"


def without_proxy() -> None:
    """Forget the proxies of the environment: a service of this machine is never reached through one."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            del os.environ[name]


def client_for(layout: Layout, **settings: Any) -> Client:
    """Return a client for the service in DIGITALOCEAN_API_URL if set, else for that of this data directory.

    ``--data-dir`` on the command line takes precedence over the environment.  ``settings`` are arguments of
    the client.  Raises CommandError when the environment has only one of address and token, or a token of
    another kind of service, and Misconfigured when the data directory has no service.
    """
    context = click.get_current_context()
    source = context.get_parameter_source("layout")
    if source is not click.core.ParameterSource.COMMANDLINE:
        url = _address_in_environment(layout)
        if url is not None:
            context.meta[REMOTE] = url
            return Client.from_env(**settings)
    return own_client(layout, **settings)


def own_client(layout: Layout, **settings: Any) -> Client:
    """Return a client for the service of this data directory; Misconfigured when it has none."""
    variables = exports(layout)
    without_proxy()
    found: dict[str, Any] = {
        "endpoint": variables[URL],
        "verify": variables.get("SSL_CERT_FILE", True),
    }
    return Client(variables["DIGITALOCEAN_TOKEN"], **(found | settings))


def _address_in_environment(layout: Layout) -> str | None:
    """Return the address in the environment, None if it names no service; check that the token is for it."""
    url = os.environ.get(URL)
    name = next((name for name in TOKENS if os.environ.get(name)), None)
    here = f"name this machine's service with --data-dir={layout.data_dir}"
    if not url and name is None:
        return None
    if not url:
        raise CommandError(
            f"{name} is set and {URL} is not, so it is unknown which service the token is for; "
            f"set both, as 'cenote env' prints them, or {here}"
        )
    if name is None:
        raise CommandError(
            f"{URL} is set, but no token; set {TOKENS[0]} too, as 'cenote env' prints them, or {here}"
        )
    _check_kind(name, os.environ[name].strip(), url)
    return url


def _check_kind(name: str, token: str, url: str) -> None:
    """Raise CommandError for a token of the hosted product on its way to another service, or the reverse."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return  # the client says what is wrong with it
    hosted = host == _HOSTED or host.endswith(f".{_HOSTED}")
    if token.startswith(_HOSTED_TOKENS) and not hosted:
        raise CommandError(
            f"{name} is a token for DigitalOcean and was not sent to {host}; set it to a token of the "
            f"service at {URL}, such as 'cenote token create' prints"
        )
    if token.startswith(_OWN_TOKENS) and hosted:
        raise CommandError(
            f"{name} is a token for a Cenote service and was not sent to {host}; set {URL} to the address "
            "of that service, or the token to one for DigitalOcean"
        )
