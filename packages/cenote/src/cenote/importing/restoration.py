"""The restore of a dump into the database of a cluster, with the roles that it needs meanwhile."""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg

from cenote.errors import Invalid
from cenote.importing import comparison, dump_programs, steps, target
from cenote.importing.archive_list import Entry
from cenote.importing.facts import Relation, Source, Target
from cenote.importing.progress import Progress
from cenote.importing.report import Report
from cenote.importing.restore_errors import judge
from cenote.importing.restore_runs import Run, split
from cenote.importing.role_plan import RolePlan
from cenote.importing.selection import LeftOut, Selection

_PG_CLASS = 1259
_ROLE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Restoration:
    """One restore: ``old`` is the connection to the source, ``owners``: objects keep their owners."""

    old: psycopg.Connection[Any]
    access: target.Access
    seen: Source
    there: Target
    plan: RolePlan
    dump: steps.Dump
    entries: list[Entry]
    report: Report
    progress: Progress
    owners: bool
    verify: bool

    def run(self, chosen: Selection) -> None:
        """Restore, and put into the report what came of it."""
        heir = self.there.admin if self.owners else self.there.owner
        with closing(self.access.connect(self.there.database)) as new:
            self._wait_for_users(new)
            roles = target.Roles(new, self.there, self.plan, heir)
            try:
                roles.prepare()
                self._fill(chosen, new, roles)
                self._finish_data(chosen, new)
            finally:
                # On a connection of its own: the other one may be gone, or in the middle of a statement.
                self.progress.step("Removing temporary roles")
                with closing(self.access.connect(self.there.database)) as fresh:
                    roles.finish(fresh)
            self.report.changed += roles.notes

    def _fill(self, chosen: Selection, new: psycopg.Connection[Any], roles: target.Roles) -> None:
        role = None if self.owners else self.there.owner
        environment = dump_programs.plain_environment(os.environ, keep_libpq=False)
        environment |= self.access.environment(self.there.database)
        programs, folder = self.dump.programs, self.dump.folder
        restore = steps.Restore(programs, folder, environment, self.there.database, self.dump.jobs, role)
        self.progress.step(f"Restoring into database {self.there.database} of {self.there.cluster}")
        found = restore.run(self.dump.data, Run(chosen.schemas, parallel=False), {}, self.progress)
        roles.open_schemas()
        for run in split(chosen.others):
            found += restore.run(self.dump.data, run, self.seen.bytes_of, self.progress)
        outcome = judge(found, {one.dump_id: one for one in self.entries}, self.plan)
        self.report.errors += outcome.errors
        self.report.changed += [
            f"{count} objects of {name} belong to {self.there.admin}"
            for name, count in outcome.owners.items()
        ]
        for entry in (one for one in self.entries if one.dump_id in outcome.grants):
            self._grant(entry, new)

    def _grant(self, entry: Entry, new: psycopg.Connection[Any]) -> None:
        """Run grants that a role other than the owner has made, as that role."""
        sql = steps.without_session_authorization(self.dump.sql(self.dump.data, entry))
        try:
            with new.transaction():
                new.execute(sql)
        except psycopg.DatabaseError as error:
            reason = f"some of its grants were refused: {error.diag.message_primary or error}"
            self.report.left_out.append(LeftOut("ACL", entry.name, reason))
        finally:
            new.execute("RESET ROLE")
            new.execute("SET search_path = pg_catalog")

    def _finish_data(self, chosen: Selection, new: psycopg.Connection[Any]) -> None:
        names = frozenset((*self.plan.users, *self.plan.groups))
        refused = target.apply_settings(new, self.seen, self.there.database, names)
        self.report.changed += [f"left out: {words}" for words in refused]
        self.progress.step("Collecting statistics (ANALYZE)")
        new.execute("ANALYZE")
        out = {one.oid for one in self.entries if one.dump_id in chosen.out_ids and one.class_id == _PG_CLASS}
        expected = [one for oid, one in self.seen.relations.items() if oid not in out]
        there = target.relations(new)
        self.report.differences += comparison.missing(expected, there)
        if self.verify:
            self._verify(new, [one for one in expected if one in there])

    def _verify(self, new: psycopg.Connection[Any], relations: list[Relation]) -> None:
        self.progress.step("Comparing row counts and sequences")
        found, count = comparison.contents(self.old, new, relations, self.progress)
        self.report.differences += found
        self.report.rows_compared = count

    def _wait_for_users(self, new: psycopg.Connection[Any]) -> None:
        deadline = time.monotonic() + _ROLE_SECONDS
        while missing := set(self.plan.users) - target.roles(new):
            if time.monotonic() > deadline:
                raise Invalid(f"users {', '.join(sorted(missing))} are not on the server yet")
            time.sleep(0.2)
