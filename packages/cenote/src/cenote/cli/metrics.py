"""``cenote metrics``: the login, the endpoints and the certificates that Prometheus needs."""

from __future__ import annotations

import sys
from typing import Any

import click

from cenote.cli.data_dir import data_dir
from cenote.cli.printer import CommandError, Printer, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

LOGIN = {"User": "basic_auth_username", "Password": "basic_auth_password"}
TARGETS = {"CLUSTER": "labels.__meta_cenote_cluster", "TARGET": "targets"}


@click.group()
def command() -> None:
    """Show or change the login for metrics; list metrics endpoints."""


@command.command()
@data_dir
@output_options
@click.option("--user", metavar="USER", help="New user; the password is then read from stdin.")
def login(layout: Layout, printer: Printer, user: str | None) -> None:
    """Show the login for the metrics of all clusters, or replace it.

    With --user, the new password is asked for, or read from stdin if that is not a terminal:
    an argument could be read by other users of the machine.  The old login stops working at once.
    """
    with client_for(layout) as client:
        if user is not None:
            basic: Any = {"basic_auth_username": user, "basic_auth_password": _password()}
            client.databases.update_cluster_metrics_credentials({"credentials": basic})
        printer.show(client.databases.get_cluster_metrics_credentials()["credentials"], LOGIN)


@command.command()
@data_dir
@output_options
def targets(layout: Layout, printer: Printer) -> None:
    """List the metrics endpoints of all clusters.

    With -o json, they are what Prometheus' HTTP service discovery takes.
    """
    with client_for(layout) as client:
        printer.show_all(client.request("GET", "/v2/cenote/metrics_targets"), TARGETS)


def _password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise CommandError("no password on stdin")
    return password
