"""The command line: one module for each command.

A module is imported when its command is run, so that ``cenote --help`` does not pay for the server's imports.
"""

from __future__ import annotations

import importlib
import io
import sys

import click

import cenote_client
from cenote import __version__
from cenote.errors import CenoteError

# Command: the module that defines it as ``command``, and its summary.
_COMMANDS = {
    "audit": ("audit", "Show the audit log: changes and rejected requests."),
    "ca": ("ca", "Print the CA certificate of a cluster."),
    "cluster": ("cluster", "Create, list, resize, configure and delete clusters."),
    "completion": ("completion", "Print a shell completion script."),
    "db": ("db", "Create, list, import and delete databases."),
    "doctor": ("doctor", "Check this machine for missing or outdated programs."),
    "env": ("env", "Print environment variables for pydo, doctl and Terraform."),
    "events": ("events", "Show cluster events."),
    "firewall": ("firewall", "List, add and remove trusted sources."),
    "keys": ("keys", "List and rotate the sealing keys."),
    "options": ("offered_options", "List available PostgreSQL versions, sizes and regions."),
    "pool": ("pool", "Create, list, monitor, update and delete connection pools."),
    "psql": ("psql", "Open psql on a cluster or one of its pools."),
    "quickstart": ("quickstart", "Start the service with a sample cluster and pool."),
    "serve": ("serve", "Start the service: the API and this machine's clusters."),
    "stop": ("stop", "Stop the service and all servers it started."),
    "token": ("token", "Create, list and revoke API tokens."),
    "uri": ("uri", "Print a connection string for a driver or framework."),
    "user": ("user", "Create, list and delete users; reset passwords."),
}


class _Commands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        # httpx would import its own command line, and with it rich and pygments: 3 MiB and their time.
        sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
        command: click.Command = importlib.import_module(f"cenote.cli.{_COMMANDS[name][0]}").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in sorted(_COMMANDS.items())])


@click.command(cls=_Commands)
@click.version_option(__version__, prog_name="cenote")
def cli() -> None:
    """Manage PostgreSQL clusters on your own machines, with a DigitalOcean-compatible API.

    CLUSTER is the name or ID of a cluster.  Run 'cenote COMMAND --help' for details of a command.
    """


def main() -> None:
    """Run a command; expected errors become one line on stderr and an exit code.

    1: refused; 2: usage error (click's own); 3: the service is unreachable.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # none if it is closed
            stream.reconfigure(errors="backslashreplace")
    try:
        cli(standalone_mode=True)
    except CenoteError as error:
        _exit(error.message, 1)
    except cenote_client.NetworkError as error:
        _exit(f"{error}; is the service running? 'cenote serve' starts it", 3)
    except cenote_client.CenoteError as error:
        _exit(str(error), 1)


def _exit(message: str, code: int) -> None:
    click.echo(f"cenote: {message}", err=True)
    sys.exit(code)
