"""What may be chosen of a log sink, and what is shown of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cenote.errors import Invalid
from cenote.logs import sinks
from cenote.logs.sinks import SinkStatus
from cenote.model.records import SinkType
from cenote.security import certificates
from tests.support.rsyslog import client_certificate

SYSLOG: dict[str, Any] = {"server": "192.0.2.1", "port": 514, "tls": False, "format": "rfc5424"}
SEARCH: dict[str, Any] = {"url": "https://user:pass%21@192.0.2.1:9200/es", "index_prefix": "logs"}
AUTHORITY = certificates.new_authority("a CA under test")
CERTIFICATE, KEY = client_certificate(AUTHORITY)


def syslog(**config: Any) -> sinks.Config:
    return sinks.parse_config(SinkType.RSYSLOG, SYSLOG | config)


def search(**config: Any) -> sinks.Config:
    return sinks.parse_config(SinkType.OPENSEARCH, SEARCH | config)


def test_a_configuration_is_shown_as_it_was_given_and_without_what_was_not() -> None:
    assert sinks.visible_config(syslog(), credentials=True) == SYSLOG
    assert sinks.visible_config(search(), credentials=True) == SEARCH
    defaults = {"index_days_max": 7, "timeout": 10}
    assert sinks.visible_config(search(**defaults), credentials=True) == SEARCH | defaults
    assert sinks.visible_config(search(timeout=None), credentials=True) == SEARCH


def test_what_was_not_given_has_its_default() -> None:
    for found in (search(), search(index_days_max=7, timeout=10.0)):
        assert isinstance(found, sinks.SearchConfig)
        assert (found.retention_days, found.timeout_seconds) == (7, 10.0)


@pytest.mark.parametrize(
    ("format", "unused"),
    [
        ("rfc5424", {"logline": "<%pri%> %msg%"}),
        ("rfc5424", {"logline": "%of-another-program%"}),
        ("rfc3164", {"logline": "%msg%"}),
        ("rfc3164", {"sd": '[example@41058 iut="3"]'}),
        ("custom", {"logline": "%msg%", "sd": '[example@41058 iut="3"]'}),
        ("rfc5424", {"sd": '[example@41058 iut="3"]'}),
        ("rfc5424", {"sd": 'example@41058 iut="3"'}),
    ],
)
def test_what_a_format_does_not_use_is_kept_and_shown(format: str, unused: dict[str, Any]) -> None:
    found = syslog(format=format, **unused)
    assert sinks.decode(SinkType.RSYSLOG, sinks.encode(found)) == found
    assert sinks.visible_config(found, credentials=True) == SYSLOG | {"format": format} | unused


def test_some_clients_leave_out_tls_and_send_nothing_as_an_empty_text() -> None:
    given = {"server": "logs.example.com", "port": 514, "format": "rfc5424", "ca": "", "logline": None}
    assert sinks.visible_config(sinks.parse_config(SinkType.RSYSLOG, given), credentials=True) == {
        "server": "logs.example.com",
        "port": 514,
        "format": "rfc5424",
        "tls": False,
    }


def test_what_may_hold_a_secret_is_shown_only_to_who_may_see_credentials() -> None:
    found = syslog(
        tls=True, cert=CERTIFICATE, key=KEY, ca=AUTHORITY[0], format="custom", logline="KEY %msg%", sd="TOKEN"
    )
    assert set(sinks.visible_config(found, credentials=True)) - set(
        sinks.visible_config(found, credentials=False)
    ) == {
        "key",
        "logline",
        "sd",
    }
    assert sinks.visible_config(search(), credentials=False)["url"] == "https://192.0.2.1:9200/es"
    assert (
        sinks.visible_config(search(url="http://u:p@[2001:db8::1]"), credentials=False)["url"]
        == "http://[2001:db8::1]"
    )


def test_no_configuration_shows_itself() -> None:
    for found in (syslog(tls=True, cert=CERTIFICATE, key=KEY), search()):
        assert "pass" not in repr(found)
        assert "KEY" not in repr(found)
        assert "pass" not in repr(sinks.encode(found))


def test_a_configuration_is_read_as_it_was_kept() -> None:
    for type, found in ((SinkType.RSYSLOG, syslog(sd="TOKEN")), (SinkType.ELASTICSEARCH, search(timeout=20))):
        assert sinks.decode(type, sinks.encode(found)) == found


def test_the_password_of_a_url_is_taken_out_of_its_encoding() -> None:
    found = search()
    assert isinstance(found, sinks.SearchConfig)
    assert found.login is not None
    assert (found.login[0], found.login[1].reveal()) == ("user", "pass!")
    assert (found.host, found.port, found.path, found.tls) == ("192.0.2.1", 9200, "/es", True)


@pytest.mark.parametrize(
    ("field", "config"),
    [
        ("port", {"port": 0}),
        ("port", {"port": 65536}),
        ("port", {"port": "514"}),
        ("format", {"format": "rfc1"}),
        ("tls", {"tls": "yes"}),
        ("tls", {"tls": ""}),
        ("tls", {"ca": AUTHORITY[0]}),
        ("tls", {"cert": CERTIFICATE, "key": KEY}),
        ("logline", {"format": "custom"}),
        ("logline", {"logline": "one\ntwo"}),
        ("logline", {"logline": "x" * 3000}),
        ("logline", {"format": "custom", "logline": "%nothing%"}),
        ("sd", {"format": "rfc3164", "sd": "[TOKEN"}),
        ("sd", {"format": "custom", "logline": "%msg%", "sd": "TOKEN]"}),
        ("sd", {"sd": "not structured"}),
        ("ca", {"tls": True, "ca": "nonsense"}),
        ("cert", {"tls": True, "cert": CERTIFICATE}),
        ("cert", {"tls": True, "cert": KEY, "key": KEY}),
        ("key", {"tls": True, "cert": CERTIFICATE, "key": "nonsense"}),
        ("key", {"tls": True, "cert": AUTHORITY[0], "key": KEY}),
        ("", {"nothing": 1}),
        ("", {"url": "https://192.0.2.1"}),
        ("", {"logline": "x" * 40_000, "format": "custom"}),
    ],
)
def test_a_syslog_server_that_makes_no_sense_is_refused(field: str, config: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=rf"^config\.{field}" if field else "^config"):
        syslog(**config)


@pytest.mark.parametrize(
    ("field", "config"),
    [
        ("url", {"url": "192.0.2.1:9200"}),
        ("url", {"url": "ftp://192.0.2.1"}),
        ("url", {"url": "https://"}),
        ("url", {"url": "https://192.0.2.1:99999"}),
        ("url", {"url": "https://192.0.2.1:0"}),
        ("url", {"url": "https://192.0.2.1/?x=1"}),
        ("url", {"url": "https://192.0.2.1/#x"}),
        ("url", {"url": "https://192.0.2.1/a b"}),
        ("url", {"url": "https://192.0.2.1/\r\nx"}),
        ("url", {"url": "https://[192.0.2.1"}),
        ("ca", {"url": "http://192.0.2.1", "ca": AUTHORITY[0]}),
        ("ca", {"ca": "nonsense"}),
        ("index_prefix", {"index_prefix": "*"}),
        ("index_prefix", {"index_prefix": "Logs"}),
        ("index_prefix", {"index_prefix": "_all"}),
        ("index_prefix", {"index_prefix": "a,b"}),
        ("index_days_max", {"index_days_max": 0}),
        ("index_days_max", {"index_days_max": 10_001}),
        ("timeout", {"timeout": 9.9}),
        ("timeout", {"timeout": 121}),
    ],
)
def test_a_search_server_that_makes_no_sense_is_refused(field: str, config: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=rf"^config\.{field}"):
        search(**config)


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "1.2.3.4.5",
        "a b",
        "-x",
        "x..y",
        "x/y",
        "é",
        f"{'x' * 64}.example.com",
        "2001:db8::1%\0",
        "2001:db8::1%a b",
    ],
)
def test_a_host_that_is_a_number_in_disguise_or_none_at_all_is_refused(host: str) -> None:
    with pytest.raises(Invalid, match="neither a host name nor an address"):
        syslog(server=host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "::1", "localhost", "LOCALHOST.", "a.localhost", "169.254.169.254"]
)
def test_a_host_that_is_this_machine_is_refused_unless_a_setting_opens_it(host: str) -> None:
    with pytest.raises(Invalid, match=r"config\.server: .* --log-sink-allow"):
        syslog(server=host)


def test_every_field_but_the_required_may_be_left_out() -> None:
    for type, given, required in (
        (SinkType.RSYSLOG, SYSLOG, ("server", "port", "format")),
        (SinkType.OPENSEARCH, SEARCH, ("url", "index_prefix")),
    ):
        for name in required:
            with pytest.raises(Invalid, match=name):
                sinks.parse_config(type, {key: value for key, value in given.items() if key != name})


@pytest.mark.parametrize(("text", "words"), [("datadog", "MongoDB"), ("kafka", "is not one of")])
def test_a_type_that_there_is_not_is_refused(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        sinks.sink_type(text)


@pytest.mark.parametrize("text", ["", " x", "x" * 65, "a\nb", "é"])
def test_a_name_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="sink_name"):
        sinks.sink_name(text)


def test_the_status_over_several_nodes_is_the_worst_of_them_and_the_sum_of_their_bytes() -> None:
    at = datetime(2026, 11, 29, 12, tzinfo=UTC)
    good = SinkStatus(state="delivering", delivered_at=at, lag_bytes=10, lost_bytes=1, refused_messages=2)
    late = SinkStatus(state="delivering", delivered_at=at + timedelta(seconds=5), lag_bytes=5)
    silent = SinkStatus(state="unknown", reason="Host db-2 does not answer.")
    failing = SinkStatus(state="failing", reason="cannot connect")
    assert sinks.combined({"node-1": good}) == good
    assert sinks.combined({"node-1": good, "node-2": late}) == SinkStatus(
        state="delivering",
        delivered_at=at + timedelta(seconds=5),
        lag_bytes=15,
        lost_bytes=1,
        refused_messages=2,
    )
    found = sinks.combined({"node-1": good, "node-2": silent})
    assert (found.state, found.reason) == ("unknown", "node-2: Host db-2 does not answer.")
    found = sinks.combined({"node-1": failing, "node-2": silent, "node-3": good})
    assert found.state == "failing"
    assert found.reason == "node-1: cannot connect; node-2: Host db-2 does not answer."
