"""Errors of commands: what is printed, as text or as JSON, and the exit code.

1: refused; 2: usage error; 3: the service is unreachable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import IO, Any

import click

import cenote_client
from cenote import errors
from cenote.cli.printer import CommandError

COMMAND = "cenote.command"
"""Key in the context's ``meta``: the command that runs."""
REMOTE = "cenote.remote"
"""The same: the address of the service if the environment names it."""

_FIELD = re.compile(r"([a-z_]+(?:\[\d+\])?(?:\.[a-z_]+)*): ")

# Fields of the API that no option has the name of, and the parameter that they are given with.
_PARAMETERS = {
    "basic_auth_username": "user",
    "config": "settings",
    "expires_at": "expires_in",
    "increment_gib": "increment",
    "num_nodes": "nodes",
    "pg_allow_replication": "replication",
    "private_network_uuid": "vpc",
    "project_id": "project",
    "rules": "sources",
    "service_cnames": "names",
    "sink_name": "name",
    "sink_type": "type",
    "storage_size_mib": "storage_mib",
    "tags": "name",
    "threshold_percent": "threshold",
    "value": "sources",
}

# Messages of the hosted product that name no field, and the field that they are about.
_WITHOUT_FIELD = (("invalid cluster engine version", "version"), (r"\w+ name is not available", "name"))

_ASKED = {"basic_auth_password": "password"}  # fields that are asked for, and have no parameter


class Failure(CommandError):
    """An error of the service, or of the way to it, as one line on stderr."""

    def __init__(
        self,
        message: str,
        id: str,
        *,
        said: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """``said`` is the message without what the JSON has in fields of its own."""
        super().__init__(message)
        self.id = id
        self.said = message if said is None else said
        self.status = status
        self.request_id = request_id


class Unreachable(Failure):
    """No response from the service."""

    exit_code = 3


def failure(error: Exception, meta: Mapping[str, Any]) -> Failure | None:
    """Return what a command failed with, None for what is not an expected error.

    ``meta`` is that of the context of the command.
    """
    match error:
        case errors.CenoteError():
            return Failure(error.message, "refused")
        case cenote_client.APIError():
            said = _with_option(error.message, meta.get(COMMAND))
            whole = f"{said}{str(error).removeprefix(error.message)}"
            return Failure(whole, error.id, said=said, status=error.status, request_id=error.request_id)
        case cenote_client.NetworkError():
            remote = meta.get(REMOTE)
            hint = f"is DIGITALOCEAN_API_URL right ({remote})?" if remote else "is the service running?"
            start = "" if remote else " 'cenote serve' starts it"
            return Unreachable(f"{error}; {hint}{start}", "unreachable")
        case cenote_client.WaitTimeoutError():
            return Failure(str(error), "timeout")
        case cenote_client.CenoteError():
            return Failure(str(error), "refused")
        case _:
            return None


def _with_option(message: str, command: click.Command | None) -> str:
    """Return the message with the option or argument that was typed, instead of the field that it set."""
    field, rest = _field(message)
    if not field or command is None:
        return message
    for wanted in (field, _PARAMETERS.get(field)):
        for parameter in command.params:
            if parameter.name == wanted:
                return f"{_typed(parameter)}: {rest}"
    return f"{_ASKED[field]}: {rest}" if field in _ASKED else message


def _field(message: str) -> tuple[str, str]:
    """Return the field that a message is about, or an empty string, and what it says of it."""
    found = _FIELD.match(message)
    if found is not None:
        return found[1].rpartition(".")[2], message[found.end() :]
    for pattern, field in _WITHOUT_FIELD:
        if re.match(pattern, message):
            return field, message
    return "", message


def _typed(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len)
    return parameter.human_readable_name.strip("[]…")


def as_json(error: click.ClickException) -> str:
    """Return an error as one line of JSON; ``status`` and ``request_id`` are null without a response."""
    fields: dict[str, Any] = {"id": "refused", "message": error.format_message()}
    fields |= {"request_id": None, "status": None, "exit_code": error.exit_code}
    match error:
        case Failure():
            fields |= {"id": error.id, "message": error.said}
            fields |= {"request_id": error.request_id, "status": error.status}
        case click.UsageError():
            fields["id"] = "usage"
    return json.dumps({"error": fields}, ensure_ascii=False)


def wants_json(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for JSON, also one that cannot be parsed."""
    form = ""
    if arguments[:1] == ["run"]:  # the options are those of the command that it runs
        return False
    for place, argument in enumerate(arguments):
        if argument == "--":
            break
        after = arguments[place + 1] if place + 1 < len(arguments) else ""
        if argument in ("-o", "--output"):
            form = after
        elif argument.startswith("--output="):
            form = argument.removeprefix("--output=")
        elif argument.startswith("-o") and argument != "-o":
            form = argument.removeprefix("-o")
    return form == "json"


def show(error: click.ClickException, *, json: bool, file: IO[Any] | None = None) -> None:
    """Print an error on stderr."""
    if json:
        click.echo(as_json(error), file=file, err=file is None)
    else:
        error.show(file)
