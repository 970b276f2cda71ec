"""What the backup of a service has, once it is decrypted."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec


class ServiceBackup(msgspec.Struct, frozen=True, kw_only=True):
    """The records, in the order in which they were written, and files by their paths in the data directory.

    ``prefix`` is that of the keys in etcd, ``host`` the id and ``host_name`` the name of the host that has
    made the backup, ``store`` the id of the store.
    """

    made_at: datetime
    cenote: str
    store: UUID
    host: UUID
    host_name: str
    prefix: str
    files: dict[str, bytes]
    records: list[tuple[str, bytes]]

    def __repr__(self) -> str:
        return f"ServiceBackup({self.made_at:%Y-%m-%d %H:%M:%S}, …)"
