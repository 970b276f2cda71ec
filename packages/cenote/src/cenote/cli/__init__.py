"""The command line: one module for each command.

A module is imported when its command is run, so that ``cenote --help`` does not pay for the server's imports.
"""

from __future__ import annotations

import importlib
import io
import os
import sys

import click

from cenote import __version__
from cenote.cli import failures

# Command: the module that defines it as ``command``, and its summary.
_COMMANDS = {
    "audit": ("audit", "Show the audit log: changes and rejected requests."),
    "backup": ("backup", "List the backups of a cluster, and make one now."),
    "ca": ("ca", "Print the CA certificate of a cluster."),
    "cluster": ("cluster", "Create, list, resize, configure and delete clusters."),
    "completion": ("completion", "Print a shell completion script."),
    "db": ("db", "Create, list, import and delete databases."),
    "doctor": ("doctor", "Check this machine for missing or outdated programs."),
    "env": ("env", "Print environment variables for pydo, doctl and Terraform."),
    "events": ("events", "Show cluster events."),
    "firewall": ("firewall", "List, add and remove trusted sources."),
    "host": ("host", "List the hosts that run clusters."),
    "keys": ("keys", "List and rotate the sealing keys."),
    "logsink": ("logsink", "Forward the logs of clusters to log sinks."),
    "metrics": ("metrics", "Show or change the login for metrics; list endpoints."),
    "migrate": ("migrate", "Migrate another PostgreSQL server's databases online."),
    "options": ("offered_options", "List available sizes, PostgreSQL versions and regions."),
    "pool": ("pool", "Create, list, monitor, update and delete connection pools."),
    "project": ("project", "Create, list and delete projects; assign clusters."),
    "psql": ("psql", "Open psql on a cluster or one of its pools."),
    "quickstart": ("quickstart", "Start the service with a sample cluster and pool."),
    "replica": ("replica", "Create, list, resize, promote and delete read replicas."),
    "run": ("run", "Run a command with a temporary service and cluster."),
    "serve": ("serve", "Start the service: the API and this machine's clusters."),
    "service": ("service", "Back up, inspect and restore the service itself."),
    "store": ("store", "Show, replace and recover the members of the store."),
    "stop": ("stop", "Stop the service and all servers it started."),
    "tag": ("tag", "Create, list and delete tags; tag clusters."),
    "token": ("token", "Create, list and revoke API tokens."),
    "trust": ("trust", "Have this machine's programs and browsers trust the API's certificate."),
    "uri": ("uri", "Print a connection string for a driver or framework."),
    "user": ("user", "Create, list, update and delete users; reset passwords."),
    "vpc": ("vpc", "Create, list and delete VPCs, which are labels only."),
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

    def invoke(self, context: click.Context) -> object:
        """Run a command; an expected error becomes one line on stderr and an exit code."""
        try:
            return super().invoke(context)
        except Exception as error:
            known = failures.failure(error, context.meta)
            if known is None:
                raise
            raise known from error

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
    """Run a command; expected errors are printed on stderr: one line, or with ``-o json`` one JSON object.

    The exit codes are in ``failures``.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # none if it is closed
            stream.reconfigure(errors="backslashreplace")
    if "_CENOTE_COMPLETE" in os.environ:
        from cenote.cli import bash_completion  # noqa: F401 - the import registers it
    try:
        code = cli(standalone_mode=False)
    except click.Abort:
        aborted = click.ClickException("Aborted!")
        if failures.wants_json(sys.argv[1:]):
            failures.show(aborted, json=True)
        else:
            click.echo(aborted.message, err=True)
        sys.exit(aborted.exit_code)
    except click.ClickException as error:
        failures.show(error, json=failures.wants_json(sys.argv[1:]))
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)
