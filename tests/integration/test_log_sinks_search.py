"""Logs of a real cluster at a server that speaks ``_bulk``: each message once, whatever goes wrong."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cenote.engine.plan import log_space
from cenote.model.paths import FIRST_NODE, Layout
from cenote.model.records import LogSource
from cenote.security import certificates
from cenote_client import Client
from tests.support.search import Search, search
from tests.support.service import WITHOUT_LIMITS, Service
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.service("--log-sink-allow=127.0.0.1/32", *WITHOUT_LIMITS)]

AUTHORITY = certificates.new_authority("a CA under test")
PASSWORD = "p%40ss:word"


@pytest.fixture
def peer() -> Iterator[Search]:
    with search() as created:
        yield created


class Sink:
    def __init__(self, client: Client, cluster: Any, running: Service, url: str, **config: Any) -> None:
        self._client, self._cluster = client, cluster["id"]
        body: Any = {
            "sink_name": "search",
            "sink_type": "opensearch",
            "config": {"url": url, "index_prefix": "logs"} | config,
        }
        self.id = client.databases.create_logsink(self._cluster, body)["sink"]["sink_id"]
        self.log: Path = (
            Layout(running.data_dir).node(UUID(self._cluster), FIRST_NODE).log(LogSource.POSTGRES)
        )

    def say(self, *texts: str) -> None:
        """Write into the log as the server does."""
        handle = os.open(self.log, os.O_WRONLY | os.O_APPEND)
        lines = [f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f} UTC [41] LOG:  {text}\n" for text in texts]
        os.write(handle, "".join(lines).encode())
        os.close(handle)

    def state(self) -> Any:
        path = f"/v2/databases/{self._cluster}/logsink/{self.id}"
        return self._client.request("GET", path)["cenote"]

    def fails(self, words: str) -> None:
        def said() -> bool:
            state = self.state()
            return state["state"] == "failing" and words in state["reason"]

        wait_until(f"the sink fails and says {words!r}", 20, said)

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.databases.delete_logsink(self._cluster, self.id)


@pytest.fixture
def sink(client: Client, cluster: Any, running: Service, peer: Search) -> Iterator[Sink]:
    with Sink(client, cluster, running, peer.url) as created:
        yield created


def arrived(peer: Search, *texts: str) -> None:
    wanted = {f"LOG:  {text}" for text in texts}
    wait_until(f"all of {len(wanted)} messages are there", 60, lambda: wanted <= set(peer.texts()))


def once(peer: Search) -> None:
    """Check that nothing is there twice."""
    assert [text for text, count in Counter(peer.texts()).items() if count > 1] == []


def test_a_message_is_a_document_in_the_index_of_its_day(sink: Sink, peer: Search, cluster: Any) -> None:
    sink.say("hello\n\tworld")
    arrived(peer, "hello\n\tworld")
    [index] = peer.documents
    assert index == f"logs-{datetime.now(UTC):%Y.%m.%d}"
    [document] = [one for one in peer.documents[index].values() if "hello" in one["message"]]
    assert document["@timestamp"].endswith("Z")
    assert (document["severity"], document["source"], document["process"]) == ("log", "postgres", 41)
    assert (document["cluster"], document["cluster_id"]) == ("backend", cluster["id"])


def test_whatever_the_peer_answers_each_message_is_there_once(sink: Sink, peer: Search) -> None:
    def busy(document: dict[str, Any]) -> tuple[int, str]:
        odd = document["message"].endswith(("1", "3", "5", "7", "9"))
        return (429, "es_rejected_execution_exception") if odd else (201, "")

    peer.troubles += [413, 429, busy, "dead", 503]
    texts = [f"number {number}" for number in range(200)]
    sink.say(*texts)
    arrived(peer, *texts)
    once(peer)
    assert peer.troubles == []
    assert sink.state()["refused_messages"] == 0


def test_a_message_that_is_not_taken_is_told_of_and_holds_up_no_other(
    sink: Sink, peer: Search, client: Client
) -> None:
    def poisoned(document: dict[str, Any]) -> tuple[int, str]:
        return (400, "mapper_parsing_exception") if "poison" in document["message"] else (201, "")

    peer.troubles += [poisoned] * 3
    sink.say("poison", "harmless")
    arrived(peer, "harmless")
    wait_until("it is counted", 20, lambda: sink.state()["refused_messages"] == 1)
    said = wait_until(
        "there is an event",
        20,
        lambda: [
            entry["what"]
            for entry in client.request("GET", "/v2/cenote/audit")["entries"]
            if "rejected" in entry["what"]
        ],
    )
    assert "log sink 'search': 1 messages of the log of postgres were rejected: mapper_parsing_exc" in said[0]


def test_an_error_that_is_no_messages_fault_loses_none(sink: Sink, peer: Search) -> None:
    peer.troubles += [lambda document: (400, "validation_exception")] * 2
    sink.say("too many shards")
    arrived(peer, "too many shards")
    assert sink.state()["refused_messages"] == 0


def test_a_redirect_is_not_followed(sink: Sink, peer: Search) -> None:
    peer.troubles += [302, 307]
    sink.say("elsewhere")
    arrived(peer, "elsewhere")
    assert {call for call in peer.calls if call.startswith("POST")} == {"POST /_bulk"}


def test_a_peer_that_says_nothing_holds_up_no_other_sink(
    client: Client, cluster: Any, running: Service, sink: Sink, peer: Search
) -> None:
    body: Any = {"sink_name": "other", "sink_type": "elasticsearch"}
    with search() as other:
        other.troubles += ["silent"] * 5
        body["config"] = {"url": other.url, "index_prefix": "logs"}
        id = client.databases.create_logsink(cluster["id"], body)["sink"]["sink_id"]
        sink.say("not held up")
        arrived(peer, "not held up")
        other.troubles.clear()
        other.released.set()
        arrived(other, "not held up")
        client.databases.delete_logsink(cluster["id"], id)


def test_each_message_is_there_once_when_the_service_is_killed(
    running: Service, sink: Sink, peer: Search
) -> None:
    said: list[str] = []
    for _ in range(3):
        for _ in range(20):
            texts = [f"kill {len(said) + number}" for number in range(50)]
            sink.say(*texts)
            said += texts
        wait_until("some are there", 30, lambda: any("kill" in text for text in peer.texts()))
        running.end(signal.SIGKILL)
        running.start()
    arrived(peer, *said)
    once(peer)


def test_old_indices_are_dropped_and_others_are_left_alone(
    client: Client, cluster: Any, running: Service, peer: Search
) -> None:
    now = datetime.now(UTC)
    days = {age: f"logs-{now - timedelta(days=age):%Y.%m.%d}" for age in (1, 2, 3, 400)}
    others = ("logs-2001.13.01", "logs-archive", "other-2001.01.01", "logs-x-2001.01.01")
    peer.documents |= {name: {} for name in (*days.values(), *others)}
    with Sink(client, cluster, running, peer.url, index_days_max=3) as sink:
        sink.say("of today")  # age is counted from the newest message that was delivered
        wait_until("they are gone", 20, lambda: peer.documents.keys().isdisjoint({days[3], days[400]}))
        assert {days[1], days[2], *others} <= set(peer.documents)


def test_a_password_and_a_ca_of_ones_own_open_the_peer(
    client: Client, cluster: Any, running: Service, tmp_path: Path
) -> None:
    with search(AUTHORITY, tmp_path, login="logger:p@ss:word") as peer:
        url = f"https://logger:{PASSWORD}@localhost:{peer.port}"
        with Sink(client, cluster, running, url) as wrong:
            wrong.say("sealed")
            wrong.fails("set 'ca' to the certificate of its CA")
            config: Any = {"url": url.replace(PASSWORD, "wrong"), "index_prefix": "logs", "ca": AUTHORITY[0]}
            client.databases.update_logsink(cluster["id"], wrong.id, {"config": config})
            wrong.fails("check the user and password")
            config["url"] = url
            client.databases.update_logsink(cluster["id"], wrong.id, {"config": config})
            arrived(peer, "sealed")
    assert PASSWORD not in running.log()
    assert "p@ss:word" not in running.log()


def test_what_is_dropped_before_it_could_be_sent_is_told_of(
    running: Service, client: Client, cluster: Any, peer: Search
) -> None:
    with search() as gone:
        url = gone.url
    with Sink(client, cluster, running, url) as sink:
        sink.say("lost")
        sink.fails("connection refused")
        with sink.log.open("ab") as log:  # more than is kept for anybody
            log.truncate(log.tell() + log_space.BACKLOG + 2 * log_space.STEP)
        sink.say(*("x" * 1000 for _ in range(20)), "kept")
        os.kill(running.servers()["PgBouncer"], signal.SIGKILL)  # the agent looks when a server ends
        with sink.log.open("rb") as cut:
            wait_until("it is cut", 30, lambda: os.lseek(cut.fileno(), 0, os.SEEK_DATA) > 2**20)
        config: Any = {"url": peer.url, "index_prefix": "logs"}
        client.databases.update_logsink(cluster["id"], sink.id, {"config": config})
        arrived(peer, "kept")
        wait_until("the loss is counted", 20, lambda: sink.state()["lost_bytes"] > log_space.BACKLOG)
        assert "LOG:  lost" not in peer.texts()

    def told() -> bool:
        entries = client.request("GET", "/v2/cenote/audit")["entries"]
        return any("dropped before they could be sent" in entry["what"] for entry in entries)

    wait_until("there is an event", 20, told)


def test_a_sink_that_fails_does_not_fill_a_log_with_that(
    client: Client, cluster: Any, running: Service
) -> None:
    """It would send that, too, and never come to an end."""
    with search() as gone:
        url = gone.url
    with Sink(client, cluster, running, url) as sink:
        sink.say("begin")
        sink.fails("connection refused")
        before, told = sink.log.stat().st_size, running.log().count("connection refused")
        time.sleep(3)  # a few more tries
        assert sink.state()["state"] == "failing"
        assert sink.log.stat().st_size == before
        assert running.log().count("connection refused") == told


def test_a_removed_sink_leaves_nothing_behind(
    running: Service, client: Client, cluster: Any, peer: Search
) -> None:
    with Sink(client, cluster, running, peer.url) as sink:
        folder = sink.log.parent
        assert [path.name for path in folder.glob("sink-*")] == [f"sink-{sink.id}.json"]
        assert (folder / f"sink-{sink.id}.json").stat().st_mode & 0o777 == 0o600
    wait_until("its file is gone", 60, lambda: not list(folder.glob("sink-*")))
