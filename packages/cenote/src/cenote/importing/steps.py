"""The steps of an import that run pg_dump and pg_restore, in a folder of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cenote.errors import Invalid
from cenote.importing import archive_list, child, restore_errors
from cenote.importing.archive_list import Entry
from cenote.importing.dump_programs import DumpPrograms
from cenote.importing.progress import Progress, size
from cenote.importing.restore_errors import RestoreError
from cenote.importing.restore_runs import Run
from cenote.logs.terminal_text import printable

_FINISHED = re.compile(r"pg_(?:dump|restore): finished item (\d+) TABLE DATA (.*)")
_READING = re.compile(r'pg_dump: dumping contents of table "(.*)"')
_WRITING = re.compile(r'pg_restore: processing data for table "(.*)"')
# A cluster has one storage and no label provider; subscriptions need a superuser.
_LEFT_OUT = ("--no-tablespaces", "--no-security-labels", "--no-subscriptions")
_SHOWN_LINES = 8


@dataclass(frozen=True, slots=True)
class Dump:
    """Dumps of one source, to which ``arguments`` and ``environment`` connect pg_dump."""

    programs: DumpPrograms
    folder: Path
    environment: Mapping[str, str]
    arguments: tuple[str, ...]
    jobs: int

    @property
    def schema(self) -> Path:
        return self.folder / "schema.dump"

    @property
    def data(self) -> Path:
        return self.folder / "data.dump"

    def take_schema(self, snapshot: str | None) -> list[Entry]:
        """Dump definitions alone, which takes seconds, and return the entries."""
        self._dump(
            ("--schema-only", "--format=custom", f"--file={self.schema}"), snapshot, lambda _line: None
        )
        return self.entries(self.schema)

    def take_data(self, snapshot: str | None, tables: int, progress: Progress) -> list[Entry]:
        """Dump everything, and return the entries."""
        done = 0

        def each(line: str) -> None:
            nonlocal done
            finished = (_FINISHED if self.jobs > 1 else _READING).match(line)
            if finished is not None:
                done += 1
                name = printable(finished[finished.lastindex or 1])
                progress.show(f"dump: {done} of {tables} tables, {size(self._written())} written; {name}")

        target = ("--format=directory", f"--jobs={self.jobs}", f"--file={self.data}")
        self._dump(target, snapshot, each)
        progress.close()
        return self.entries(self.data)

    def entries(self, dump: Path) -> list[Entry]:
        listed = child.output_of(self.programs.restore, ("--list", "--verbose", str(dump)), self.environment)
        return archive_list.parse(listed)

    def sql(self, dump: Path, entry: Entry) -> str:
        """Return the SQL of one entry."""
        chosen = self.folder / "entry.list"
        chosen.write_text(archive_list.render([entry]))
        arguments = ("--file=-", f"--use-list={chosen}", str(dump))
        return child.output_of(self.programs.restore, arguments, self.environment)

    def _dump(self, target: Iterable[str], snapshot: str | None, each: child.EachLine) -> None:
        held = () if snapshot is None else (f"--snapshot={snapshot}",)
        arguments = (*target, "--verbose", "--no-password", *_LEFT_OUT, *held, *self.arguments)
        try:
            child.run(self.programs.dump, arguments, self.environment, each=each)
        except child.ChildFailed as error:
            raise Invalid(f"the dump failed; the cluster was not changed: {_errors(error)}") from None

    def _written(self) -> int:
        return sum(path.stat().st_size for path in self.data.iterdir()) if self.data.is_dir() else 0


@dataclass(frozen=True, slots=True)
class Restore:
    """Restores of one dump; ``role``: the owner of everything, or None where objects keep their owners."""

    programs: DumpPrograms
    folder: Path
    environment: Mapping[str, str]
    database: str
    jobs: int
    role: str | None

    def run(self, dump: Path, which: Run, sizes: Mapping[int, int], progress: Progress) -> list[RestoreError]:
        """Restore the entries of a run and return the errors; pg_restore continues after them."""
        if not which.entries:
            return []
        jobs = self.jobs if which.parallel else 1
        output = self._output(dump, which.entries, jobs, sizes, progress)
        return restore_errors.parse(output, mixed=jobs > 1)

    def _output(
        self, dump: Path, listed: Sequence[Entry], jobs: int, sizes: Mapping[int, int], progress: Progress
    ) -> str:
        """Return pg_restore's messages."""
        chosen = self.folder / "restore.list"
        chosen.write_text(archive_list.render(listed))
        tables = {one.dump_id: sizes.get(one.oid, 0) for one in listed if one.kind == "TABLE DATA"}
        done = read = 0

        def each(line: str) -> None:
            nonlocal done, read
            if jobs > 1 and (match := _FINISHED.match(line)) is not None:
                read += tables.get(int(match[1]), 0)
                name = match[2]
            elif jobs == 1 and (match := _WRITING.match(line)) is not None:
                name = match[1]
            else:
                return
            done += 1
            total = size(sum(tables.values()))
            how_much = f" ({size(read)} of {total})" if jobs > 1 else ""
            progress.show(f"restore: {done} of {len(tables)} tables{how_much}; {printable(name)}")

        arguments = [
            *(f"--dbname={self.database}", f"--use-list={chosen}", f"--jobs={jobs}", "--verbose"),
            *("--no-password", "--no-tablespaces", "--no-security-labels"),
            *(() if self.role is None else ("--no-owner", f"--role={self.role}")),
            str(dump),
        ]
        try:
            return child.run(self.programs.restore, arguments, self.environment, each=each)
        except child.ChildFailed as error:
            if "pg_restore: error: " in error.output:
                return error.output
            return f"{error.output}\npg_restore: error: {error}\n"
        finally:
            progress.close()


def without_session_authorization(sql: str) -> bytes:
    """Return SQL that acts as a role by SET ROLE, which needs membership and no superuser.

    Lines that only psql understands are dropped.
    """
    plain = re.sub(r"(?m)^\\(?:un)?restrict .*$", "", sql)
    named = re.sub(r"(?m)^SET SESSION AUTHORIZATION ", "SET ROLE ", plain)
    return re.sub(r"(?m)^RESET SESSION AUTHORIZATION;", "RESET ROLE;", named).encode()


def _errors(error: child.ChildFailed) -> str:
    """Return the end of a program's output without its progress."""
    told = re.compile(r"pg_\w+: (?:error|hint|detail|fatal): ")
    lines = error.output.splitlines()
    first = next((number for number, line in enumerate(lines) if told.match(line)), max(0, len(lines) - 3))
    return "\n".join(printable(line) for line in lines[first : first + _SHOWN_LINES])
