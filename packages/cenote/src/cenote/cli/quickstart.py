"""``cenote quickstart``: the service with a sample cluster and pool, and how to connect to them.

The cluster and pool are created as a customer would, through the client over HTTPS.
"""

from __future__ import annotations

import json
import shlex
import time

import click
import psycopg

from cenote.cli import env
from cenote.cli.serve import say, serve_options
from cenote.host import files
from cenote.model.paths import Layout
from cenote.security import certificates
from cenote.server import bootstrap, service
from cenote.server.settings import ServeSettings
from cenote.server.supervisor import Serving
from cenote_client import Client, NotFoundError
from cenote_client.types import Pool

CLUSTER, POOL = "backend", "backend-pool"
ONLINE_SECONDS = 60.0
CONNECT_INTERVAL = 0.2
_LAST_LINE = "Press Ctrl-C to stop the service; databases keep running until 'make stop'."
_LAST_LINE_OF_ANOTHER = (
    "It runs in another terminal, or in the background; nothing was started or changed there."
)


@click.command()
@serve_options
def command(settings: ServeSettings) -> None:
    """Start the service with a sample cluster and pool, and print how to connect.

    If it runs already, only print how to connect.
    """

    def ready(up: Serving) -> None:
        say(f"Cenote serves {up.url}")
        _create_first(up.layout, _LAST_LINE)

    layout = Layout(settings.data_dir)
    pid = bootstrap.serving_pid(layout) if layout.lock.exists() else None
    if pid is None or not layout.address.exists():
        service.serve(settings, ready)
        return
    say(f"Cenote already serves {layout.address.read_text().strip()} (pid {pid}, data in {layout.data_dir})")
    _create_first(layout, _LAST_LINE_OF_ANOTHER)


def _create_first(layout: Layout, last_line: str) -> None:
    variables = env.exports(layout)
    with Client(
        variables["DIGITALOCEAN_TOKEN"],
        endpoint=variables["DIGITALOCEAN_API_URL"],
        verify=variables.get("SSL_CERT_FILE", True),
    ) as client:
        uuid = _cluster(client)
        pool = _pool(client, uuid)
    refusal = _connect(pool["connection"]["uri"])
    say(_summary(uuid, pool, layout, refusal))
    say(last_line)


def _connect(uri: str) -> str:
    """Connect through the pool as a customer would, once it answers; return why it does not, or ""."""
    deadline = time.monotonic() + ONLINE_SECONDS
    while True:
        try:
            with psycopg.connect(uri, connect_timeout=5, autocommit=True) as connection:
                connection.execute("SELECT 1")
                return ""
        except psycopg.Error as error:
            if time.monotonic() > deadline:
                return str(error).strip().splitlines()[-1]
        time.sleep(CONNECT_INTERVAL)


def _cluster(client: Client) -> str:
    for cluster in client.databases.iter_clusters():
        if cluster["name"] == CLUSTER:
            return str(cluster["id"])
    say(f"Creating cluster {CLUSTER} …")
    made = client.databases.create_cluster(
        {"name": CLUSTER, "engine": "pg", "num_nodes": 1, "region": "nyc1", "size": "db-s-1vcpu-1gb"}
    )
    return str(made["database"]["id"])


def _pool(client: Client, uuid: str) -> Pool:
    client.databases.wait_until_online(uuid, timeout=ONLINE_SECONDS)
    try:
        client.databases.get_connection_pool(uuid, POOL)
    except NotFoundError:
        say(f"Creating pool {POOL} …")
        client.databases.add_connection_pool(
            uuid, {"name": POOL, "mode": "transaction", "size": 10, "db": "defaultdb", "user": "doadmin"}
        )
    return client.databases.get_connection_pool(uuid, POOL)["pool"]


def _summary(uuid: str, pool: Pool, layout: Layout, refusal: str) -> str:
    """``refusal``: why no connection can be made through the pool."""
    call = f'client.databases.get_connection_pool("{uuid}", "{POOL}")'
    uri = pool["connection"]["uri"]
    url = layout.address.read_text().strip()
    return "\n".join(
        (
            "",
            call,
            json.dumps({"pool": pool}, indent=2),
            "",
            f"The pool does not answer: {refusal}" if refusal else "Connect through the pool:",
            f"  psql {shlex.quote(uri)}",
            "",
            "Environment variables for pydo, doctl and Terraform:",
            *(f"  {line}" for line in env.lines(layout).splitlines()),
            "",
            f"Web console:   {url}/console (log in with the token above)",
            f"API reference: {url}/docs",
            *_about_browsers(layout),
            "",
        )
    )


def _about_browsers(layout: Layout) -> tuple[str, ...]:
    """Return what to expect of a browser where the API's certificate is from Cenote's own CA."""
    authority = files.read(layout.authority)
    if not layout.bundle.exists() or authority is None:
        return ()
    return (
        "A browser warns of the certificate until it trusts the CA in",
        f"  {layout.authority}",
        f"  SHA-256 {certificates.fingerprint(authority)}",
        "'cenote trust' adds it where this machine's programs and browsers look.",
    )
