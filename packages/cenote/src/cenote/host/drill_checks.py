"""What a drill looks at in restored data: sizes, heaps and indexes while the server runs, then each page.

Raises ``DrillFailed`` for what is wrong with the data, CenoteError for what only keeps it from being looked
at.
"""

from __future__ import annotations

from pathlib import Path

from cenote.conf import recovery
from cenote.conf.hba import SUPERUSER
from cenote.errors import CenoteError
from cenote.host.backup_program import Done, run_idle
from cenote.host.processes import Account
from cenote.host.restored_copy import CopyPlace, RestoredCopy
from cenote.rules.backup_info import LONGEST
from cenote.rules.drills import Check

_QUERY_SECONDS = 3600
_DATABASES = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname"
# VACUUM and ANALYZE note how many pages there are, and what takes some away notes that, too.
_SHORT = (
    "SELECT c.oid::regclass::text, c.relpages, pg_relation_size(c.oid) / current_setting('block_size')::int"
    " FROM pg_class c WHERE c.relkind IN ('r', 'i', 't', 'm') AND c.relpersistence = 'p'"
    " AND c.relpages > pg_relation_size(c.oid) / current_setting('block_size')::int"
    " ORDER BY c.relpages DESC LIMIT 1"
)
# In what these programs say, the lines that tell nothing of the data.
_ASIDE = ("pg_amcheck: warning", "pg_amcheck: in database", "pg_checksums: warning")


class DrillFailed(CenoteError):
    """A check has found that the backup is not good; the message says what."""

    def __init__(self, check: Check, message: str) -> None:
        super().__init__(message)
        self.check = check


async def sizes(copy: RestoredCopy) -> None:
    """Check that no table or index has fewer pages than it had when it was last vacuumed."""
    session = copy.session(_QUERY_SECONDS)
    try:
        for [database] in await session.rows(SUPERUSER, _DATABASES):
            for name, known, found in await session.rows(database, _SHORT):
                words = f"{name} in {database} has {found} pages of at least {known}"
                raise DrillFailed(Check.SIZES, words)
    finally:
        await session.close()


async def amcheck(binaries: Path, place: CopyPlace, account: Account) -> None:
    """Check each heap and each B-tree, and that the rows are in the indexes."""
    argv = [
        str(binaries / "pg_amcheck"),
        *("--host", str(place.sockets), "--port", str(recovery.PORT), "--username", SUPERUSER),
        *("--no-password", "--all", "--install-missing", "--heapallindexed"),
    ]
    done = await _run(argv, place, account)
    if done.code == 0:
        return
    # It ends with 2 for what is wrong, and with 1 for an error, such as a page that cannot be read.
    raise DrillFailed(Check.AMCHECK, _words(done))


async def checksums(binaries: Path, place: CopyPlace, account: Account) -> None:
    """Check the checksum of each page of a server that was shut down."""
    argv = [str(binaries / "pg_checksums"), "--check", "--pgdata", str(place.data)]
    done = await _run(argv, place, account)
    if done.code != 0:
        raise DrillFailed(Check.CHECKSUMS, _words(done))


async def _run(argv: list[str], place: CopyPlace, account: Account) -> Done:
    try:
        done = await run_idle(argv, place.state, account, None)
    except OSError as error:
        raise CenoteError(f"{Path(argv[0]).name} cannot be run: {error.strerror}") from None
    if done.code < 0:
        raise CenoteError(f"{Path(argv[0]).name} was ended by signal {-done.code}")
    return done


def _words(done: Done) -> str:
    text = (done.output + b"\n" + done.errors).decode(errors="replace")
    lines = [line.strip() for line in text.splitlines()]
    telling = [line for line in lines if line and not line.startswith(_ASIDE)]
    return " ".join(telling[:2])[:LONGEST] or f"it has ended with code {done.code}"
