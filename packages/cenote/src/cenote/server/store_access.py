"""How this host reaches a store that it was given when it joined: a file in the folder of the fleet.

What ``cenote serve`` is told by ``--etcd`` counts more.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec

from cenote.errors import Misconfigured
from cenote.host import files
from cenote.model.joining import StoreAccess
from cenote.model.paths import Layout
from cenote.model.record import Secret
from cenote.server import logins
from cenote.server.settings import EtcdSettings, ServeSettings
from cenote.store import member_file
from cenote.store.access import Passwords
from cenote.store.member_file import Seat


def of_settings(etcd: EtcdSettings) -> StoreAccess:
    """Return what lets another host in to an etcd of the operator's: the same as lets this one in."""
    login = (etcd.user, etcd.password.reveal() if etcd.password else "")
    return StoreAccess(
        prefix=etcd.prefix,
        endpoints=etcd.endpoints,
        external=True,
        authority=_text(etcd.ca),
        certificate=_text(etcd.certificate),
        key=_text(etcd.key),
        agent=login,
        api=login,
    )


def write(layout: Layout, access: StoreAccess) -> None:
    """Keep it; only we can read it.

    Of an etcd of the fleet, each password has a file of its own, and the members one that everybody may read.
    """
    if not access.external:
        root, api, agent = (
            Secret(text) if text else None for text in (access.root, access.api[1], access.agent[1])
        )
        assert agent is not None
        logins.write_passwords(layout, Passwords(root=root, api=api, agent=agent))
        member_file.write(layout.members, tuple(Seat("", url) for url in access.endpoints))
        access = StoreAccess(prefix=access.prefix)
    for path, text in (
        (layout.store_authority, access.authority),
        (layout.store_certificate, access.certificate),
        (layout.store_key, access.key),
    ):
        if text:
            files.write(path, text.encode(), 0o600, None)
    kept = msgspec.structs.replace(access, authority="", certificate="", key="")
    files.write(layout.store_access, msgspec.json.encode(kept), 0o600, None)


def read(layout: Layout) -> StoreAccess | None:
    """Return how this host reaches the store; None for one that did not join."""
    content = files.read(layout.store_access)
    if not content:
        return None
    try:
        return msgspec.json.decode(content, type=StoreAccess)
    except msgspec.DecodeError as error:
        raise Misconfigured(
            f"{layout.store_access} cannot be read: {error}; it says how this host reaches the store: "
            "restore it from a copy, or give --etcd"
        ) from None


def with_store(settings: ServeSettings, layout: Layout) -> ServeSettings:
    """Return the settings with the store of the fleet that this host has joined, if it has."""
    found = None if settings.etcd.endpoints else read(layout)
    if found is None:
        return settings
    if not found.external:
        return dataclasses.replace(settings, etcd=EtcdSettings(prefix=found.prefix))
    user, password = found.agent
    etcd = EtcdSettings(
        endpoints=found.endpoints,
        ca=_if_there(layout.store_authority),
        certificate=_if_there(layout.store_certificate),
        key=_if_there(layout.store_key),
        user=user,
        password=Secret(password) if password else None,
        prefix=found.prefix,
    )
    return dataclasses.replace(settings, etcd=etcd)


def _text(path: Path | None) -> str:
    return "" if path is None else path.read_text()


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None
