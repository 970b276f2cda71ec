"""``cenote env``: environment variables that point other programs at this service."""

from __future__ import annotations

import shlex

import click

from cenote.cli.data_dir import data_dir
from cenote.cli.printer import Printer, output_options
from cenote.errors import Misconfigured
from cenote.host import identity
from cenote.model.paths import Layout


def exports(layout: Layout) -> dict[str, str]:
    """Return the environment variables for pydo, doctl, Terraform and most TLS clients.

    Raises Misconfigured when the data directory has no service, or is not readable by this user.
    """
    try:
        url = layout.address.read_text().strip()
        token = layout.admin_token.read_text().strip()
    except FileNotFoundError:
        if not identity.has_api(layout):
            raise Misconfigured(
                "this host of the fleet has no API; run the command on a host with the role api, or set what "
                "'cenote env' prints there"
            ) from None
        raise Misconfigured(
            f"no service found in {layout.data_dir}; start one with 'cenote serve', or set --data-dir"
        ) from None
    except PermissionError as error:
        raise Misconfigured(f"{error.filename} belongs to another user; run this as that user") from None
    for text, path in ((url, layout.address), (token, layout.admin_token)):
        if not text:
            raise Misconfigured(f"{path} is empty; start the service again, which writes it anew")
    variables = {
        "DIGITALOCEAN_API_URL": url,
        "DIGITALOCEAN_TOKEN": token,
        "DIGITALOCEAN_ACCESS_TOKEN": token,
    }
    if layout.bundle.exists():
        variables |= {
            # These two replace the system's certificates, so their file contains those as well.
            "SSL_CERT_FILE": str(layout.bundle),
            "REQUESTS_CA_BUNDLE": str(layout.bundle),
            "NODE_EXTRA_CA_CERTS": str(layout.authority),
        }
    return variables


def lines(layout: Layout) -> str:
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in exports(layout).items())


@click.command()
@data_dir
@output_options
def command(layout: Layout, printer: Printer) -> None:
    """Print environment variables for pydo, doctl and Terraform as shell exports.

    Apply them with: eval "$(cenote env)".
    """
    printer.text(lines(layout), exports(layout))
