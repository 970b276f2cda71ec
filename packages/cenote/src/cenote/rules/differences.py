"""The differences between two versions of a record, in words, for events and the audit log.

No secret is in them: of passwords, keys and sealed configurations they say only that they have changed, and
of a field without words here, too.  Their number and their length are limited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from msgspec.structs import replace

from cenote.model.event_records import Difference, Event
from cenote.model.fleet_records import AdmittedHost, JoinToken
from cenote.model.groups import Group
from cenote.model.migrations import OnlineMigration, Wish
from cenote.model.record import Record
from cenote.model.records import (
    CertificateAuthority,
    Cluster,
    Configuration,
    Keep,
    MaintenanceWindow,
    MajorUpgrade,
    MetricsLogin,
    Move,
    Rehearsal,
    Restoration,
    StorageAutoscale,
    Switchover,
    Token,
)
from cenote.rules.record_words import (
    ADMITTED,
    BOOKKEEPING,
    EMPTY,
    GROUPS,
    HIDDEN,
    HIDDEN_SETTINGS,
    JOIN_TOKEN,
    LISTS,
    METRICS_LOGIN,
    POOL,
    SETTINGS,
    SOURCE,
    TOKEN,
    VALUES,
    Kind,
)

MOST = 20
MOST_CHARACTERS = 120  # of a value; a line has about twice as many

NOT_SET = "not set"
_GIB = 1024

NameOf: TypeAlias = Callable[[str], str]
"""Returns the name of a project, VPC, host or cluster by its id."""

Differences: TypeAlias = Iterator[Difference]


def of_cluster(
    before: Cluster | None, after: Cluster, name_of: NameOf = str
) -> tuple[tuple[Difference, ...], int]:
    """Return the differences of a cluster's record, and how many more there are; None: it is created."""
    found = _created(after, name_of) if before is None else _of_cluster(before, after, name_of)
    return _limited(found)


def of_record(kind: Kind, before: Record | None, after: Record | None) -> tuple[Difference, ...]:
    """Return the differences of a record of its own; None: it is created, or removed."""
    return _limited(_of_pair(kind, before, after, str))[0]


def of_group(before: Group | None, after: Group | None) -> tuple[Difference, ...]:
    named = after or before
    assert named is not None
    return of_record(GROUPS[type(named)], before, after)


def of_token(before: Token | None, after: Token | None) -> tuple[Difference, ...]:
    return of_record(TOKEN, before, after)


def of_join_token(before: JoinToken | None, after: JoinToken | None) -> tuple[Difference, ...]:
    return of_record(JOIN_TOKEN, before, after)


def of_admitted(before: AdmittedHost | None, after: AdmittedHost | None) -> tuple[Difference, ...]:
    return of_record(ADMITTED, before, after)


def of_metrics_login(before: MetricsLogin | None, after: MetricsLogin) -> tuple[Difference, ...]:
    return of_record(METRICS_LOGIN, before, after)


def in_words(difference: Difference) -> str:
    """Return a difference as one text."""
    what, before, after = difference.what, difference.before, difference.after
    if before is None and after is None:
        return f"{what}: changed"
    if before is not None and after is not None:
        return f"{what}: from {before} to {after}"
    value = before or after
    return f"{what}: {'added' if before is None else 'removed'}" + (f" ({value})" if value else "")


def summary(event: Event) -> str:
    """Return what an event says in one line; of one without differences, the request or the action."""
    if not event.changes:
        return event.note.what
    more = [f"and {event.more} more"] if event.more else []
    words = "; ".join([*map(in_words, event.changes), *more])
    return words if event.note.token_id is not None else f"{event.note.what}: {words}"


def _of_cluster(before: Cluster, after: Cluster, name_of: NameOf) -> Differences:
    if before.move is not None and after.move is None and after.nodes[0].name == before.move.target:
        return  # it has moved, which its event tells
    if before.promote_asked_at is not None and before.replica_of is not None and after.replica_of is None:
        return  # it was promoted, likewise
    found = False
    for difference in _told(before, after, name_of):
        found = True
        yield difference
    if not found:
        yield from _of_bookkeeping(before, after, name_of)


def _told(before: Cluster, after: Cluster, name_of: NameOf) -> Differences:
    for name in _changed(before, after):
        former, now = getattr(before, name), getattr(after, name)
        if name == "deleted_at":
            if now is None:
                yield Difference(what=f"cluster {after.name}", after=f"undeleted, {_described(after)}")
            else:
                yield Difference(what=f"cluster {after.name}", before=_described(before))
        elif name == "tags":
            yield from _of_tags(former, now)
        elif name == "promote_asked_at":
            yield Difference(what="promotion", after="asked for")
        elif name == "move":
            yield from _of_move(before, after, name_of)
        elif name == "switchover":
            yield from _of_switch(former, now)
        elif name == "online_migration":
            yield from _of_migration(former, now)
        elif name == "nodes" and (before.move is None) != (after.move is None):
            continue  # the move tells it
        elif name == "configuration":
            yield from _of_configuration(former, now)
        elif name in LISTS:
            yield from _of_list(LISTS[name], former, now, name_of)
        elif name in VALUES:
            values = (_value(name, former, name_of), _value(name, now, name_of))
            yield Difference(what=VALUES[name], before=values[0], after=values[1])
        elif name not in BOOKKEEPING:
            yield Difference(what=HIDDEN.get(name, name.replace("_", " ")))


def _of_bookkeeping(before: Cluster, after: Cluster, name_of: NameOf) -> Differences:
    for name in _changed(before, after):
        former, now = getattr(before, name), getattr(after, name)
        match BOOKKEEPING.get(name):
            case None:
                continue
            case Kind() as kind:
                yield from _of_list(kind, former, now, name_of)
            case words:
                values = (_value(name, former, name_of), _value(name, now, name_of))
                yield Difference(what=words, before=values[0], after=values[1])


def _created(cluster: Cluster, name_of: NameOf) -> Differences:
    yield Difference(what=f"cluster {cluster.name}", after=_described(cluster))
    if cluster.replica_of is not None:
        yield Difference(what="read replica", after=f"of {name_of(str(cluster.replica_of))}")
    if cluster.restoration is not None:
        yield Difference(what="data", after=f"forked from {_origin(cluster.restoration, name_of)}")
    yield from _of_tags((), cluster.tags)
    yield from _of_list(SOURCE, (), cluster.firewall, str)


def _origin(restoration: Restoration, name_of: NameOf) -> str:
    """Return which cluster's data are restored, and as of when."""
    target = restoration.target
    as_of = "its newest moment" if target is None else f"{target:%Y-%m-%d %H:%M:%S} UTC"
    return f"{name_of(str(restoration.source))} as of {as_of}"


def _described(cluster: Cluster) -> str:
    storage = _value("storage_mib", cluster.storage_mib, str)
    return f"PostgreSQL {cluster.version}, {cluster.size}, {cluster.region}, {storage} of storage"


def _of_list(kind: Kind, before: Sequence[Record], after: Sequence[Record], name_of: NameOf) -> Differences:
    if before == after:
        return
    same = frozenset(before) & frozenset(after)  # most of them; they need no names
    former, now = ({kind.name(one): one for one in those if one not in same} for those in (before, after))
    found = False
    for name in [*former, *(name for name in now if name not in former)]:
        for difference in _of_pair(kind, former.get(name), now.get(name), name_of):
            found = True
            yield difference
    if not found:
        yield Difference(what=f"order of {kind.plural}")


def _of_pair(kind: Kind, before: Record | None, after: Record | None, name_of: NameOf) -> Differences:
    if before is None or after is None:
        only = before or after
        assert only is not None
        told = _fields_of(kind, only, name_of)
        if before is None:
            yield Difference(what=kind.name(only), after=told)
        else:
            yield Difference(what=kind.name(only), before=told)
        return
    hidden: set[str] = set()
    for name in _changed(before, after):
        what = f"{kind.name(before)}: {kind.fields.get(name, name.replace('_', ' '))}"
        if name in kind.fields:
            values = [_value(name, getattr(one, name), name_of) for one in (before, after)]
            yield Difference(what=what, before=values[0], after=values[1])
        elif name in kind.hidden:
            hidden.add(kind.hidden[name])
        elif name not in kind.unsaid:
            yield Difference(what=what)
    for words in sorted(hidden):
        yield Difference(what=f"{words} of {kind.name(before)}")


def _fields_of(kind: Kind, record: Record, name_of: NameOf) -> str:
    """Describe a record by those of its fields that people chose."""
    defaults = dict(zip(record.__struct_fields__[::-1], record.__struct_defaults__[::-1], strict=False))
    return ", ".join(
        f"{words} {_value(name, value, name_of)}"
        for name, words in kind.fields.items()
        if name not in kind.minor and name not in kind.named_by
        for value in [getattr(record, name)]
        if value is not None and value != "" and (kind is POOL or value != defaults.get(name))
    )


def _of_move(before: Cluster, after: Cluster, name_of: NameOf) -> Differences:
    """Tell the beginning of a move and that it was given up; its end is an event of its own."""
    former, now = before.move, after.move
    if former is None and now is not None:
        yield Difference(what="move", after=_route(after, now, name_of))
    elif former is not None and now is None:
        yield Difference(what="move", before=_route(before, former, name_of))
    elif former is not None and now is not None:
        same = replace(now, since=former.since, tries=former.tries, hitch=former.hitch)
        if same == former:
            yield Difference(what="state of the move")
        else:
            yield Difference(what="move", before=str(former.stage), after=str(now.stage))


def _of_switch(former: Switchover | None, now: Switchover | None) -> Differences:
    """Tell that another node is to take writes, and that this was given up or is over."""
    if former is None and now is not None:
        yield Difference(what="switch", after=_switched(now))
    elif former is not None and now is None:
        yield Difference(what="switch", before=_switched(former))
    else:
        yield Difference(what="state of the switch")


def _switched(switch: Switchover) -> str:
    if switch.in_place:
        return f"held pools while {switch.source} restarts"
    cut = ", disconnecting clients whose transactions do not end" if switch.cut else ""
    return f"from {switch.source} to {switch.target}{cut}"


def _of_migration(former: OnlineMigration | None, now: OnlineMigration | None) -> Differences:
    """Tell that a migration was begun and how it is to end; how it has ended its event tells."""
    if former is None or now is None or former.id != now.id:
        if former is not None:
            yield Difference(what=_named(former), before="")
        if now is not None:
            yield Difference(what=_named(now), after="")
    elif former.outcome is None and now.outcome is not None:
        return
    elif former.wish != now.wish:
        yield Difference(what=_named(now), before=_ENDINGS[former.wish], after=_ENDINGS[now.wish])
    elif former.opened != now.opened:
        yield Difference(what=f"databases of the {_named(now)}", before="closed", after="open")
    else:
        yield Difference(what=f"state of the {_named(now)}")


_ENDINGS = {
    Wish.NONE: "under way",
    Wish.FINISH: "finishing",
    Wish.STOP: "stopping",
    Wish.CANCEL: "being canceled",
}


def _named(migration: OnlineMigration) -> str:
    return f"online migration from {migration.source.host}"


def _route(cluster: Cluster, move: Move, name_of: NameOf) -> str:
    hosts = {node.name: name_of(node.host) for node in cluster.nodes}
    return f"from {hosts.get(move.source, move.source)} to {hosts.get(move.target, move.target)}"


def _of_tags(before: Sequence[str], after: Sequence[str]) -> Differences:
    gone, come = set(before) - set(after), set(after) - set(before)
    for name in sorted(gone):
        yield Difference(what=f"tag {name}", before="")
    for name in sorted(come):
        yield Difference(what=f"tag {name}", after="")
    if not gone and not come and tuple(before) != tuple(after):
        yield Difference(what="order of tags")


def _of_configuration(before: Configuration, after: Configuration) -> Differences:
    for part in _changed(before, after):
        former, now = getattr(before, part), getattr(after, part)
        words = SETTINGS.get(part, f"setting {part}.")
        for name in sorted(former.keys() | now.keys()):
            if (name in former) == (name in now) and former.get(name) == now.get(name):
                continue
            if name in HIDDEN_SETTINGS:
                yield Difference(what=words + name)
                continue
            values = [_value(name, one[name], str) if name in one else "the default" for one in (former, now)]
            yield Difference(what=words + name, before=values[0], after=values[1])


def _changed(before: Record, after: Record) -> Iterator[str]:
    for name in before.__struct_fields__:
        if getattr(before, name) != getattr(after, name):
            yield name


def _value(name: str, value: Any, name_of: NameOf) -> str:
    """Return the value of a field in words."""
    if value in (None, "", (), frozenset()):
        return EMPTY.get(name, NOT_SET)
    match value:
        case bool():
            return "on" if value else "off"
        case MaintenanceWindow():
            return f"{value.day} {value.hour}"
        case StorageAutoscale(enabled=False):
            return "off"
        case StorageAutoscale():
            return f"by {value.increment_gib} GiB at {value.threshold_percent} %"
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case int() if name.endswith("_mib"):
            return f"{value // _GIB} GiB" if value % _GIB == 0 else f"{value} MiB"
        case tuple() | list():
            return ", ".join(map(str, value))
        case frozenset():
            return ", ".join(sorted(map(str, value)))
        case UUID():
            return name_of(str(value))
        case str() if name == "host":
            return name_of(value)
        case Rehearsal():
            return f"PostgreSQL {value.version}, {'under way' if value.ended_at is None else 'over'}"
        case MajorUpgrade(node=""):
            return f"from PostgreSQL {value.source}"
        case MajorUpgrade():
            return str(value.step)
        case Restoration():
            return f"those of {_origin(value, name_of)}"
        case Keep(purged=True):
            return "to be removed"
        case Keep():
            return f"kept until {_value('until', value.until, name_of)}"
        case Record() | CertificateAuthority() | dict():
            return "…"  # no field of these has a value that is told
    return str(value)


def _limited(found: Iterable[Difference]) -> tuple[tuple[Difference, ...], int]:
    every = list(found)
    return tuple(
        Difference(what=_short(one.what) or "", before=_short(one.before), after=_short(one.after))
        for one in every[:MOST]
    ), max(0, len(every) - MOST)


def _short(text: str | None) -> str | None:
    if text is None:
        return None
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: MOST_CHARACTERS + 1])
    return shown if len(shown) <= MOST_CHARACTERS else shown[: MOST_CHARACTERS - 1] + "…"
