"""SQL as superuser over a node's unix socket, and commands for the console of its PgBouncer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Composed

from cenote.conf.hba import SUPERUSER
from cenote.conf.pgbouncer import ADMIN_DATABASE, ADMIN_USER
from cenote.errors import CenoteError, ServerGone
from cenote.model.pauses import LONGEST

log = logging.getLogger(__name__)

LOCK_MILLISECONDS = 2_000
_CONNECT_SECONDS = 5
# PgBouncer answers in milliseconds, or, when it is stopped, not at all.
_CONSOLE_CONNECT_SECONDS, _CONSOLE_SECONDS = 3, 5
_GRACE_SECONDS = 5  # after statement_timeout, which a server that hangs does not keep
_RECOVERY_POLL = 0.01
_TELLS_RECOVERY = 14_00_00  # the first version whose servers say it also on connections for replication
_SILENT = "PostgreSQL has not answered for {seconds:g} seconds"
# libpq gives no SQLSTATE for a refused connection.  A customer's sessions may take all connections.
_FULL = ("too many clients", "remaining connection slots")
# Whatever answers on a socket of the servers' account could ask for a password, and be told the one that our
# user's ~/.pgpass has for any host.
_PASSFILE = "/nonexistent"
_NO_POOL = "no such database"  # what PgBouncer says of a pool that it has not
_PAUSED = {"key": "paused", "value": "yes"}  # a row of SHOW STATE
# Our statements may contain a verifier, so the server must not record them: not in its log, even if they fail
# or are slow, not in pg_stat_statements, and not in pg_stat_activity, which pg_monitor can read.  Some are
# set with SET instead, which leaves pg_settings.reset_val as in other sessions.
#
# Waiting for a lock blocks all sessions that queue behind us, and the rest of the plan, so lock_timeout is
# short and the next pass tries again; deadlock_timeout is shorter, since after that time an autovacuum in the
# way is cancelled.  search_path excludes public: a customer's function or operator there that matches our
# argument types better would run as superuser (https://wiki.postgresql.org/wiki/A_Guide_to_CVE-2018-1058).
# All this overrides the settings that the owner of a database has made for it, including role.
_OPTIONS = (
    "-c statement_timeout={seconds}s -c lock_timeout={lock}ms -c log_statement=none"
    " -c log_min_error_statement=panic -c log_min_duration_sample=-1"
    " -c log_transaction_sample_rate=0"
    " -c search_path=pg_catalog,pg_temp -c role=none"
)
_HIDE_STATEMENTS = (
    b"SET log_min_duration_statement = -1; SET pg_stat_statements.track = 'none'; SET track_activities = off;"
    b" SET default_transaction_read_only = off;"  # users are managed on a full cluster, too
    b" SET deadlock_timeout = '%dms'"
)


class Session:
    """Connections to a node's databases and its pooler's console, opened at first use, closed together.

    At most two databases at a time: customers can take all connections but the three of
    superuser_reserved_connections.
    """

    def __init__(
        self,
        sockets: Path,
        port: int,
        pool_port: int,
        statement_seconds: int = 60,
        lock_milliseconds: int = LOCK_MILLISECONDS,
    ) -> None:
        self.sockets, self.port, self.pool_port = sockets, port, pool_port
        self._options = _OPTIONS.format(seconds=statement_seconds, lock=lock_milliseconds)
        self._hide_statements = _HIDE_STATEMENTS % (lock_milliseconds // 2)
        self._seconds = statement_seconds + _GRACE_SECONDS
        self._connections: dict[str, psycopg.AsyncConnection[tuple[Any, ...]]] = {}
        self._console: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._no_console: CenoteError | None = None  # it has not answered, and is not asked again

    async def rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        connection = await self._connection(database)
        try:
            with _deadline(connection, self._seconds):
                cursor = await connection.execute(query.encode())
                return await cursor.fetchall()
        except psycopg.Error as error:
            raise _public_error(error, "a query to PostgreSQL") from None

    async def run(
        self, database: str, summary: str, statements: Sequence[SQL | Composed], atomic: bool
    ) -> None:
        connection = await self._connection(database)
        try:
            if atomic:
                # BEGIN and COMMIT wait for the server as well.
                with _deadline(connection, self._seconds * (len(statements) + 2)):
                    async with connection.transaction():
                        await self._execute(connection, statements)
            else:
                await self._execute(connection, statements)
        except psycopg.Error as error:
            raise _public_error(error, summary) from None

    async def _execute(
        self, connection: psycopg.AsyncConnection[Any], statements: Sequence[SQL | Composed]
    ) -> None:
        for statement in statements:
            with _deadline(connection, self._seconds):
                await connection.execute(statement)

    async def console(self, command: str) -> list[dict[str, Any]]:
        """Run a command on PgBouncer's console and return the rows of its result, by column."""
        connection = await self._console_connection()
        try:
            with self._console_deadline(connection):
                return await _run_on_console(connection, command)
        except psycopg.Error as error:
            raise _public_error(error, f"{command} on PgBouncer") from None

    async def disconnect_clients(self, clients: Iterable[int]) -> None:
        """End clients of PgBouncer, by its ids for them; ids of clients that have left are ignored."""
        connection = await self._console_connection()
        for client in clients:
            try:
                with self._console_deadline(connection):
                    await connection.execute(f"KILL_CLIENT {client}".encode())
            except psycopg.Error as error:
                if error.diag.message_primary != "client not found":
                    raise _public_error(error, "KILL_CLIENT on PgBouncer") from None

    async def is_paused(self) -> bool:
        """Return whether the pooler is paused, or one of its pools."""
        return _PAUSED in await self.console("SHOW STATE") or bool(await self._paused_pools())

    async def resume(self) -> None:
        """Resume the pooler, and each of its pools that is paused by itself."""
        if _PAUSED in await self.console("SHOW STATE"):
            await self.console("RESUME")
        for name in await self._paused_pools():
            await self.console(f"RESUME {console_name(name)}")

    async def _paused_pools(self) -> list[str]:
        return [row["name"] for row in await self.console("SHOW DATABASES") if row["paused"]]

    async def answers(self) -> bool:
        """Return whether PostgreSQL lets us in; also when it has no room for one more connection."""
        try:
            async with await self._connect(SUPERUSER) as connection:
                with _deadline(connection, _CONNECT_SECONDS):
                    await connection.execute(b"SELECT")
        except CenoteError:
            return False
        except psycopg.Error as error:
            return any(words in str(error) for words in _FULL)
        return True

    async def pooler_answers(self) -> bool:
        """Return whether PgBouncer answers on its console."""
        try:
            await self.console("SHOW VERSION")
        except CenoteError:
            return False
        return True

    async def close(self) -> None:
        for connection in self._connections.values():
            await connection.close()
        self._connections.clear()
        if self._console is not None:
            await self._console.close()
            self._console = None
        self._no_console = None

    async def _console_connection(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        if self._no_console is not None:
            raise self._no_console
        if self._console is None or self._console.closed:
            try:
                self._console = await _connect_console(self.sockets, self.pool_port)
            except psycopg.errors.ConnectionTimeout:
                self._no_console = CenoteError("PgBouncer does not answer")
                raise self._no_console from None
            except psycopg.Error as error:
                raise _public_error(error, "connecting to PgBouncer's console") from None
        return self._console

    @contextlib.contextmanager
    def _console_deadline(self, connection: psycopg.AsyncConnection[Any]) -> Iterator[None]:
        try:
            with _deadline(connection, _CONSOLE_SECONDS, "PgBouncer does not answer"):
                yield
        except CenoteError as error:
            self._no_console = error
            raise

    async def _connection(self, database: str) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        there = self._connections.get(database)
        if there is None or there.closed:  # as after a restart of the server
            for other in [name for name in self._connections if name != SUPERUSER or name == database]:
                await self._connections.pop(other).close()
            try:
                connection = await self._connect(database)
            except psycopg.Error as error:
                raise _public_error(error, "connecting to PostgreSQL") from None
            try:
                with _deadline(connection, self._seconds):
                    await connection.execute(self._hide_statements)
            except CenoteError:
                await connection.close()
                raise
            except psycopg.Error as error:
                await connection.close()  # nothing of ours is run where it would be shown
                raise _public_error(error, "connecting to PostgreSQL") from None
            self._connections[database] = connection
        return self._connections[database]

    async def _connect(self, database: str) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        return await psycopg.AsyncConnection.connect(
            host=str(self.sockets),
            port=self.port,
            user=SUPERUSER,
            dbname=database,
            passfile=_PASSFILE,
            connect_timeout=_CONNECT_SECONDS,
            application_name="cenote",
            options=self._options,
            autocommit=True,
        )


async def console(
    sockets: Path, port: int, *commands: str, seconds: float = _CONSOLE_SECONDS
) -> list[list[dict[str, Any]]]:
    """Run commands on PgBouncer's console over a new connection; return the rows of each.

    CenoteError when they are not answered within these seconds.
    """
    try:
        async with await _connect_console(sockets, port) as connection:
            with _deadline(connection, seconds, "PgBouncer does not answer"):
                return [await _run_on_console(connection, command) for command in commands]
    except psycopg.Error as error:
        raise _public_error(error, f"{', '.join(commands)} on PgBouncer") from None


async def leads(conninfo: str, patience: float = 0.0) -> bool:
    """Return whether the server of another node answers a connection for replication and is no standby.

    One that answers and is a standby still is asked again until ``patience`` seconds are over.
    """
    try:
        async with await psycopg.AsyncConnection.connect(
            conninfo,
            replication="true",
            autocommit=True,
            cursor_factory=psycopg.AsyncClientCursor,  # it takes the simple query protocol alone
        ) as connection:
            if connection.info.server_version >= _TELLS_RECOVERY:
                return await ends_recovery(lambda: _recovers(connection), patience)
        async with await psycopg.AsyncConnection.connect(
            conninfo, replication="true", target_session_attrs="primary", autocommit=True
        ):
            return True
    except (psycopg.Error, CenoteError):
        return False


async def rows_of_node(conninfo: str, query: str, seconds: float) -> list[tuple[Any, ...]]:
    """Ask the server of another node as the superuser; CenoteError unless it answers in so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            async with await psycopg.AsyncConnection.connect(
                conninfo,
                dbname=SUPERUSER,
                autocommit=True,
                options="-c search_path=pg_catalog,pg_temp -c role=none -c log_statement=none",
            ) as connection:
                return await (await connection.execute(query.encode())).fetchall()
    except TimeoutError:
        raise CenoteError(_SILENT.format(seconds=seconds)) from None
    except psycopg.Error as error:
        raise _public_error(error, "a query to PostgreSQL of another node") from None


async def _recovers(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> bool:
    with _deadline(connection, _CONNECT_SECONDS):
        [(setting,)] = await (await connection.execute(b"SHOW in_hot_standby")).fetchall()
    # Such a connection is to no database, and so of no encoding: psycopg gives its texts as bytes.
    return setting in (b"on", "on")


async def ends_recovery(recovers: Callable[[], Awaitable[bool | None]], patience: float) -> bool:
    """Return whether a server takes writes, by what ``recovers`` says, which is None without an answer.

    One that recovers is asked again until ``patience`` seconds are over.
    """
    deadline = asyncio.get_running_loop().time() + patience
    while (found := await recovers()) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(_RECOVERY_POLL)
    return found is False


async def pause_pools(
    sockets: Path, port: int, pools: Collection[str], patience: float, cut: float | None = None
) -> None:
    """Pause pools, each over a connection of its own, since the command waits until its servers are free.

    With ``cut``, clients that have a server after so many seconds, in a transaction, are disconnected.

    CenoteError when it takes more than ``patience`` seconds.  Those that are paused stay so then, or are
    about to be, as PgBouncer takes no pause of one pool back when its client leaves.
    """
    # Also those that are paused: what a process began that was killed may still wait for transactions.
    pausing = [asyncio.create_task(_pause(sockets, port, name, patience)) for name in pools]
    if cut is not None and pausing:
        _, waiting = await asyncio.wait(pausing, timeout=cut)
        if waiting:
            await _end_transactions(sockets, port, pools)
    for outcome in await asyncio.gather(*pausing, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def _end_transactions(sockets: Path, port: int, pools: Collection[str]) -> None:
    """Disconnect the clients that have a server; only PgBouncer from 1.24 on can end single ones."""
    [rows] = await console(sockets, port, "SHOW CLIENTS")
    linked = [row["id"] for row in rows if row["database"] in pools and row["link"] and "id" in row]
    for client in linked:
        with contextlib.suppress(CenoteError):  # its transaction has just ended, and it has left
            await console(sockets, port, f"KILL_CLIENT {client}")
    if linked:
        log.warning("ended %d transactions in pools, for a switch: %s", len(linked), sockets)


async def _pause(sockets: Path, port: int, name: str, patience: float) -> None:
    command = f"PAUSE {console_name(name)}"
    late = "busy: a transaction in the pool {} does not end".format(
        name.replace("{", "{{").replace("}", "}}")
    )
    try:
        async with await _connect_console(sockets, port) as connection:
            with _deadline(connection, patience, late):
                await _run_on_console(connection, command)
    except psycopg.Error as error:
        if not str(error.diag.message_primary).startswith(_NO_POOL):  # it does not know that one yet
            raise _public_error(error, f"{command} on PgBouncer") from None


def console_name(name: str) -> str:
    """Quote the name of a pool for PgBouncer's console."""
    return '"' + name.replace('"', '""') + '"'


async def _connect_console(sockets: Path, port: int) -> psycopg.AsyncConnection[tuple[Any, ...]]:
    return await psycopg.AsyncConnection.connect(
        host=str(sockets),
        port=port,
        user=ADMIN_USER,
        dbname=ADMIN_DATABASE,
        passfile=_PASSFILE,
        connect_timeout=_CONSOLE_CONNECT_SECONDS,
        autocommit=True,
        cursor_factory=psycopg.AsyncClientCursor,  # the console supports only the simple query protocol
    )


async def _run_on_console(
    connection: psycopg.AsyncConnection[tuple[Any, ...]], command: str
) -> list[dict[str, Any]]:
    """Return the rows as dictionaries, since the columns differ between releases."""
    cursor = await connection.execute(command.encode())
    names = [column.name for column in cursor.description or ()]
    rows = await cursor.fetchall() if names else []
    return [dict(zip(names, row, strict=True)) for row in rows]


@contextlib.contextmanager
def _deadline(
    connection: psycopg.AsyncConnection[Any], seconds: float, message: str = _SILENT
) -> Iterator[None]:
    """Cut a connection whose server has not answered by then; CenoteError.

    A server that hangs, such as a stopped process, keeps no timeout of its own, and cancelling psycopg's call
    would wait for the server once more.
    """
    late = False

    def cut() -> None:
        nonlocal late
        late = True
        with (
            contextlib.suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(connection.fileno())) as end,
        ):
            end.shutdown(socket.SHUT_RDWR)

    timer = asyncio.get_running_loop().call_later(seconds, cut)
    try:
        yield
    except psycopg.Error:
        if late:
            raise CenoteError(message.format(seconds=seconds)) from None
        raise
    finally:
        timer.cancel()


def _public_error(error: psycopg.Error, doing: str) -> CenoteError:
    """Return the error without the statement, which may contain a verifier."""
    said = error.diag.message_primary or str(error).strip().splitlines()[0]
    kind = ServerGone if isinstance(error, psycopg.OperationalError) else CenoteError
    return kind(f"{doing} failed: {said}")


@contextlib.asynccontextmanager
async def paused(sockets: Path, port: int, patience: float) -> AsyncIterator[None]:
    """Pause the pooler; it stays paused after the block, until ``RESUME``.

    PAUSE returns when the last transaction has ended.  Past ``patience`` seconds the block starts without
    that: PAUSE then returns when the server stops.  Cancelling it earlier would resume the pooler, so it is
    waited for.  A PAUSE whose client is killed stays: see ``host.pauses``.
    """
    # One that PgBouncer does not even answer when the pause is over is cut.
    pausing = asyncio.create_task(console(sockets, port, "PAUSE", seconds=patience + LONGEST))
    try:
        await asyncio.wait([pausing], timeout=patience)
        if pausing.done() and pausing.exception() is not None:
            [state] = await console(sockets, port, "SHOW STATE")
            if _PAUSED not in state:
                await pausing
        if not pausing.done():
            log.warning("aborting transactions still open after %g seconds: %s", patience, sockets)
        yield
        await asyncio.wait([pausing], timeout=_CONNECT_SECONDS)
    finally:
        pausing.cancel()
        # PgBouncer refuses PAUSE when it is paused already.
        await asyncio.gather(pausing, return_exceptions=True)
