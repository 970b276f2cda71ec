"""What pg_restore reports on stderr, told apart into what was expected and what is an error.

pg_restore continues after an error, so that all of them are known at the end.  Its messages are those of the
locale C.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cenote.importing.archive_list import Entry
from cenote.importing.role_plan import RolePlan

_ENTRY = re.compile(r"pg_restore: from TOC entry (\d+); (?:\d+) (?:\d+) (.*)")
_ERROR = re.compile(r"^pg_restore: error: (.*)$")
# Workers write the prefix of a line and its text one by one, so another one's text may follow a prefix.
_MIXED_ERROR = re.compile(
    r"(?:^pg_restore: error: (?!pg_restore:|error: |from TOC |while |(?:finished|launching|skipping) item "
    r"|(?:processing|creating|executing|connecting|entering) )"
    r"|(?=could not execute query: |COPY failed for table ))(.+)"
)
_IGNORED = re.compile(r"pg_restore: warning: errors ignored on restore: (\d+)")
_OWN_LINE = re.compile(r"pg_restore: (?!error: |hint: )")
_OWNER = re.compile(r'ERROR: +(?:must be member of role|must be able to SET ROLE) "(.*)"')
_NEWER_SETTING = re.compile(
    r'ERROR: +unrecognized configuration parameter "(?:transaction_timeout|\w+_timeout)"'
)
_GRANTOR = re.compile(
    r"ERROR: +permission denied to set session authorization|must be superuser to set session"
)


@dataclass(frozen=True, slots=True)
class RestoreError:
    """``entry`` is its dump ID, or 0; ``message`` is the server's, several lines."""

    entry: int
    title: str
    message: str

    def __str__(self) -> str:
        return f"{self.title}: {self.message}" if self.title else self.message


@dataclass(frozen=True, slots=True)
class Outcome:
    """``owners``: how many objects of each role belong to another one; ``grants``: ACLs to be run again."""

    errors: tuple[RestoreError, ...]
    owners: dict[str, int]
    grants: tuple[int, ...]


def parse(text: str, *, mixed: bool = False) -> list[RestoreError]:
    """Return the errors in the output of pg_restore, each with the entry that it is about.

    ``mixed``: it is that of several workers, which does not say for certain what an error is about.
    """
    found: list[RestoreError] = []
    entry, title, open_message = 0, "", False
    ignored, error = 0, _MIXED_ERROR if mixed else _ERROR
    for line in text.split("\n"):  # a name may have other line breaks
        if (match := _ENTRY.fullmatch(line)) is not None:
            entry, title, open_message = (0, "", False) if mixed else (int(match[1]), match[2], False)
        elif (match := error.search(line)) is not None:
            found.append(RestoreError(entry, title, match[1]))
            open_message = True
        elif (match := _IGNORED.fullmatch(line)) is not None:
            ignored, open_message = int(match[1]), False
        elif _OWN_LINE.match(line):
            open_message = False
        elif open_message and line:
            last = found[-1]
            found[-1] = RestoreError(last.entry, last.title, f"{last.message}\n{line}")
    # Its count is not exact: pg_restore counts the errors of its workers twice.
    if ignored and not found:
        found.append(RestoreError(0, "", f"pg_restore ignored {ignored} errors that it did not show"))
    return found


def judge(found: list[RestoreError], entries: Mapping[int, Entry], plan: RolePlan) -> Outcome:
    """Tell expected errors apart: each of them ends in the report, and everything else is an error."""
    errors: list[RestoreError] = []
    owners: dict[str, int] = {}
    grants: list[int] = []
    for error in found:
        entry = entries.get(error.entry)
        owner = _OWNER.search(error.message)
        if owner is not None and " OWNER TO " in error.message and owner[1] in plan.unusable:
            owners[owner[1]] = owners.get(owner[1], 0) + 1
        elif entry is not None and "ACL" in entry.kind and _GRANTOR.search(error.message):
            grants.append(entry.dump_id)
        elif not _NEWER_SETTING.search(error.message):
            errors.append(error)
    return Outcome(tuple(errors), owners, tuple(grants))


def hint(error: RestoreError) -> str:
    """Return what may be the cause of an error, where that is known."""
    if "does not exist" in error.message and re.search(r"(?m)^CONTEXT: .*function", error.message):
        return "a function relies on search_path; add SET search_path to the function on the source"
    if "could not be created: " in error.message or "already exists" in error.message:
        return "the database was not empty"
    if "No space left" in error.message or "read-only transaction" in error.message:
        return "the cluster's storage is full; see 'cenote cluster resize'"
    return ""
