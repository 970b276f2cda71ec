"""The process that forks the agent and the API, and forks them again when they die.

It has no thread, no event loop, and no key but the bytes of the API's certificate that it hands over, so that
it can fork at any time and has little that may fail.  It owns what must outlive the others: the lock of the
data directory and the API's listening socket, where calls wait while the API is started again.
"""

from __future__ import annotations

import functools
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from cenote.errors import CenoteError, Misconfigured
from cenote.host import files
from cenote.http import server as http_server
from cenote.model.paths import Layout
from cenote.server import agent_process, api_process, child, loading, preparation
from cenote.server.certificate_files import CertificateFiles
from cenote.server.child import Body, Certificate, Child, Failed, Ready, Used
from cenote.server.installation import Installation, without_api_account
from cenote.server.wakeups import Wakeups

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # at the files of the certificate
STEADY_SECONDS = 10.0  # a process that ran longer did not fail because of how it was started
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.8  # seconds before a process that fails again and again is started
MESSAGES = 16  # of a process, before the others are seen to
# Before SIGKILL.  The API ends first, since calls in progress wait for the agent.
END_SECONDS = {"ready": 5.0, "prepare": 35.0, "api": 15.0, "agent": 30.0}


@dataclass(frozen=True, slots=True)
class Serving:
    """A running service; ``url`` is empty on a host without an API."""

    url: str
    layout: Layout


OnReady = Callable[[Serving], None]


class Stopped(Exception):
    """The service was told to end."""


class Supervisor:
    """Supervises the processes of one service; ``lock`` is the descriptor of the data directory's lock."""

    def __init__(
        self, installation: Installation, wakeups: Wakeups, listener: socket.socket | None, lock: int
    ) -> None:
        """``listener`` is the API's; None on a host without one."""
        self._installation, self._wakeups, self._listener, self._lock = installation, wakeups, listener, lock
        self._children: dict[str, Child] = {}
        self._starts: dict[str, float] = {}  # when to start a process that is down, in monotonic time
        self._pauses: dict[str, float] = {}
        self._ready: set[str] = set()  # what was ready once
        self._files = CertificateFiles.of(installation.settings, installation.layout)
        self._certificate: Certificate | None = None  # the last one that the API has taken
        self._offered: Certificate | None = None
        self._next_look = 0.0
        self._fleet_files = CertificateFiles(
            installation.layout.fleet_certificate, installation.layout.fleet_key
        )

    def run(self, ready: OnReady) -> None:
        """Serve until told to end; ``ready`` is called in a process of its own, once the API answers."""
        serving = Serving(self._url(), self._installation.layout)
        processes = ("agent",) if self._listener is None else ("agent", "api")
        try:
            preparing = self._fork("prepare", functools.partial(preparation.run, self._installation))
            loading.load(self._installation.settings)
            # The pages of what is loaded stay shared, since no collection of garbage writes into them.
            gc.collect()
            gc.freeze()
            self._attend(preparing)
            self._tell_what_is_lost()
            self._fleet_files.settle()
            self._starts = dict.fromkeys(processes, 0.0)
            while not self._ready.issuperset(processes):
                self._turn()
            if serving.url:
                files.write(serving.layout.address, f"{serving.url}\n".encode(), 0o644, None)
            self._attend(self._fork("ready", lambda _channel: ready(serving)))
            while True:
                self._turn()
        except Stopped:
            pass
        finally:
            self._end()

    def _url(self) -> str:
        if self._listener is None:
            return ""
        return http_server.url(self._installation.settings.reached_as, self._listener)

    def attend_to_the_end(self, name: str, body: Body) -> None:
        """Run a short-lived process at the end of the service, whatever happens; raise its error."""
        done = self._fork(name, body, tied=False)
        while done.status is None:
            self._wait(LOOK_SECONDS)
        self._check(done)

    def _attend(self, done: Child) -> None:
        """Wait for a short-lived process, and see to all others meanwhile; raise its error."""
        while done.status is None:
            self._turn()
        self._check(done)

    def _check(self, done: Child) -> None:
        if done.status != 0:
            raise done.failure or CenoteError(f"the process {done.name!r} {done.fate}")

    def _tell_what_is_lost(self) -> None:
        lost = without_api_account(self._installation.api)
        if lost is not None and os.geteuid() == 0 and self._listener is not None:
            log.warning("%s; 'cenote doctor' shows how to make one", lost)

    def _turn(self) -> None:
        """Start what is due, and wait for something to see to; Stopped when the service shall end."""
        if self._wakeups.stopping:
            raise Stopped
        now = time.monotonic()
        for name in [name for name, at in self._starts.items() if at <= now]:
            del self._starts[name]
            try:
                self._start(name)
            except OSError as error:  # no process, descriptor or memory is left
                log.error("the %s cannot be started: %s; trying again", name, error.strerror)
                self._starts[name] = now + LONGEST_PAUSE
        if now >= self._next_look and not self._children.keys() & {"prepare", "ready"}:
            self._next_look = now + LOOK_SECONDS
            self._offer_changed_certificate()
            self._start_again_with_changed_files()
        due = min([now + LOOK_SECONDS, *self._starts.values()])
        for ended in self._wait(max(0.0, due - now)):
            self._plan_restart(ended)

    def _wait(self, seconds: float) -> list[Child]:
        """Wait for a message, an ended process or a signal; return the children that have ended."""
        self._wakeups.wait([one.channel.socket for one in self._children.values()], seconds)
        for one in list(self._children.values()):
            self._listen(one)
        return self._reap()

    def _reap(self) -> list[Child]:
        """Reap every process that has ended, also servers that outlived the agent that started them."""
        ended: list[Child] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if pid == 0:
                return ended
            for one in [one for one in self._children.values() if one.pid == pid]:
                self._listen(one)
                one.status = os.waitstatus_to_exitcode(status)
                one.channel.socket.close()
                del self._children[one.name]
                ended.append(one)

    # -- The agent and the API

    def _start(self, name: str) -> None:
        if name == "agent":
            first = name not in self._ready
            self._fork(name, functools.partial(agent_process.run, self._installation, first=first))
            return
        assert self._listener is not None
        certificate = self._certificate or self._files.read()
        replacement = self._offered if self._offered is not certificate else None
        api = self._fork(
            name, functools.partial(api_process.run, self._installation, listener=self._listener)
        )
        for one in (certificate, replacement):
            if one is not None:
                self._offered = one
                api.channel.send(one)

    def _fork(self, name: str, body: Body, *, tied: bool = True) -> Child:
        def abandon() -> None:
            self._wakeups.close()
            for other in self._children.values():
                other.channel.socket.close()
            if name == "api":
                os.close(self._lock)  # who has it can release it
            elif self._listener is not None:
                self._listener.close()

        forked = child.fork(name, body, abandon, tied=tied)
        self._children[name] = forked
        return forked

    def _plan_restart(self, ended: Child) -> None:
        """Have the agent or the API started again; raise its error if it never was ready."""
        if ended.name not in END_SECONDS or ended.name in ("prepare", "ready"):
            return
        if ended.failure is not None and ended.name not in self._ready:
            raise ended.failure
        log.error("the %s %s; starting it again", ended.name, ended.fate)
        if ended.failure is not None:
            log.error("the %s: %s", ended.name, ended.failure.message)
        now = time.monotonic()
        pause = self._pauses.get(ended.name, 0.0)
        if now - ended.began > STEADY_SECONDS:
            pause = 0.0
        self._starts[ended.name] = now + pause
        self._pauses[ended.name] = min(LONGEST_PAUSE, pause * 2 or FIRST_PAUSE)

    def _listen(self, one: Child) -> None:
        """Take the messages of a child, which may be many and nonsense if somebody has broken into it."""
        for _ in range(MESSAGES):
            message = one.channel.poll()
            if isinstance(message, Failed):
                one.failure = message.error()
            elif isinstance(message, Used):
                self._take_answer(message)
            elif isinstance(message, Ready):
                self._ready.add(one.name)
            elif message is None:
                return

    # -- The certificate

    def _offer_changed_certificate(self) -> None:
        if "api" not in self._children or not self._files.have_changed():
            return
        try:
            self._offered = self._files.read()
        except Misconfigured as error:
            log.error("the API keeps its current certificate: %s", error.message)
        else:
            self._children["api"].channel.send(self._offered)

    def _take_answer(self, answer: Used) -> None:
        if answer.problem:
            log.error("the API keeps its current certificate: %s", answer.problem)
            self._offered = self._certificate
        else:
            self._certificate = self._offered

    def _start_again_with_changed_files(self) -> None:
        """Have agent and API use a renewed certificate of the fleet, which they read as they start."""
        if self._fleet_files.have_changed():
            self._fleet_files.settle()
            log.info("the certificate of the fleet has changed; agent and API are started again")
            for name in ("api", "agent"):
                if name in self._children:
                    self._children[name].signal(signal.SIGTERM)

    # -- The end

    def _end(self) -> None:
        """End all processes, each by one SIGTERM, or by SIGKILL if that does not."""
        for name, seconds in END_SECONDS.items():
            one = self._children.get(name)
            if one is None:
                continue
            one.signal(signal.SIGTERM)
            deadline = time.monotonic() + seconds
            while one.status is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    log.error("the %s does not end; killing it", name)
                    one.signal(signal.SIGKILL)
                    deadline = float("inf")
                self._wait(min(LOOK_SECONDS, max(left, 0.01)))
