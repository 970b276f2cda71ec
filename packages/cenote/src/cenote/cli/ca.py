"""``cenote ca``: the CA certificate of a cluster."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING

import click

from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.lookup import find_cluster
from cenote.cli.printer import Printer, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client import Client


def ca_certificate(client: Client, uuid: str) -> str:
    """Return the CA certificate of a cluster, in PEM."""
    return b64decode(client.databases.get_ca(uuid)["ca"]["certificate"]).decode("ascii")


@click.command()
@cluster_argument
@output_options
def command(layout: Layout, printer: Printer, cluster: str) -> None:
    """Print the CA certificate of a cluster in PEM format.

    Use it as sslrootcert with sslmode=verify-full.
    """
    with client_for(layout) as client:
        certificate = ca_certificate(client, find_cluster(client, cluster)["id"])
        printer.text(certificate.removesuffix("\n"), {"certificate": certificate})
