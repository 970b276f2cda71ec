"""Logs of a real cluster at a real rsyslogd: every form, with TLS, and across the end of either side."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cenote.model.paths import FIRST_NODE, Layout
from cenote.model.records import LogSource
from cenote.security import certificates
from cenote_client import Client
from tests.support.rsyslog import Rsyslog, client_certificate, rsyslog
from tests.support.service import WITHOUT_LIMITS, Service
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.service("--log-sink-allow=127.0.0.1/32", *WITHOUT_LIMITS)]

AUTHORITY = certificates.new_authority("a CA under test")
OURS = f'[cenote@32473 host="{socket.gethostname()}" node="node-1"]'  # of each message


@pytest.fixture
def sink(client: Client, cluster: Any) -> Iterator[Any]:
    """Makes sinks, which are removed after the test."""
    made: list[str] = []

    def make(server: Rsyslog, **config: Any) -> str:
        given = {"server": "localhost", "port": server.port, "tls": False, "format": "rfc5424"} | config
        body: Any = {"sink_name": f"s{len(made)}", "sink_type": "rsyslog", "config": given}
        made.append(client.databases.create_logsink(cluster["id"], body)["sink"]["sink_id"])
        return made[-1]

    yield make
    for id in made:
        client.databases.delete_logsink(cluster["id"], id)


class Log:
    """The log of PostgreSQL of a cluster, into which a test may write, too, as the server does."""

    def __init__(self, running: Service, cluster: Any) -> None:
        self.path: Path = (
            Layout(running.data_dir).node(UUID(cluster["id"]), FIRST_NODE).log(LogSource.POSTGRES)
        )

    def say(self, *texts: str, level: str = "LOG") -> None:
        lines = [f"2026-11-22 17:47:54.123 UTC [41] {level}:  {text}\n" for text in texts]
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        os.write(handle, "".join(lines).encode())
        os.close(handle)


@pytest.fixture
def log(running: Service, cluster: Any) -> Log:
    return Log(running, cluster)


def state_of(client: Client, cluster: Any, id: str) -> Any:
    return client.request("GET", f"/v2/databases/{cluster['id']}/logsink/{id}")["cenote"]


def failing(client: Client, cluster: Any, id: str, words: str) -> str:
    """Wait until a sink fails for this reason."""

    def told() -> str:
        state = state_of(client, cluster, id)
        return state["reason"] if state["state"] == "failing" and words in state["reason"] else ""

    return wait_until(f"the sink says {words!r}", 20, told)


def test_a_message_comes_whole_and_with_its_fields(
    client: Client, cluster: Any, sink: Any, log: Log, tmp_path: Path
) -> None:
    with rsyslog(tmp_path / "r") as server:
        id = sink(server, sd='TOKEN tag="LiteralValue"')
        log.say("relation does not exist\n\twith a tab", level="ERROR")
        [line] = wait_until("it has come", 20, server.lines)
        assert line.pri == 16 * 8 + 4
        assert (line.at, line.host, line.app, line.process) == (
            "2026-11-22T17:47:54.123Z",
            "backend",
            "postgres",
            "41",
        )
        assert line.data == f'[TOKEN tag="LiteralValue"]{OURS}'
        assert line.text == "ERROR:  relation does not exist#012#011with a tab"
        found = wait_until(
            "it counts as delivered",
            20,
            lambda: (state := state_of(client, cluster, id))["delivered_at"] and state,
        )
        assert (found["state"], found["reason"], found["lag_bytes"], found["lost_bytes"]) == (
            "delivering",
            "",
            0,
            0,
        )


def test_structured_data_with_its_brackets_is_sent_and_shown_as_it_is(
    client: Client, cluster: Any, sink: Any, log: Log, tmp_path: Path
) -> None:
    data = '[example@41058 iut="3" eventSource="a \\"quoted\\] word"][origin ip="192.0.2.1"]'
    with rsyslog(tmp_path / "r") as server:
        id = sink(server, sd=data, logline="<%pri%>%msg%")
        log.say("one")
        [line] = wait_until("it has come", 20, server.lines)
        assert line.data == data + OURS
        assert line.text == "LOG:  one"
        config = client.request("GET", f"/v2/databases/{cluster['id']}/logsink/{id}")["config"]
        assert (config["sd"], config["logline"]) == (data, "<%pri%>%msg%")


def test_the_old_form_is_sent_without_structured_data(sink: Any, log: Log, tmp_path: Path) -> None:
    with rsyslog(tmp_path / "r") as server:
        sink(server, format="rfc3164", sd='[example@41058 iut="3"]', logline="%msg%")
        log.say("one")
        wait_until("it has come", 20, server.lines)
        assert server.raw() == ["<134>Nov 22 17:47:54 backend postgres[41]: LOG:  one"]


def test_the_old_form_is_understood(sink: Any, log: Log, tmp_path: Path) -> None:
    with rsyslog(tmp_path / "r") as server:
        sink(server, format="rfc3164")
        log.say("one\n\ttwo", level="FATAL")
        [line] = wait_until("it has come", 20, server.lines)
        assert (line.pri, line.host, line.app, line.process) == (16 * 8 + 3, "backend", "postgres", "41")
        assert line.text.strip() == "FATAL:  one#012#011two"
        assert server.raw() == ["<131>Nov 22 17:47:54 backend postgres[41]: FATAL:  one#012#011two"]


def test_a_template_of_ones_own_is_filled_in(sink: Any, log: Log, tmp_path: Path) -> None:
    with rsyslog(tmp_path / "r") as server:
        template = "KEY <%pri%>1 %timestamp:::date-rfc3339% %HOSTNAME%.x %app-name% %procid% %msgid% - %msg%"
        sink(server, format="custom", logline=template)
        log.say("hello 100 %")
        raw = wait_until("it has come", 20, server.raw)
        assert raw == ["KEY <134>1 2026-11-22T17:47:54.123Z backend.x postgres 41 - - LOG:  hello 100 %"]


@pytest.mark.parametrize("asks", [False, True], ids=["tls", "client-certificate"])
def test_the_connection_is_encrypted_and_checked(sink: Any, log: Log, tmp_path: Path, asks: bool) -> None:
    with rsyslog(tmp_path / "r", AUTHORITY, asks=asks) as server:
        certificate, key = client_certificate(AUTHORITY)
        own = {"cert": certificate, "key": key} if asks else {}
        sink(server, tls=True, ca=AUTHORITY[0], **own)
        log.say("encrypted")
        assert wait_until("it has come", 20, server.texts) == ["LOG:  encrypted"]


def test_a_peer_that_cannot_be_trusted_gets_nothing_and_it_says_why(
    client: Client, cluster: Any, sink: Any, log: Log, tmp_path: Path
) -> None:
    other = certificates.new_authority("somebody else")
    with rsyslog(tmp_path / "r", AUTHORITY, asks=True) as server, rsyslog(tmp_path / "p") as plain:
        wrong_ca = sink(server, tls=True, ca=other[0])
        no_certificate = sink(server, tls=True, ca=AUTHORITY[0])
        not_tls = sink(plain, tls=True, ca=AUTHORITY[0])
        log.say("secret")
        assert "set 'ca' to the certificate of its CA" in failing(client, cluster, wrong_ca, "trusted CA")
        assert "'cert' and 'key'" in failing(client, cluster, no_certificate, "client certificate")
        failing(client, cluster, not_tls, "no answer to the TLS handshake")
        assert server.raw() == []
        # And with the right words it is mended, and nothing is lost.
        certificate, key = client_certificate(AUTHORITY)
        config: Any = {
            "server": "localhost",
            "port": server.port,
            "tls": True,
            "format": "rfc5424",
            "ca": AUTHORITY[0],
            "cert": certificate,
            "key": key,
        }
        client.databases.update_logsink(cluster["id"], no_certificate, {"config": config})
        assert wait_until("it has come", 20, server.texts) == ["LOG:  secret"]


def test_the_pooler_and_the_server_are_both_sent(
    client: Client, cluster: Any, sink: Any, running: Service, tmp_path: Path
) -> None:
    with rsyslog(tmp_path / "r") as server:
        sink(server)
        os.kill(running.servers()["PgBouncer"], signal.SIGKILL)
        wait_until(
            "the pooler tells of its start",
            30,
            lambda: {"pgbouncer"} <= {line.app for line in server.lines()},
        )
        client.request("PATCH", f"/v2/databases/{cluster['id']}/config", json={"config": {"work_mem": 7}})
        wait_until(
            "the server tells of its reload",
            30,
            lambda: any("work_mem" in line.text for line in server.lines() if line.app == "postgres"),
        )


def test_nothing_is_lost_when_the_service_is_killed_and_started_again(
    running: Service, sink: Any, log: Log, tmp_path: Path
) -> None:
    with rsyslog(tmp_path / "r") as server:
        sink(server)
        numbers = iter(range(100_000))

        def some(count: int) -> None:
            for _ in range(count):
                log.say(*(f"number {next(numbers)}" for _ in range(100)))

        for _ in range(3):
            some(30)
            wait_until("some have come", 30, server.raw)
            running.end(signal.SIGKILL)
            some(10)
            running.start()
        last = next(numbers)
        log.say(f"number {last}")

        def seen() -> set[int]:
            return {int(text.split()[-1]) for text in server.texts() if "number" in text}

        wait_until("the last has come", 60, lambda: last in seen())
        assert seen() == set(range(last + 1))


def test_nothing_is_lost_when_the_peer_is_killed_while_it_reads(
    client: Client, cluster: Any, sink: Any, log: Log, tmp_path: Path
) -> None:
    with rsyslog(tmp_path / "r") as server:
        id = sink(server)
        log.say(*(f"before {number}" for number in range(50)))
        wait_until("some have come", 20, lambda: len(server.texts()) >= 50)
        server.stop(signal.SIGKILL)
        log.say(*(f"meanwhile {number}" for number in range(50)))
        failing(client, cluster, id, "connection refused")
        server.start()
        wait_until(
            "all have come",
            60,
            lambda: (
                {text.removeprefix("LOG:  ") for text in server.texts()}
                >= {f"{when} {number}" for when in ("before", "meanwhile") for number in range(50)}
            ),
        )


def test_a_peer_that_reads_nothing_holds_up_no_other_sink(
    client: Client, cluster: Any, sink: Any, log: Log, tmp_path: Path
) -> None:
    with rsyslog(tmp_path / "r") as server, rsyslog(tmp_path / "s") as stuck:
        stuck_id = sink(stuck)
        sink(server)
        assert stuck._process is not None
        stuck._process.send_signal(signal.SIGSTOP)
        try:
            log.say(*("x" * 1000 for _ in range(5000)))
            log.say("the last")
            wait_until("the other has all", 60, lambda: "LOG:  the last" in server.texts())
            assert state_of(client, cluster, stuck_id)["lag_bytes"] > 0
        finally:
            stuck._process.send_signal(signal.SIGCONT)
        wait_until("and it goes on", 60, lambda: "LOG:  the last" in stuck.texts())


def test_nothing_is_lost_when_the_peer_is_killed_again_and_again_while_lines_come(
    sink: Any, log: Log, tmp_path: Path
) -> None:
    with rsyslog(tmp_path / "r") as server:
        sink(server)
        number = 0
        for _ in range(5):
            seen = len(server.texts())
            while len(server.texts()) < seen + 100:
                log.say(*(f"number {number + more}" for more in range(10)))
                number += 10
                time.sleep(0.01)
            server.stop(signal.SIGKILL)
            server.start()
        wanted = {f"LOG:  number {one}" for one in range(number)}
        wait_until("all have come", 60, lambda: wanted <= set(server.texts()))
