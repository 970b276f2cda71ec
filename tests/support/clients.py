"""Our four clients, called alike: what is async is run to its end; each answer is held against its type."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

import pydo
import pydo.aio
from cenote_client import APIError, AsyncClient, Client, types
from cenote_client.types.postgres import PostgresConfig
from pydo.exceptions import HttpResponseError

KINDS = ("cenote_client", "cenote_client, async", "pydo", "pydo.aio")


@dataclass(frozen=True)
class Refusal:
    """What the service says when it refuses: the status, and the three fields of its body."""

    status: int
    id: str | None
    message: str
    request_id: str | None


class Driver:
    """One client of one kind; ``databases`` runs its operations without ``await`` or ``async for``."""

    def __init__(self, client: Any, runner: asyncio.Runner | None) -> None:
        self.client = client
        self._runner = runner
        self.databases = Group(self, "databases")
        self.cenote = Group(self, "cenote")

    @property
    def returns_404(self) -> bool:
        return isinstance(self.client, pydo.Client | pydo.aio.Client)

    def finished(self, answer: Any) -> Any:
        """Return what a call comes to: the value, or the list of what it goes through."""
        if inspect.isawaitable(answer):
            return self._run(answer)
        if isinstance(answer, AsyncIterator):
            return self._run(_collected(answer))
        return list(answer) if isinstance(answer, Iterator) else answer

    def request(self, *arguments: Any, **options: Any) -> Any:
        return self.finished(self.client.request(*arguments, **options))

    def outcome(self, operation: str, *arguments: Any, **options: Any) -> Any:
        """Return what the call returns, or the Refusal that it comes to in this kind of client."""
        try:
            answer = getattr(self.databases, operation)(*arguments, **options)
        except APIError as error:
            return Refusal(error.status, error.id, error.message, error.request_id)
        except HttpResponseError as error:
            return Refusal(error.status_code or 0, error.id, str(error), error.request_id)
        if self.returns_404 and is_404(answer):
            return Refusal(404, **answer)
        return answer

    def refusal(self, operation: str, *arguments: Any, **options: Any) -> Refusal:
        """Make a call that the service refuses, and return how."""
        refused = self.outcome(operation, *arguments, **options)
        assert isinstance(refused, Refusal), f"{operation} was not refused, but answered: {refused}"
        return refused

    def _run(self, awaitable: Any) -> Any:
        async def whole() -> Any:
            return await awaitable

        assert self._runner is not None
        return self._runner.run(whole())


class Group:
    """Operations of a client; an answer that is not of its declared type is an error of the test."""

    def __init__(self, driver: Driver, name: str) -> None:
        self._driver = driver
        self._name = name

    def __getattr__(self, name: str) -> Any:
        method = getattr(getattr(self._driver.client, self._name), name)

        def call(*arguments: Any, **options: Any) -> Any:
            answer = self._driver.finished(method(*arguments, **options))
            if not (self._driver.returns_404 and is_404(answer)):
                check_type(answer, method.__annotations__["return"])
            return answer

        return call


@contextlib.contextmanager
def driver(kind: str, token: str, endpoint: str, ca_file: str) -> Iterator[Driver]:
    """A client of this kind for a service, closed at the end."""
    if kind.startswith("pydo"):
        module = pydo if kind == "pydo" else pydo.aio
        client: Any = module.Client(token, endpoint=endpoint, connection_verify=ca_file)
    else:
        made = Client if kind == "cenote_client" else AsyncClient
        client = made(token, endpoint=endpoint, verify=ca_file)
    with driving(client) as created:
        yield created


@contextlib.contextmanager
def driving(client: Any) -> Iterator[Driver]:
    """A client that a test has made, sync or asyncio, of either package; closed at the end."""
    with contextlib.ExitStack() as stack:
        is_async = isinstance(client, AsyncClient)
        created = Driver(client, stack.enter_context(asyncio.Runner()) if is_async else None)
        stack.callback(lambda: created.finished(client.close()))
        yield created


def is_404(answer: Any) -> bool:
    """Whether it is the body of a 404, which ``pydo`` returns as if it were the answer."""
    return isinstance(answer, dict) and answer.keys() == {"id", "message", "request_id"}


def check_type(value: Any, annotation: str) -> None:
    """Hold a value against a type of ``cenote_client.types``, as annotations name it; more keys are fine."""
    prefix, _, name = annotation.rpartition("t.")
    if annotation == "None":
        assert value is None
    elif name == "ConfigResponse":  # one of seven, by the engine
        msgspec.convert(value["config"], PostgresConfig)
    elif name.startswith("Logsink"):  # msgspec can't tell which of several TypedDicts a value is
        for sink in value["sinks"] if name == "LogsinkListResponse" else [value.get("sink", value)]:
            assert {"sink_id", "sink_name", "sink_type"} <= sink.keys()
            is_syslog = sink["sink_type"] == "rsyslog"
            msgspec.convert(sink["config"], types.RsyslogConfig if is_syslog else types.ElasticsearchConfig)
    elif "Iterator[" in prefix:
        msgspec.convert(value, list[getattr(types, name.rstrip("]"))])  # type: ignore[misc]
    elif prefix == "":
        if name == "str":
            assert isinstance(value, str)
        else:
            msgspec.convert(value, getattr(types, name))


async def _collected(things: AsyncIterator[Any]) -> list[Any]:
    return [thing async for thing in things]
