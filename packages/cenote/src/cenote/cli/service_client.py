"""How a command reaches the service: by the environment when it says where, else by the data directory."""

from __future__ import annotations

import os

import click

from cenote.cli.env import exports
from cenote.model.paths import Layout
from cenote_client import Client


def client_for(layout: Layout) -> Client:
    """Return a client for the service of this data directory, or for the one that the environment names.

    A data directory that was named on the command line wins over the environment.
    """
    source = click.get_current_context().get_parameter_source("layout")
    if source is not click.core.ParameterSource.COMMANDLINE and os.environ.get("DIGITALOCEAN_API_URL"):
        return Client.from_env()
    variables = exports(layout)
    return Client(
        variables["DIGITALOCEAN_TOKEN"],
        endpoint=variables["DIGITALOCEAN_API_URL"],
        verify=variables.get("SSL_CERT_FILE", True),
    )
