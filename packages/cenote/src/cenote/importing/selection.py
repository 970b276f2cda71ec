"""Which entries of a dump are restored, and why the others are not.

Nothing is left out in silence: an entry is left out because the target has the object already, or because its
administrator, who is no superuser, cannot create it, or because it needs something that is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass

from cenote.importing.archive_list import Entry
from cenote.importing.facts import Extension, Source, Target
from cenote.importing.role_plan import RolePlan

_SUPERUSER = {
    "ACCESS METHOD": "only a superuser can create access methods",
    "EVENT TRIGGER": "only a superuser can create event triggers",
    "FOREIGN DATA WRAPPER": "only a superuser can create foreign-data wrappers",
    "OPERATOR CLASS": "only a superuser can create operator classes",
    "OPERATOR FAMILY": "only a superuser can create operator families",
    "PROCEDURAL LANGUAGE": "only a superuser can create languages",
    "SUBSCRIPTION": "only a superuser can create subscriptions",
    "TEXT SEARCH PARSER": "only a superuser can create text search parsers",
    "TEXT SEARCH TEMPLATE": "only a superuser can create text search templates",
    # Their options are shown to superusers only, and hold passwords.
    "USER MAPPING": "logins of foreign servers are not copied",
    "TRANSFORM": "only a superuser can create transforms of untrusted languages",
}
# Entries about another object, which say nothing new in a report.
_ABOUT = {
    *("ACL", "COMMENT", "SECURITY LABEL", "SEQUENCE OWNED BY", "SEQUENCE SET", "DEFAULT"),
    *("STATISTICS DATA", "TABLE DATA", "PUBLICATION TABLE", "TABLE ATTACH", "INDEX ATTACH"),
}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Its fields are for people; ``loses_rows``: a table whose rows are not restored."""

    kind: str
    name: str
    reason: str
    loses_rows: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """``schemas`` are restored first, ``others`` once owners may create things in them."""

    schemas: tuple[Entry, ...]
    others: tuple[Entry, ...]
    left_out: tuple[LeftOut, ...]
    out_ids: frozenset[int] = frozenset()

    @property
    def lost_tables(self) -> tuple[LeftOut, ...]:
        return tuple(one for one in self.left_out if one.loses_rows)


def select(
    entries: Iterable[Entry], source: Source, target: Target, plan: RolePlan, *, owners: bool
) -> Selection:
    """``owners``: objects keep their owners; otherwise all belong to one role."""
    listed = list(entries)
    there = {one.dump_id for one in listed if _is_there(one, source, target)}
    reasons = {
        one.dump_id: reason for one in listed if (reason := _reason(one, source, target, plan, owners))
    }
    names = {one.dump_id: f"{one.kind.lower()} {_short(one)}" for one in listed}
    _follow(listed, reasons, names)
    members = {one.dump_id for one in listed if _is_on_extension_member(one, names.keys())}
    reasons |= dict.fromkeys(members, "only a superuser can grant privileges on objects of extensions")
    if source.user == target.admin:  # every cluster grants this to its administrator
        there |= {one.dump_id for one in listed if one.dump_id in members and _RESET in one.name}
        members -= there
    for one in listed:  # what is about an object that the target has is the target's own affair
        if one.kind in _ABOUT and one.depends_on and set(one.depends_on) <= there:
            there.add(one.dump_id)
    out = {*there, *reasons}
    kept = [one for one in listed if one.dump_id not in out]
    return Selection(
        tuple(one for one in kept if one.kind == "SCHEMA"),
        tuple(one for one in kept if one.kind != "SCHEMA"),
        tuple(
            LeftOut(one.kind, _short(one), reasons[one.dump_id], one.kind == "TABLE")
            for one in listed
            if one.dump_id in reasons.keys() - there and (one.kind not in _ABOUT or one.dump_id in members)
        ),
        frozenset(out),
    )


def _is_on_extension_member(entry: Entry, ids: Set[int]) -> bool:
    """Return whether an ACL is about an object of an extension: these are not in the dump themselves.

    Nor is the schema public, unless its owner was changed.
    """
    about_other = entry.kind == "ACL" and ids.isdisjoint(entry.depends_on)
    return about_other and not entry.name.startswith("- ")


def _is_there(entry: Entry, source: Source, target: Target) -> bool:
    extension = source.extensions.get((entry.class_id, entry.oid)) if entry.kind == "EXTENSION" else None
    return extension is not None and target.extensions.get(extension.name) == extension.schema


def _reason(entry: Entry, source: Source, target: Target, plan: RolePlan, owners: bool) -> str:
    """Return why an entry cannot be restored, or an empty text."""
    key = (entry.class_id, entry.oid)
    if entry.kind == "EXTENSION" and (extension := source.extensions.get(key)) is not None:
        return _extension_reason(extension, target)
    if entry.kind == "DEFAULT ACL":
        lasting = plan.lasting - set(plan.unusable) if owners else {target.owner}
        return "" if entry.owner in lasting else f"default privileges of role {entry.owner}"
    if entry.kind == "SCHEMA" and source.schemas.get(key) == "public":
        # The public schema is there, and its owner is the owner of the database.
        return "" if owners and entry.owner in plan.lasting - set(plan.unusable) else _PUBLIC
    if entry.class_id and key in source.superuser_only and entry.kind != "EXTENSION":
        return source.superuser_only[key]
    return _SUPERUSER.get(entry.kind, "")


_RESET = "FUNCTION pg_stat_statements_reset("
_PUBLIC = "the target's schema public belongs to the owner of the database"


def _extension_reason(extension: Extension, target: Target) -> str:
    schema = target.extensions.get(extension.name)
    if schema == extension.schema:
        return ""
    if schema is not None:
        return f"the target has this extension in schema {schema}, the source in {extension.schema}"
    if extension.name not in target.available:
        return "the target does not offer this extension"
    return ""


def _follow(entries: list[Entry], reasons: dict[int, str], names: dict[int, str]) -> None:
    """Add everything that needs something left out, until nothing more is found."""
    lost = {one.dump_id for one in entries if reasons.get(one.dump_id) not in (None, _PUBLIC)}
    found = True
    while found:
        found = False
        for one in entries:
            if one.dump_id in reasons or not (needed := lost.intersection(one.depends_on)):
                continue
            reasons[one.dump_id] = f"needs {names[min(needed)]}"
            lost.add(one.dump_id)
            found = True


def _short(entry: Entry) -> str:
    """Return schema and name, without the owner and the dash in place of a schema."""
    name = entry.name.rpartition(" ")[0] or entry.name
    return (
        name.removeprefix("- ").replace(" ", ".", 1) if not name.startswith("- ") else name.removeprefix("- ")
    )
