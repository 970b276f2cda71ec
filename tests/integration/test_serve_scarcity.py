"""A service that lacks something for a while: it goes on with what it has, and is whole again afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
from pathlib import Path

import pytest

from cenote.errors import Misconfigured
from cenote.model.paths import Layout
from cenote.model.timing import Timing
from cenote.security import certificates
from cenote.server import all_in_one, bootstrap
from cenote.server.settings import ServeSettings
from tests.support.service import CENOTE, service
from tests.support.waiting import wait_until, wait_until_async

FEW = 120  # file descriptors


def test_clients_that_take_every_file_descriptor_do_not_end_the_service() -> None:
    with service() as running, running.client() as client, contextlib.ExitStack() as stack:
        wait_until("a template is ready", 60, lambda: any(running.data_dir.glob("templates/*.spare")))
        before = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (FEW, before[1]))

        def is_short() -> bool:
            connection = stack.enter_context(socket.socket())
            connection.settimeout(0.2)
            with contextlib.suppress(OSError):
                connection.connect(("127.0.0.1", running.api_port))
            return "cannot read which ports are in use" in running.log()

        wait_until("the service is short of descriptors", 60, is_short)
        stack.close()
        wait_until("it answers as before", 60, lambda: bool(client.databases.list_options()))


def test_the_service_takes_as_many_file_descriptors_as_it_may() -> None:
    few = ("sh", "-c", 'ulimit -S -n 256; exec "$0" "$@"', CENOTE)
    with service(command=few) as running:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        assert resource.prlimit(running.pid, resource.RLIMIT_NOFILE)[0] == min(most, 65_536)


def own_pair(folder: Path) -> ServeSettings:
    """Settings with a certificate of one's own, made anew with each call."""
    authority = certificates.new_authority("somebody")
    (folder / "api.crt").write_bytes(certificates.issue(*authority, ("localhost",)))
    (folder / "api.key").write_bytes((folder / "api.crt").read_bytes())
    return ServeSettings(data_dir=folder, certificate=folder / "api.crt", key=folder / "api.key")


def shown(context: ssl.SSLContext) -> bytes | None:
    """Return the certificate that a client is shown, in DER."""
    there, here = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    server = context.wrap_bio(there, here, server_side=True)
    client = trusting.wrap_bio(here, there)
    for _ in range(4):
        for end in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return client.getpeercert(binary_form=True)


def test_a_certificate_that_is_half_replaced_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    settings = own_pair(tmp_path)
    context = bootstrap.make_tls_context(Layout(tmp_path), settings)
    before, key = shown(context), (tmp_path / "api.key").read_bytes()
    own_pair(tmp_path)
    (tmp_path / "api.key").write_bytes(key)
    with pytest.raises(Misconfigured, match="cannot be used"):
        bootstrap.renew_certificate(Layout(tmp_path), settings, context)
    assert shown(context) == before
    own_pair(tmp_path)
    bootstrap.renew_certificate(Layout(tmp_path), settings, context)
    assert shown(context) not in (None, before)


def test_a_certificate_that_cannot_be_renewed_does_not_end_the_service(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    timing = Timing(certificate_renewal_interval=0.01)
    settings = own_pair(tmp_path)
    context = bootstrap.make_tls_context(Layout(tmp_path), settings)
    before = shown(context)
    (tmp_path / "api.key").unlink()

    async def scenario() -> None:
        with caplog.at_level(logging.ERROR):
            renewing = asyncio.create_task(all_in_one._renew(Layout(tmp_path), settings, context, timing))
            await wait_until_async("it is told", 30, lambda: "keeps its current certificate" in caplog.text)
            own_pair(tmp_path)
            await wait_until_async("the new one is shown", 30, lambda: shown(context) != before)
            renewing.cancel()

    asyncio.run(scenario())
