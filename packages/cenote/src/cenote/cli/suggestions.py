"""Suggestions of the service for completion in a shell: names of clusters, pools, users, sizes and others.

They are silent about errors, and end after two seconds, or those in CENOTE_COMPLETION_SECONDS: someone has
pressed a key and waits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from cenote.cli.lookup import find_cluster
from cenote.cli.plain_requests import listed
from cenote.cli.service_client import client_for
from cenote.host import programs
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client import Client
    from cenote_client._sync.databases_api import DatabasesAPI

SECONDS = 2.0
VARIABLE = "CENOTE_COMPLETION_SECONDS"

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _seconds() -> float:
    try:
        return float(os.environ.get(VARIABLE) or SECONDS)
    except ValueError:
        return SECONDS


def suggest(names: Callable[[Client, click.Context], Iterable[str]]) -> Complete:
    """Return the completion of a parameter from what ``names`` yields."""

    def complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        layout = context.params.get("layout") or Layout(programs.default_data_dir())
        found: list[str] = []
        seconds = _seconds()

        def fetch() -> None:
            with (
                suppress(Exception),
                context.scope(),
                client_for(layout, timeout=seconds, retry=None) as client,
            ):
                found.extend(names(client, context))

        # In a thread, because resolving a host name takes no time limit.
        thread = Thread(target=fetch, daemon=True)
        thread.start()
        thread.join(seconds)
        return [CompletionItem(name) for name in found if name.startswith(begun)]

    return complete


def suggest_of_cluster(names: Callable[[DatabasesAPI, str], Iterable[str]]) -> Complete:
    """The same for what is in the cluster that the command line names before."""

    def of_cluster(client: Client, context: click.Context) -> Iterable[str]:
        # An option without its value ends the parsing, and the arguments before it are left over.
        named = context.params.get("cluster") or context.args[0]
        return names(client.databases, find_cluster(client, named)["id"])

    return suggest(of_cluster)


def _offered(client: Client) -> Any:
    return client.databases.list_options()["options"]["pg"]


def _setting_keys(databases: DatabasesAPI, uuid: str) -> Iterable[str]:
    config: dict[str, Any] = dict(databases.get_config(uuid)["config"])
    for name, value in config.items():
        yield from (f"{name}.{inner}=" for inner in value) if isinstance(value, dict) else (f"{name}=",)


clusters = suggest(lambda client, _: [one["name"] for one in client.databases.iter_clusters()])
sizes = suggest(
    lambda client, _: dict.fromkeys(s for one in _offered(client)["layouts"] for s in one["sizes"])
)
regions = suggest(lambda client, _: _offered(client)["regions"])
versions = suggest(lambda client, _: _offered(client)["versions"])
tags = suggest(lambda client, _: [one["name"] for one in listed(client, "/v2/tags", "tags")])
projects = suggest(lambda client, _: [one["name"] for one in listed(client, "/v2/projects", "projects")])
vpcs = suggest(lambda client, _: [one["name"] for one in listed(client, "/v2/vpcs", "vpcs")])
tokens = suggest(lambda client, _: [one["name"] for one in client.cenote.list_tokens()["tokens"]])

pools = suggest_of_cluster(lambda api, uuid: [one["name"] for one in api.iter_connection_pools(uuid)])
replicas = suggest_of_cluster(lambda api, uuid: [one["name"] for one in api.iter_replicas(uuid)])
users = suggest_of_cluster(lambda api, uuid: [one["name"] for one in api.iter_users(uuid)])
databases = suggest_of_cluster(lambda api, uuid: [one["name"] for one in api.iter_dbs(uuid)])
sinks = suggest_of_cluster(lambda api, uuid: [one["sink_name"] for one in api.list_logsink(uuid)["sinks"]])
sources = suggest_of_cluster(
    lambda api, uuid: [one["value"] for one in api.list_firewall_rules(uuid)["rules"]]
)
setting_keys = suggest_of_cluster(_setting_keys)
