"""Data that were left behind: the agent is told whether they could be rewound."""

import os
import time
from typing import Any


def leave_data(folder: str) -> None:
    """Have Patroni leave data that cannot follow any more: end, and tell the agent by a file.

    The agent sets them aside and copies those of the primary, with its progress told.  Patroni would remove
    them first.
    """
    from patroni.ha import Ha
    from patroni.postgresql import Postgresql

    def left(*_: Any, **__: Any) -> None:
        with open(os.path.join(folder, "cannot-follow"), "w", encoding="utf-8") as file:
            os.fsync(file.fileno())
        os._exit(1)

    def left_and_stopped(self: Any, *_: Any, **__: Any) -> None:
        self.state_handler.stop("immediate")
        left()

    Ha._do_reinitialize = left_and_stopped
    Postgresql.remove_data_directory = left


def tell_rewind(folder: str) -> None:
    """Leave a file when data were rewound, of the time at which that began."""
    from patroni.postgresql.rewind import Rewind

    rewind = Rewind.pg_rewind

    def rewound(self: Any, *arguments: Any, **options: Any) -> Any:
        began, done = time.time(), rewind(self, *arguments, **options)
        if done:
            path = os.path.join(folder, "rewound")
            with open(path, "w", encoding="utf-8"):
                os.utime(path, (began, began))
        return done

    Rewind.pg_rewind = rewound
