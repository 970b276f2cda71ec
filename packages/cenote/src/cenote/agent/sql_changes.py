"""What SQL has changed on the server of a node, kept between passes."""

from __future__ import annotations

import time

from cenote.engine import look, plan
from cenote.engine.plan.context import NodeContext
from cenote.errors import CenoteError
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model.by_sql import BySql
from cenote.rules import sql_changes


class SqlChanges:
    """The last look at a server; before the first one by this process, what the report of a former one says.

    Who may log in to the pools depends on it, also while the server does not answer.
    """

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector
        self._known: BySql | None = None
        self.has_other_users = False  # since the last look: PostgreSQL does not let PgBouncer in as them yet
        self._databases: frozenset[str] = frozenset()  # whose privileges were looked at
        self._expires: float | None = None  # when the next role is past its VALID UNTIL (monotonic)

    def last(self, context: NodeContext) -> BySql:
        return context.by_sql if self._known is None else self._known

    def covers(self, context: NodeContext) -> bool:
        """Return whether the last look was at all databases that pools use now."""
        wanted = sql_changes.pool_databases(context.cluster, context.by_sql)
        return self._known is not None and wanted <= self._databases

    async def look(self, context: NodeContext, session: Session) -> BySql:
        """Look at the server; return what was known before while it does not answer."""
        try:
            seen = await look.sql_changes.look(self._inspector, context, session)
        except CenoteError:
            self._expires = None  # the next pass over everything looks again
            return self.last(context)
        found = plan.sql_changes.changes(context.cluster, seen)
        former, now = (
            sql_changes.users_of_server(context.cluster, one) for one in (self.last(context), found.by_sql)
        )
        self.has_other_users = former != now
        self._known = found.by_sql
        self._databases = sql_changes.pool_databases(context.cluster, context.by_sql)
        self._expires = None if found.expires_in is None else time.monotonic() + found.expires_in
        return found.by_sql

    def fields(self) -> dict[str, object]:
        """Return what a report says of it; nothing before the first look."""
        return {} if self._known is None else {"by_sql": self._known}

    def expires_in(self) -> float | None:
        """Return the seconds until the next role may not log in any more."""
        return None if self._expires is None else max(0.0, self._expires - time.monotonic())
