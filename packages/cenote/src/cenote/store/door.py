"""What a host that joins needs of an etcd of ours: logins of its own, and where the members answer."""

from __future__ import annotations

import secrets
from collections.abc import Collection

import msgspec

from cenote.model.fleet_records import HostRole
from cenote.model.record import Secret
from cenote.store import access, member_file, members
from cenote.store.access import Passwords
from cenote.store.client import EtcdClient

PASSWORD_BYTES = 32


class LetIn(msgspec.Struct, frozen=True):
    """The passwords of a host's users, whose names follow from its id, and the URLs of the members."""

    passwords: Passwords
    endpoints: tuple[str, ...]


async def let_in(
    client: EtcdClient, prefix: str, host_id: str, roles: Collection[HostRole], root: Secret
) -> LetIn:
    """Make the users of a host, with new passwords; ``client`` is root's, and ``root`` its password.

    A host with the role api or store gets that, too: it has all records anyway.
    """
    trusted = HostRole.API in roles or HostRole.STORE in roles
    passwords = Passwords(
        root=root if trusted else None,
        api=drawn() if HostRole.API in roles else None,
        agent=drawn(),
    )
    await access.ensure_host(client, prefix, host_id, passwords)
    seats = member_file.of(await members.listed(client))
    return LetIn(passwords, tuple(seat.url for seat in seats if seat.voter))


def drawn() -> Secret:
    return Secret(secrets.token_urlsafe(PASSWORD_BYTES))
