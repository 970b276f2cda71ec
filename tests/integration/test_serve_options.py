"""What the options of ``cenote serve`` change, as a client sees it."""

from __future__ import annotations

import socket
import ssl

import httpx
import psycopg
import pytest

from cenote.host import processes
from cenote.security import certificates
from cenote_client import Client
from tests.support.folders import server_folder
from tests.support.service import (
    added_pool,
    answer_of,
    ca_file,
    online_cluster,
    run_cenote,
    service,
)


def test_a_certificate_of_ones_own_is_shown_instead_of_ours() -> None:
    with server_folder() as folder:
        authority, key = certificates.new_authority("a company")
        (folder / "ca.crt").write_text(authority)
        chain = certificates.issue(authority, key, ("localhost", "db.example.test")).decode()
        where = chain.index("-----BEGIN CERTIFICATE-----")
        other = chain[:where] or chain[chain.rindex("-----BEGIN PRIVATE KEY-----") :]
        (folder / "api.crt").write_text(chain.replace(other, ""))
        (folder / "api.key").write_text(other)
        with service(f"--tls-cert={folder / 'api.crt'}", f"--tls-key={folder / 'api.key'}") as own:
            url = own.environment()["DIGITALOCEAN_API_URL"]
            trusting = ssl.create_default_context(cafile=folder / "ca.crt")
            assert httpx.get(f"{url}/healthz", verify=trusting).status_code == 200
            assert not (own.data_dir / "ca.key").exists()
            assert "SSL_CERT_FILE" not in own.environment()


def test_a_certificate_without_its_key_is_refused_with_words() -> None:
    with server_folder() as folder:
        refused = run_cenote("serve", f"--data-dir={folder}", "--port=0", f"--tls-cert={folder / 'api.crt'}")
        assert (refused.returncode, refused.stderr) == (
            1,
            "cenote: --tls-cert and --tls-key must be given together\n",
        )


def test_a_certificate_that_cannot_be_read_is_named_and_nothing_is_started() -> None:
    with server_folder() as folder:
        (folder / "api.crt").write_text("no certificate\n")
        paths = (f"--tls-cert={folder / 'api.crt'}", f"--tls-key={folder / 'api.key'}")
        refused = run_cenote("serve", f"--data-dir={folder / 'data'}", "--port=0", *paths)
        assert refused.returncode == 1
        assert str(folder / "api.crt") in refused.stderr
        assert "Traceback" not in refused.stderr
        assert processes.below(folder) == []


def test_the_public_host_is_in_every_connection_and_every_certificate() -> None:
    with server_folder() as folder, service("--public-host=db.example.test") as public:
        assert public.environment()["DIGITALOCEAN_API_URL"] == f"https://db.example.test:{public.api_port}"
        with local_client(public.environment(), "db.example.test") as client:
            cluster = online_cluster(client, "public")
            pool = added_pool(client, cluster["id"], "pool")
            hosts = {one["connection"]["host"] for one in (cluster, pool)}
            assert hosts == {"db.example.test"}
            checked = {
                "hostaddr": "127.0.0.1",
                "sslmode": "verify-full",
                "sslrootcert": ca_file(client, cluster["id"], folder),
            }
            assert answer_of(pool["connection"]["uri"], **checked) == 42
            assert answer_of(cluster["connection"]["uri"], **checked) == 42


def test_a_domain_gives_each_cluster_names_of_its_own() -> None:
    with server_folder() as folder, service("--domain=db.example.test") as named, named.client() as client:
        cluster = online_cluster(client, "orders")
        pool = added_pool(client, cluster["id"], "pool")
        for one in (cluster, pool):
            assert one["connection"]["host"] == "orders.db.example.test"
            assert one["private_connection"]["host"] == "private-orders.db.example.test"
        checked = {
            "hostaddr": "127.0.0.1",
            "sslmode": "verify-full",
            "sslrootcert": ca_file(client, cluster["id"], folder),
        }
        for one in (cluster, pool):
            assert answer_of(one["connection"]["uri"], **checked) == 42
            assert answer_of(one["private_connection"]["uri"], **checked) == 42
        with pytest.raises(psycopg.OperationalError, match="does not match host name"):
            answer_of(pool["connection"]["uri"].replace("orders.db", "others.db"), **checked)


def test_the_host_is_the_address_that_everything_listens_on() -> None:
    with service("--host=127.0.0.2") as elsewhere, elsewhere.client() as client:
        assert elsewhere.environment()["DIGITALOCEAN_API_URL"] == f"https://127.0.0.2:{elsewhere.api_port}"
        cluster = online_cluster(client, "elsewhere")
        pool = added_pool(client, cluster["id"], "pool")
        assert pool["connection"]["host"] == "127.0.0.2"
        assert answer_of(pool["connection"]["uri"]) == 42
        assert answer_of(cluster["connection"]["uri"]) == 42
        for port in (elsewhere.api_port, cluster["connection"]["port"], pool["connection"]["port"]):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_host_that_is_no_address_is_refused_with_words() -> None:
    with server_folder() as folder:
        refused = run_cenote("serve", f"--data-dir={folder}", "--host=nowhere.example.test")
        assert refused.returncode == 1
        assert "--host must be an IP address of this machine" in refused.stderr


def test_port_0_takes_a_free_port_and_the_environment_names_it() -> None:
    with service("--port=0") as free, free.client() as client:
        assert client.databases.list_clusters()["databases"] == []
        assert not free.environment()["DIGITALOCEAN_API_URL"].endswith((":0", f":{free.api_port}"))


def test_a_path_that_is_too_long_for_sockets_is_refused_with_words() -> None:
    with server_folder() as folder:
        refused = run_cenote("serve", f"--data-dir={folder / ('x' * 90)}", "--port=0")
        assert refused.returncode == 1
        assert "too long for the unix sockets below it" in refused.stderr
        assert list(folder.iterdir()) == []


def local_client(variables: dict[str, str], name: str) -> Client:
    """A client for a service whose name no DNS knows: it calls the loopback and checks for the name."""
    url = httpx.URL(variables["DIGITALOCEAN_API_URL"])
    tls = ssl.create_default_context(cafile=variables["SSL_CERT_FILE"])

    class ByAddress(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            request.extensions = {**request.extensions, "sni_hostname": name}
            request.url = request.url.copy_with(host="127.0.0.1")
            return super().handle_request(request)

    return Client(
        variables["DIGITALOCEAN_TOKEN"], endpoint=str(url), transport=ByAddress(verify=tls, http2=False)
    )
