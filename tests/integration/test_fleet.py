"""Several hosts of one fleet, each with its own API."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg  # type: ignore[import-untyped]

from cenote.model.paths import Layout
from cenote.security import certificates, fleet_certificates
from tests.support.fleet import fleet
from tests.support.folders import server_folder
from tests.support.service import added_pool, answer_of, ca_file, online_cluster


def test_hosts_of_one_store_have_certificates_of_one_authority() -> None:
    with fleet(2) as hosts:
        first, second = hosts.hosts
        authorities = {Layout(host.data_dir).fleet_authority.read_text() for host in hosts.hosts}
        assert len(authorities) == 1
        for host in hosts.hosts:
            layout = Layout(host.data_dir)
            pem = layout.fleet_certificate.read_bytes()
            assert certificates.is_issued_by(pem, *authorities)
            assert host.address in certificates.names_of(pem)
            assert fleet_certificates.host_id_of(certificates.names_of(pem))
            assert layout.fleet.stat().st_mode & 0o777 == 0o700
        with first.client() as client, second.client() as other:
            cluster = online_cluster(client, "either")
            assert other.databases.get_cluster(cluster["id"])["database"]["name"] == "either"


async def asked_by_asyncpg(uri: str) -> Any:
    connection = await asyncpg.connect(uri)
    try:
        return await connection.fetchval("SELECT 42")
    finally:
        await connection.close()


def test_each_api_names_the_host_of_a_cluster_and_its_certificate_is_valid_there() -> None:
    with fleet(2) as hosts, server_folder() as folder:
        first, second = hosts.hosts
        with first.client() as client, second.client() as other:
            made = [online_cluster(client, f"orders-{number}") for number in range(2)]
            away = next(one for one in made if one["connection"]["host"] == second.address)
            pool = added_pool(client, away["id"], "pool")
            for asked in (client, other):
                seen = asked.databases.get_cluster(away["id"])["database"]
                assert seen["connection"]["host"] == second.address
                assert seen["metrics_endpoints"][0]["host"] == second.address
                assert [host["host"] for host in seen["cenote"]["uris"]["hosts"]] == [second.address]
            checked = {"sslmode": "verify-full", "sslrootcert": ca_file(client, away["id"], folder)}
            for uri in (
                away["connection"]["uri"],
                pool["connection"]["uri"],
                away["cenote"]["uris"]["libpq"],
            ):
                assert answer_of(uri, **checked) == 42
            assert asyncio.run(asked_by_asyncpg(away["cenote"]["uris"]["asyncpg"])) == 42
            second.end()
            seen = client.databases.get_cluster(away["id"])["database"]
            assert seen["connection"]["host"] == second.address
            assert answer_of(seen["connection"]["uri"], **checked) == 42
