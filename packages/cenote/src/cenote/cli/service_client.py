"""The API client of a command, configured from the environment or the data directory."""

from __future__ import annotations

import os

import click

from cenote.cli.env import exports
from cenote.model.paths import Layout
from cenote_client import Client


def without_proxy() -> None:
    """Forget the proxies of the environment: a service of this machine is never reached through one."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            del os.environ[name]


def client_for(layout: Layout) -> Client:
    """Return a client for the service in DIGITALOCEAN_API_URL if set, else for that of this data directory.

    ``--data-dir`` on the command line takes precedence over the environment.
    """
    source = click.get_current_context().get_parameter_source("layout")
    if source is not click.core.ParameterSource.COMMANDLINE and os.environ.get("DIGITALOCEAN_API_URL"):
        return Client.from_env()
    variables = exports(layout)
    without_proxy()
    return Client(
        variables["DIGITALOCEAN_TOKEN"],
        endpoint=variables["DIGITALOCEAN_API_URL"],
        verify=variables.get("SSL_CERT_FILE", True),
    )
