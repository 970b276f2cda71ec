"""The command line: one module for each noun.

A module is imported when its command is used, so that ``cenote --help`` does not wait for a server's imports.
"""

from __future__ import annotations

import importlib
import sys

import click

import cenote_client
from cenote import __version__
from cenote.errors import CenoteError

# Command: the module that has it as ``command``, and what it does.
_COMMANDS = {
    "audit": ("audit", "Show who has changed what, and what was refused."),
    "ca": ("ca", "Print the CA certificate of a cluster."),
    "cluster": ("cluster", "Create, list, resize, configure and delete clusters."),
    "completion": ("completion", "Print the completion for a shell."),
    "db": ("db", "Create, list and delete databases."),
    "doctor": ("doctor", "Say what this machine lacks, and what mends it."),
    "env": ("env", "Print the shell exports that point pydo, doctl and Terraform here."),
    "events": ("events", "Show what has happened to clusters."),
    "firewall": ("firewall", "List, add and remove the trusted sources of a cluster."),
    "options": ("offered_options", "Show the versions, sizes and regions that a cluster can have."),
    "pool": ("pool", "Create, list, watch, change and delete connection pools."),
    "psql": ("psql", "Open psql on a cluster, or through one of its pools."),
    "quickstart": ("quickstart", "Serve, with a first cluster and pool, and show how to reach them."),
    "serve": ("serve", "Serve the API and run its clusters on this machine."),
    "stop": ("stop", "Stop the service and every server that it has started."),
    "token": ("token", "Create, list and revoke API tokens."),
    "uri": ("uri", "Print where to connect, as drivers and frameworks want it."),
    "user": ("user", "Create, list and delete users, and reset their passwords."),
}


class _Commands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"cenote.cli.{_COMMANDS[name][0]}").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in sorted(_COMMANDS.items())])


@click.command(cls=_Commands)
@click.version_option(__version__, prog_name="cenote")
def cli() -> None:
    """Managed PostgreSQL on your own machines, with the API that your tools already speak."""


def main() -> None:
    """Run a command; what goes wrong on purpose becomes a line on stderr and an exit code.

    1: refused; 2: the command line is wrong (click's own); 3: the service cannot be reached.
    """
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
