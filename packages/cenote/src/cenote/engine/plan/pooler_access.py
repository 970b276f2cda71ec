"""Who may log in to PgBouncer: its users with their verifiers, and the trusted sources.

It comes before all that may wait, such as the start of the server, or SQL that a customer's lock blocks: who
has lost access is let in no longer at once.  The pools stay as they are until the part PgBouncer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cenote.conf import pgbouncer
from cenote.engine.plan import loaded
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.loaded import Loaded
from cenote.model import firewall
from cenote.model.changes import Plan, Reload


@dataclass(frozen=True, slots=True)
class Seen:
    files: dict[Path, bytes | None] = field(repr=False)
    certificate: bytes | None = field(repr=False)
    loaded: Loaded
    listening: bool


def plan(context: NodeContext, seen: Seen) -> Plan:
    found = {path: content for path, content in seen.files.items() if content is not None}
    if not seen.listening or len(found) < len(seen.files):
        return  # the part PgBouncer starts it, with the present files
    folder = context.cluster_paths.pooler
    networks = firewall.networks(context.cluster.firewall)
    contents = found | {
        folder / "userlist.txt": pgbouncer.render_userlist(context.cluster.users).encode(),
        # The lines for pools are those of the pools that PgBouncer has: with the lines for another user, that
        # user would act as the one that the pool still has.
        folder / "hba.conf": pgbouncer.with_sources(found[folder / "hba.conf"].decode(), networks).encode(),
    }
    digest = loaded.digest(*contents.values(), seen.certificate or b"")
    yield from loaded.write_differing(context.bouncer, contents, seen.files, seen.loaded, digest)
    if not loaded.is_current(contents, seen.files, seen.loaded, digest):
        yield Reload(context.bouncer, digest)
