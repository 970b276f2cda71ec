"""An import from its beginning to its end.

Nothing is changed on the cluster before the dump is complete.  Everything that is there for the import alone
is removed again, whether it succeeds, fails or is interrupted.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg

from cenote.errors import Invalid
from cenote.importing import checks, dump_programs, role_plan, source, steps, target
from cenote.importing.archive_list import Entry
from cenote.importing.facts import Source, Target
from cenote.importing.progress import Progress, size
from cenote.importing.report import Report
from cenote.importing.restoration import Restoration
from cenote.importing.role_plan import RolePlan
from cenote.importing.selection import LeftOut, Selection, select
from cenote.logs.terminal_text import printable

_UNCHANGED = "The cluster was not changed."


class ClusterAPI(Protocol):
    """What an import asks of the service."""

    def users(self) -> set[str]: ...
    def databases(self) -> set[str]: ...
    def add_user(self, name: str) -> str | None: ...
    def add_database(self, name: str, owner: str | None) -> None: ...
    def delete_database(self, name: str) -> None: ...


class PasswordWanted(Invalid):
    """The source asks for a password, and none was given."""


@dataclass(frozen=True, slots=True)
class Options:
    """``database``: None for the name that it has on the source.  ``storage``: the cluster's, in bytes."""

    uri: str
    database: str | None
    roles: bool = True
    owner: str | None = None
    jobs: int = 2
    dump_dir: Path | None = None
    check_only: bool = False
    verify: bool = False
    replace: bool = False
    into_non_empty: bool = False
    partial: bool = False
    password: str | None = None
    storage: int | None = None
    pools: tuple[str, ...] = ()


class Import:
    """One import; ``state`` says in words what is on the cluster, for when it ends early."""

    def __init__(
        self, options: Options, access: target.Access, cluster: str, api: ClusterAPI, progress: Progress
    ) -> None:
        self.options, self._access, self._cluster, self._api = options, access, cluster, api
        self._progress = progress
        self.state = _UNCHANGED

    @property
    def changed_something(self) -> bool:
        return self.state != _UNCHANGED

    def run(self, confirm: Callable[[Target], None]) -> Report:
        """Do it and return the report; ``confirm`` is asked before a database is deleted.

        Raises Invalid when it cannot be done; then, before the restore, the cluster is as it was.
        """
        began = time.monotonic()
        with closing(self._connect()) as old:
            snapshot = source.export_snapshot(old)
            seen = source.look(old)
            there = self._look(self.options.database or seen.name)
            plan = role_plan.plan(seen, there, create=self.options.roles)
            report = self._new_report(seen, there, plan)
            with tempfile.TemporaryDirectory(prefix="cenote-import-", dir=self.options.dump_dir) as name:
                folder = Path(name)
                dump = self._dump(folder, seen, there)
                self._check(seen, there, folder, report)
                self._progress.step(f"Reading the definitions of {seen.name}")
                chosen = self._select(dump.take_schema(snapshot), seen, there, plan)
                self._expect(chosen, seen, plan, report)
                if self.options.check_only:
                    return report
                self._refuse_partial(chosen)
                if self.options.replace and there.contents:
                    confirm(there)
                entries = self._take(dump, snapshot, seen)
                there, plan = self._prepare(seen, there, plan, report)
                restoration = Restoration(
                    old=old,
                    access=self._access,
                    seen=seen,
                    there=there,
                    plan=plan,
                    dump=dump,
                    entries=entries,
                    report=report,
                    progress=self._progress,
                    owners=self.options.roles,
                    verify=self.options.verify,
                )
                restoration.run(self._select(entries, seen, there, plan))
        report.seconds = time.monotonic() - began
        return report

    def _connect(self) -> psycopg.Connection[Any]:
        self._progress.step("Connecting to the source")
        password = self.options.password
        try:
            uri = self.options.uri
            if password is not None:
                uri = psycopg.conninfo.make_conninfo(uri, password=password)
            return source.connect(uri)
        except psycopg.ProgrammingError as error:
            raise dump_programs.not_parsed(error) from None
        except psycopg.OperationalError as error:
            kind = PasswordWanted if "no password supplied" in str(error) and password is None else Invalid
            raise kind(f"cannot connect to the source: {_one_line(error)}") from None

    def _look(self, database: str) -> Target:
        if database in self.options.pools:
            raise Invalid(f"{database} is a pool; name its database, the import uses the direct port")
        existing = self._api.databases()
        try:
            return target.look(
                self._access,
                self._cluster,
                database,
                exists=database in existing,
                any_database=sorted(existing)[0],
            )
        except psycopg.OperationalError as error:
            raise Invalid(
                f"cannot connect to cluster {self._cluster}: {_one_line(error)}; its trusted"
                " sources must include this machine"
            ) from None

    def _new_report(self, seen: Source, there: Target, plan: RolePlan) -> Report:
        return Report(
            cluster=self._cluster,
            database=there.database,
            source=seen.place,
            source_database=seen.name,
            checked_only=self.options.check_only,
            bytes=seen.bytes,
            tables=sum(one.kind == "r" for one in seen.relations.values()),
            users=plan.users,
            groups=plan.groups,
        )

    def _dump(self, folder: Path, seen: Source, there: Target) -> steps.Dump:
        chosen = dump_programs.choose(dump_programs.find(), seen.version // 10_000, there.version // 10_000)
        variables, rest = dump_programs.source_environment(self.options.uri)
        if self.options.password is not None:
            variables["PGPASSWORD"] = self.options.password
        environment = dump_programs.plain_environment(os.environ, keep_libpq=True) | variables
        # Without a name in the URI, libpq takes that of the user; the connection knows which it was.
        environment["PGDATABASE"] = seen.name
        arguments = (f"--dbname={rest}",) if rest else ()
        return steps.Dump(chosen, folder, environment, arguments, self.options.jobs)

    def _check(self, seen: Source, there: Target, folder: Path, report: Report) -> None:
        room = checks.Room(shutil.disk_usage(folder).free, self.options.storage)
        into, replace = self.options.into_non_empty, self.options.replace
        found = checks.check(seen, there, room, into_non_empty=into, replace=replace)
        owner = self.options.owner
        if owner and not there.exists and owner not in {*self._api.users(), *report.users}:
            found.append(checks.Finding(f"--owner: cluster {self._cluster} has no user {owner}.", stops=True))
        stops = [finding.text for finding in found if finding.stops]
        if stops:
            raise Invalid(printable(" ".join(stops)))
        for finding in found:
            report.findings.append(finding.text)
            self._progress.step(f"Note: {finding.text}")

    def _select(self, entries: list[Entry], seen: Source, there: Target, plan: RolePlan) -> Selection:
        return select(entries, seen, there, plan, owners=self.options.roles)

    def _expect(self, chosen: Selection, seen: Source, plan: RolePlan, report: Report) -> None:
        """Put into the report what is known before the restore."""
        report.left_out += chosen.left_out
        report.left_out += [LeftOut("not in a dump", note, "") for note in seen.notes]
        report.changed += [
            f"policy {policy} {words}" for policy, words in role_plan.lost_policies(seen, plan).items()
        ]
        heir = "the owner of the database" if not self.options.roles else self._access.user
        if plan.stand_ins:
            names = ", ".join(plan.stand_ins)
            report.changed.append(f"objects of {names} belong to {heir}; grants to these roles are gone")
        if self.options.check_only and self.options.roles:
            owned = [name for name in plan.unusable if name in seen.grantees]
            report.changed += [f"objects of {name} belong to {heir}" for name in owned]
        for role in seen.roles:
            if role.name in (*plan.users, *plan.groups) and role.attributes:
                report.changed.append(f"role {role.name} is created without {', '.join(role.attributes)}")

    def _refuse_partial(self, chosen: Selection) -> None:
        if chosen.lost_tables and not self.options.partial:
            lost = printable("; ".join(f"{one.name} ({one.reason})" for one in chosen.lost_tables[:5]))
            raise Invalid(
                f"{len(chosen.lost_tables)} tables would be left out with their rows: {lost}. --check"
                " lists them, --partial imports the others."
            )

    def _take(self, dump: steps.Dump, snapshot: str | None, seen: Source) -> list[Entry]:
        tables = sum(one.kind == "r" for one in seen.relations.values())
        total = sum(seen.bytes_of.values())
        self._progress.step(f"Dumping {tables} tables, {size(total)}, to {dump.folder}")
        return dump.take_data(snapshot, tables, self._progress)

    def _create_users(self, plan: RolePlan, report: Report) -> RolePlan:
        """Create users; one that the API refuses becomes a role without login."""
        refused: list[str] = []
        for name in plan.users:
            self._progress.step(f"Creating user {printable(name)}")
            if (reason := self._api.add_user(name)) is not None:
                refused.append(name)
                report.changed.append(f"user {name} becomes a role without login: {reason}")
            made = [one for one in plan.users[: plan.users.index(name) + 1] if one not in refused]
            self.state = f"Users that were created: {', '.join(made) or 'none'}. No data was imported."
        report.users = tuple(name for name in plan.users if name not in refused)
        report.groups = (*plan.groups, *refused)
        return dataclasses.replace(plan, users=report.users, groups=report.groups)

    def _prepare(
        self, seen: Source, there: Target, plan: RolePlan, report: Report
    ) -> tuple[Target, RolePlan]:
        """Create users and the database; return them as they are then."""
        database = there.database
        if self.options.replace and there.contents:
            self.state = f"Database {database} was deleted."
            self._api.delete_database(database)
            there = dataclasses.replace(there, exists=False)
        plan = self._create_users(plan, report)
        if not there.exists:
            owner = self.options.owner or (seen.owner if self.options.roles else None)
            if owner not in self._api.users():
                owner = None
            self._progress.step(f"Creating database {database}")
            self._api.add_database(database, owner)
        self.state = (
            f"Database {database} has a part of the data"
            + (f"; users that were created: {', '.join(plan.users)}" if plan.users else "")
            + ". Repeat with --replace to begin anew."
        )
        seen_now = target.look(self._access, self._cluster, database, exists=True, any_database=database)
        return dataclasses.replace(seen_now, contents=()), plan


def _one_line(error: Exception) -> str:
    return printable(" ".join(str(error).split()))
