"""Whether hosts keep backups in one place.  Pure.

A directory may have the same name on each host and be another one, so a mark in it tells it from others.
"""

from __future__ import annotations

import re

from cenote.model.fleet_records import Host

PATH = "cenote/repository"  # of the mark
_ID = re.compile(r"[0-9a-f]{32}")


def parsed(text: str) -> str:
    """Return the mark in what the repository has there, "" for none."""
    found = text.strip()
    return found if _ID.fullmatch(found) else ""


def is_shared(one: Host, other: Host) -> bool:
    """Return whether two hosts keep backups in one repository, as far as is known.

    While the mark of one is not known, the name counts; what nobody has chosen, and what is on the disk of a
    host's data, is then taken for that host's alone.
    """
    if one.id == other.id:
        return True
    if one.repository_id and other.repository_id:
        return one.repository_id == other.repository_id
    are_own = any(host.default_repository or host.repository_warning for host in (one, other))
    return not are_own and one.repository == other.repository
