"""How the processes of a service reach its store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator

from cenote.errors import Misconfigured, Unavailable
from cenote.host import identity
from cenote.host.identity import Identity
from cenote.server import logins
from cenote.server.installation import Installation
from cenote.server.settings import EtcdSettings
from cenote.store import HostStore, Store
from cenote.store.client import EtcdClient
from cenote.store.process import PrivateEtcd

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.1


def private_etcd(installation: Installation) -> PrivateEtcd | None:
    """Return the etcd of this machine; None with one of the user's."""
    if installation.settings.etcd.endpoints:
        return None
    assert installation.programs.etcd is not None
    layout = installation.layout
    return PrivateEtcd(
        layout.etcd,
        installation.programs.etcd.path,
        clients=layout.etcd_client,
        group=installation.api.gid,
        administrator=lambda socket: logins.root_client(socket, logins.ensure_passwords(layout)),
    )


def api_client(installation: Installation) -> EtcdClient:
    """Return the API's client of etcd; it reads the password, which the API's account cannot."""
    etcd = private_etcd(installation)
    if etcd is None:
        return external_client(installation.settings.etcd)
    return logins.api_client(installation.layout, etcd.socket)


def agent_client(installation: Installation) -> EtcdClient:
    etcd = private_etcd(installation)
    if etcd is None:
        return external_client(installation.settings.etcd)
    return logins.agent_client(installation.layout, etcd.socket, identity_of(installation))


def external_client(external: EtcdSettings) -> EtcdClient:
    """Return a client of an etcd of the user's; its users and their rights are the user's as well."""
    return EtcdClient(
        urls=external.endpoints,
        ca=external.ca,
        certificate=external.certificate,
        key=external.key,
        username=external.user,
        password=external.password,
    )


def identity_of(installation: Installation) -> Identity:
    """Return who this host is, which the preparation has written down."""
    known = identity.read(installation.layout)
    if known is None:
        raise Misconfigured(f"{installation.layout.identity} is missing; start the service again")
    return known


@contextlib.contextmanager
def naming_etcd(installation: Installation) -> Iterator[None]:
    """Turn Unavailable into Misconfigured with the addresses when an etcd of the user's does not answer."""
    endpoints = installation.settings.etcd.endpoints
    try:
        yield
    except Unavailable as error:
        if not endpoints:
            raise
        raise Misconfigured(f"{error.message} (--etcd {', '.join(endpoints)})") from None


async def open_when_there(store: Store | HostStore) -> None:
    """Open the store as soon as etcd answers, however long that takes."""
    waiting = False
    while True:
        try:
            await store.open()
        except Unavailable as error:
            if not waiting:
                log.warning("waiting for the store: %s", error.message)
            waiting = True
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return
