"""What a server says of itself in its log, as of its attempts to follow another one."""

from __future__ import annotations

import re
from pathlib import Path

from cenote.host import files
from cenote.logs.messages import parse_messages
from cenote.model.records import LogSource

_SIZE = 64 * 1024  # of the end of the log, since sessions may write much between two attempts
_MESSAGES = 3
# The start of a message without a user, with each ``log_line_prefix`` that the API offers.
_OWN = re.compile(r"(?:\[\d+-1\] )?(?:user=,db=,app=,client= )?(?=[A-Z]+:  )")


def own_messages(log: Path) -> str:
    """Return the last messages of PostgreSQL's own processes.

    Those of sessions are left out: customers choose what these say, and it decides whether data are given up.
    """
    data = files.end(log, _SIZE)
    if len(data) == _SIZE:  # the first line may be the end of a longer one
        data = data.partition(b"\n")[2]
    messages = parse_messages(data, LogSource.POSTGRES)
    starts = [(one.text, _OWN.match(one.text)) for one in messages if one.process is not None]
    own = [text[start.end() :] for text, start in starts if start is not None]
    return " / ".join(own[-_MESSAGES:])
