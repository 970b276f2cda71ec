"""Several hosts of one fleet, each with its own API."""

from __future__ import annotations

from cenote.model.paths import Layout
from cenote.security import certificates, fleet_certificates
from tests.support.fleet import fleet
from tests.support.service import online_cluster


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
