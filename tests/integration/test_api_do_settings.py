"""Names of one's own, through the API with a real store and on real servers."""

from __future__ import annotations

import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from cenote.model.records import Cluster, Pool
from cenote.model.topology import writer_or_first
from tests.support import records
from tests.support.api import Api, Apis
from tests.support.lab import Lab, Share

NAMES = ["db.example.com", "xn--bcher-kva.example"]


def test_names_are_kept_and_can_be_taken_away(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        for body, expected in (
            ({"service_cnames": [*NAMES, "DB.example.com"]}, NAMES),
            ({}, []),
            ({"service_cnames": NAMES[:1]}, NAMES[:1]),
            ({"service_cnames": []}, []),
            ({"service_cnames": None}, []),
        ):
            await api.call("PUT", f"{cluster}/do_settings", 204, json={"do_settings": body})
            found = await api.call("GET", f"{cluster}/do_settings", 200)
            assert found == {"do_settings": {"service_cnames": expected}}
            assert (await api.call("GET", cluster, 200))["database"]["do_settings"] == found["do_settings"]

    apis.run(scenario)


def test_a_cluster_can_be_created_with_names(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster(do_settings={"service_cnames": NAMES})
        assert (await api.call("GET", f"{cluster}/do_settings", 200))["do_settings"][
            "service_cnames"
        ] == NAMES

    apis.run(scenario)


@pytest.mark.parametrize(
    ("names", "beginning"),
    [
        (["db"], "service_cnames: 'db' is not a host name"),
        (["-db.example.com"], "service_cnames: "),
        (["db..example.com"], "service_cnames: "),
        (["*.example.com"], "service_cnames: "),
        (["db.example.com\n"], "service_cnames: "),
        ([f"{'x' * 64}.example.com"], "service_cnames: "),
        (["x." * 126 + "example"], "service_cnames: "),
        (
            [f"db{number}.example.com" for number in range(17)],
            "service_cnames: a cluster has at most 16 names",
        ),
        ("db.example.com", "Expected `array | null`, got `str` - at `$.do_settings.service_cnames`"),
    ],
)
def test_what_is_no_name_is_refused(apis: Apis, names: Any, beginning: str) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        body = {"do_settings": {"service_cnames": names}}
        message = await api.refusal("PUT", f"{cluster}/do_settings", 422, json=body)
        assert message.startswith(beginning)

    apis.run(scenario)


def verified(cluster: Cluster, port: int, name: str, folder: Path) -> bool:
    """Connect as a client does that was told to verify this name."""
    context = ssl.create_default_context(cafile=records.ca_file(cluster, folder))
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.sendall(struct.pack("!ii", 8, 80877103))  # SSLRequest of PostgreSQL's protocol
        assert plain.recv(1) == b"S"
        try:
            with context.wrap_socket(plain, server_hostname=name):
                return True
        except ssl.SSLCertVerificationError:
            return False


def test_both_servers_are_verified_by_such_a_name_and_keep_their_clients(labs: Share, tmp_path: Path) -> None:
    async def scenario(place: Lab) -> None:
        pool = Pool(name="backend-pool", database="defaultdb", size=2, user="doadmin")
        cluster = replace(place.new_cluster(), pools=(pool,))
        await place.converge(cluster)
        port = writer_or_first(cluster).pool_port
        uri = f"postgres://doadmin:{records.PASSWORD}@127.0.0.1:{port}/backend-pool?sslmode=require"
        with psycopg.connect(uri, autocommit=True) as client:
            for names, expected in ((("db.example.com",), True), ((), False)):
                cluster = replace(cluster, service_names=names)
                await place.converge(cluster)
                for port in (writer_or_first(cluster).port, writer_or_first(cluster).pool_port):
                    assert verified(cluster, port, "db.example.com", tmp_path) is expected
                    assert verified(cluster, port, "localhost", tmp_path)
            assert client.execute("SELECT 1").fetchone() == (1,)

    labs(scenario)
