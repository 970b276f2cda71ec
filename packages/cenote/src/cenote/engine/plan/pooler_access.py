"""Who may log in to PgBouncer: its users with their verifiers, and the trusted sources.

It comes before all that may wait, such as the start of the server, or SQL that a customer's lock blocks: who
has lost access is let in no longer at once.  The pools stay as they are until the part PgBouncer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cenote.conf import pgbouncer
from cenote.engine.plan import loaded, pooler
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.loaded import Loaded
from cenote.model import firewall
from cenote.model.changes import Plan, Reload
from cenote.rules import sql_changes

_NOTHING = Loaded(None, None)


@dataclass(frozen=True, slots=True)
class Seen:
    """The files that PgBouncer has read; none while it is down.

    ``unread``: what is seen of it if its files are others, such as after a crash between a write and a
    reload, or when somebody has edited them.
    """

    files: dict[Path, bytes] = field(default_factory=dict, repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    loaded: Loaded = _NOTHING
    unread: pooler.Seen | None = None


def plan(context: NodeContext, seen: Seen) -> Plan:
    if seen.unread is not None:
        yield from pooler.configure(context, seen.unread)
        return
    if not seen.files:
        return  # the part PgBouncer starts it, with the present files
    cluster, folder = context.cluster, context.cluster_paths.pooler
    verifiers = sql_changes.logins(cluster, context.by_sql)
    # The lines for pools are those of the pools that PgBouncer has: with the lines for another user, that
    # user would act as the one that the pool still has.
    before = seen.files[folder / "hba.conf"].decode()
    contents = seen.files | {
        folder / "userlist.txt": pgbouncer.render_userlist(verifiers).encode(),
        folder / "hba.conf": pgbouncer.with_sources(before, firewall.networks(cluster.firewall)).encode(),
    }
    digest = loaded.digest(*contents.values(), seen.certificate or b"")
    yield from loaded.write_differing(context.bouncer, contents, seen.files, seen.loaded, digest)
    if digest != seen.loaded.digest:
        yield Reload(context.bouncer, digest)
