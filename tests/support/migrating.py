"""Online migrations as an API client makes them, and what they have left on the source."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import conninfo

from cenote_client import Client
from tests.support.importing import rows
from tests.support.plain_postgres import PASSWORD, PlainPostgres
from tests.support.waiting import wait_until

ENDS = ("done", "error", "canceled")
_REMAINS: tuple[LiteralString, ...] = (
    "SELECT rolname, rolsuper, rolcanlogin, rolreplication FROM pg_roles ORDER BY 1",
    "SELECT slot_name, slot_type FROM pg_replication_slots ORDER BY 1",
    "SELECT datname, pg_get_userbyid(datdba), datacl::text FROM pg_database ORDER BY 1",
    "SELECT pubname, puballtables FROM pg_publication ORDER BY 1",
    "SELECT oid::regclass::text, relreplident::text, relacl::text, relfilenode FROM pg_class"
    " WHERE oid >= 16384 AND relkind IN ('r', 'p', 'v', 'S') ORDER BY 1",
)
# What changes nothing on the source, and what a migration may change there.
_HARMLESS = re.compile(
    r"(?i)\s*(?:select|with|set|savepoint|release|show|begin|commit|rollback|start transaction"
    r"|copy .* to stdout|lock table .* in access share mode|declare|fetch|close|prepare|execute|deallocate"
    r"|reset|discard)\b",
    re.S,
)
_OURS = re.compile(r"(?i)\s*(?:create|drop) publication \"?online_migration_")


@dataclass
class Migration:
    """A migration into a cluster, by the API."""

    client: Client
    cluster: str
    id: str = ""

    def start(
        self, source: PlainPostgres, user: str = "", password: str = PASSWORD, port: int = 0, **more: Any
    ) -> Any:
        """Start it; ``port`` is that of a relay to the source."""
        given = {
            "host": "127.0.0.1",
            "port": port or source.port,
            "dbname": "postgres",
            "username": user or source.superuser,
            "password": password,
        }
        body = {"source": given, "disable_ssl": True, **more}
        found = self.client.request("PUT", self.path, json=body)
        self.id = found["id"]
        return found

    @property
    def path(self) -> str:
        return f"/v2/databases/{self.cluster}/online-migration"

    def now(self) -> Any:
        return self.client.request("GET", self.path)

    def reaches(self, status: str, seconds: float = 60) -> Any:
        """Return the migration once it has a status; another end fails."""

        def reached() -> Any:
            found = self.now()
            assert found["status"] == status or found["status"] not in ENDS, found
            return found if found["status"] == status else None

        try:
            return wait_until(f"the migration is {status}", seconds, reached)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.now()}") from None

    def finish(self) -> Any:
        self.client.request("POST", f"{self.path}/{self.id}/finish")
        return self.reaches("done")

    def stop(self, *, discard: bool = False) -> None:
        self.client.request("DELETE", f"{self.path}/{self.id}" + ("?discard=true" if discard else ""))


def state(source: PlainPostgres, databases: Iterable[str]) -> list[Any]:
    """Return the roles, slots, publications, tables and their rights of a source."""
    return [rows(source.uri(database), query) for database in databases for query in _REMAINS]


def written(source: PlainPostgres, since: int) -> list[str]:
    """Return the statements of ours in a source's log, after so many bytes, that may not be run there.

    Each line begins with the name of the application.
    """
    time.sleep(0.2)
    text = (source.folder / "source.log").read_bytes()[since:].decode()
    found = re.findall(
        r"(?m)^(?:cenote|online_)[^|]*\|.*? LOG:  (?:statement|execute [^:]*): (.*(?:\n\t.*)*)", text
    )
    return [one for one in found if not _HARMLESS.match(one) and not _OURS.match(one)]


def log_size(source: PlainPostgres) -> int:
    return (source.folder / "source.log").stat().st_size


def login(uri: str, user: str, password: str, database: str) -> str:
    return conninfo.make_conninfo(uri, user=user, password=password, dbname=database)
