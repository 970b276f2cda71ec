"""Data that cannot follow any more are left to the agent."""

import os
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
