"""Clients that work all the time, and notice when something is not as it should be."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.support.waiting import wait_until


class Load:
    """Threads that each make one small transaction after the other, on connections of their own."""

    def __init__(self, uri: str, clients: int) -> None:
        self.errors: list[str] = []
        self.done = 0
        self._uri = uri
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(clients)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def proceed(self, transactions: int) -> None:
        """Wait until so many more transactions have been made, or one has failed."""
        target = self.done + transactions
        wait_until(f"{target} transactions are made", 60, lambda: self.done >= target or self.errors)

    def _work(self, number: int) -> None:
        try:
            # Every other client connects anew each time: logging in is part of the load.
            while not self._ending.is_set():
                with psycopg.connect(self._uri, connect_timeout=60, prepare_threshold=2) as connection:
                    for _ in range(1 if number % 2 else 50):
                        with connection.transaction():
                            row = connection.execute("SELECT %s::int + 1", (number,)).fetchone()
                        if row != (number + 1,):
                            raise AssertionError(f"{number} + 1 is not {row}")
                        with self._lock:
                            self.done += 1
                        if self._ending.is_set():
                            break
        except (psycopg.Error, AssertionError) as error:
            self.errors.append(f"{type(error).__name__}: {error}")


@contextmanager
def load(uri: str, clients: int = 6) -> Iterator[Load]:
    """Keep a pool busy for as long as the block runs."""
    created = Load(uri, clients)
    created.start()
    try:
        created.proceed(20)
        yield created
    finally:
        created.end()
