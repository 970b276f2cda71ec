"""The fleet as the API sees it: tokens for joining, the hosts that have joined, and their certificates.

A token lets one host in: the transaction that admits the host takes the token away.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from cenote.errors import Conflict, NotFound
from cenote.model.event_records import Note
from cenote.model.fleet_records import AdmittedHost, FleetAuthority, HostRequest, JoinToken
from cenote.rules import differences
from cenote.store import audit_log, etcd_messages
from cenote.store.cache import WatchCache
from cenote.store.encoding import encode
from cenote.store.keys import Keys
from cenote.store.optimistic import Transaction, commit
from cenote.store.tables import Stored, Tables
from cenote.store.writer import Writer


class Joining:
    """Queries and changes; ``store.joining``."""

    def __init__(self, tables: Tables, cache: WatchCache, writer: Writer, keys: Keys) -> None:
        self._tables, self._cache, self._writer, self._keys = tables, cache, writer, keys

    def authority(self) -> FleetAuthority | None:
        """The CA of the hosts' certificates; None for a service that stands alone."""
        return self._tables.fleet_authority

    def tokens(self) -> list[JoinToken]:
        """The tokens that were not used, the oldest first."""
        self._tables.check_all_readable(self._keys.join_tokens)
        return sorted(self._tables.join_tokens.values(), key=lambda token: token.created_at)

    def token(self, sha256_hex: str) -> JoinToken | None:
        self._tables.check_readable(self._keys.join_token(sha256_hex))
        return self._tables.join_tokens.get(sha256_hex)

    def admitted(self) -> dict[str, AdmittedHost]:
        """The hosts that belong to the fleet, by id."""
        self._tables.check_all_readable(self._keys.all_admitted)
        return dict(self._tables.admitted)

    def requests(self) -> dict[str, Stored[HostRequest]]:
        """The hosts' requests for certificates that were not answered yet, by their ids."""
        return dict(self._tables.host_requests)

    async def refresh(self) -> None:
        """Bring all of this to what etcd holds."""
        await self._cache.refresh(folders=[self._keys.fleet])

    async def add_token(self, sha256_hex: str, token: JoinToken, note: Note) -> None:
        """Write a token, and remove those that have expired."""
        old = [
            self._keys.join_token(hash)
            for hash, one in self._tables.join_tokens.items()
            if one.expires_at <= datetime.now(UTC)
        ]
        outcome = await self._writer.write(
            [],
            [
                etcd_messages.put(self._keys.join_token(sha256_hex), encode(token)),
                *map(etcd_messages.delete, old),
                *audit_log.operations(self._keys, note, differences.of_join_token(None, token)),
            ],
        )
        await self._cache.seen(outcome.revision)

    async def remove_token(self, id: UUID, note: Note) -> None:
        """Remove a token; NotFound when there is none with this id."""

        def decide() -> Transaction:
            found = {hash: one for hash, one in self._tables.join_tokens.items() if one.id == id}
            if not found:
                raise NotFound
            [(hash, removed), *_] = found.items()
            key = self._keys.join_token(hash)
            changes = differences.of_join_token(removed, None)
            return Transaction(
                [etcd_messages.exists(key)],
                [etcd_messages.delete(key), *audit_log.operations(self._keys, note, changes)],
                refused=lambda _: NotFound(),
            )

        revision = await commit(self._cache, self._writer, decide, folders=[self._keys.join_tokens])
        await self._cache.seen(revision)

    async def admit(
        self, id: str, host: AdmittedHost, holder: etcd_messages.KeyValue | None, note: Note
    ) -> bool:
        """Admit a host, claim its name, and take its token away; False when something of it has changed.

        ``holder`` is the claim on its name that is to be replaced, if there is one.
        """
        token, name = self._keys.join_token(host.token), self._keys.host_name(host.name)
        outcome = await self._writer.write(
            [
                etcd_messages.exists(token),
                etcd_messages.missing(self._keys.admitted(id)),
                etcd_messages.unchanged(name, 0 if holder is None else holder.mod_revision),
            ],
            [
                etcd_messages.delete(token),
                etcd_messages.put(self._keys.admitted(id), encode(host)),
                etcd_messages.put(name, id.encode()),
                *audit_log.operations(self._keys, note, differences.of_admitted(None, host)),
            ],
        )
        await self._cache.seen(outcome.revision)
        return outcome.revision > 0

    async def issue(self, id: str, revision: int, pem: str, *conditions: etcd_messages.Condition) -> None:
        """Answer a host's request of this revision with a certificate, which takes its place."""
        request = self._keys.host_request(id)
        outcome = await self._writer.write(
            [
                etcd_messages.unchanged(request, revision),
                etcd_messages.exists(self._keys.admitted(id)),
                *conditions,
            ],
            [
                etcd_messages.put(self._keys.host_certificate(id), pem.encode()),
                etcd_messages.delete(request),
            ],
        )
        await self._cache.seen(outcome.revision)

    async def renew_authority(
        self, change: Callable[[FleetAuthority], FleetAuthority], *conditions: etcd_messages.Condition
    ) -> None:
        """Replace the record of the CA, whose key stays the same."""
        key = self._keys.fleet_authority

        def decide() -> Transaction | None:
            known = self._tables.fleet_authority
            renewed = None if known is None else change(known)
            if known is None or renewed is None or renewed is known:
                return None
            [revision] = self._cache.versions([key])
            return Transaction(
                [etcd_messages.unchanged(key, revision or 0), *conditions],
                [etcd_messages.put(key, encode(renewed))],
                refused=lambda _: Conflict("Others change this all the time; try again."),
            )

        await self._cache.seen(await commit(self._cache, self._writer, decide, keys=[key]))
