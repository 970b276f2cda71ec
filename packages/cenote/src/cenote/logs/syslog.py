"""Syslog formats: RFC 5424, RFC 3164, and a template by the customer.

RFC 5424 messages are framed by octet counting (RFC 6587, 3.4.1), so they may span several lines.  The other
two end with a newline, which all receivers understand; control characters within a message are escaped as by
rsyslog, a newline as ``#012``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum

from cenote.errors import Invalid
from cenote.logs.messages import Message, Severity
from cenote.logs.place import Place
from cenote.model.records import LogSource

LOCAL0 = 16  # the facility, RFC 5424 table 1
MAX_TEMPLATE = 2048
SD_ID = "cenote@32473"  # the number that RFC 5612 has for those who have none

# As PostgreSQL itself maps them for syslog ("Message Severity Levels" in its documentation).
_POSTGRES = {
    Severity.DEBUG: 7,
    Severity.INFO: 6,
    Severity.LOG: 6,
    Severity.NOTICE: 5,
    Severity.WARNING: 5,
    Severity.ERROR: 4,
    Severity.FATAL: 3,
    Severity.PANIC: 2,
}
# As PgBouncer does.
_PGBOUNCER = _POSTGRES | {Severity.WARNING: 4, Severity.ERROR: 3, Severity.FATAL: 2}

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TAG = re.compile(r"%([^%]*)%")
TAGS = (
    "HOSTNAME",
    "app-name",
    "host",
    "msg",
    "msgid",
    "node",
    "pri",
    "procid",
    "structured-data",
    "timestamp",
    "timestamp:::date-rfc3339",
)
_SD_NAME = r'[^\s="\]\[]{1,32}'
_SD_VALUE = r'"(?:[^"\\\]]|\\["\\\]])*"'
_SD = rf"({_SD_NAME})(?: {_SD_NAME}={_SD_VALUE})*"
_SD_CONTENT = re.compile(_SD)  # of one element
_SD_ELEMENT = re.compile(rf"\[{_SD}\]")
_SD_ELEMENTS = re.compile(rf"(?:\[{_SD}\])+")
_QUOTED = re.compile(r'["\\\]]')  # characters with a backslash before them in a value
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Format(StrEnum):
    RFC5424 = "rfc5424"
    RFC3164 = "rfc3164"
    CUSTOM = "custom"


def frame(message: Message, *, format: Format, place: Place, template: str = "", data: str = "") -> bytes:
    """Return a message as sent over the connection; the cluster's name is the HOSTNAME in it."""
    host = place.cluster
    if format is Format.RFC5424:
        about = structured_data(data).removeprefix("-") + _about(place)
        header = f"{host} {message.source} {_process(message)} - {about}"
        text = f"<{priority(message)}>1 {_rfc3339(message)} {header} {message.text}".encode()
        return b"%d %s" % (len(text), text)
    if format is Format.RFC3164:
        tag = message.source if message.process is None else f"{message.source}[{message.process}]"
        return _line(f"<{priority(message)}>{_rfc3164(message)} {host} {tag}: {message.text}")
    return _line(_TAG.sub(lambda found: _value(found[1], message, place, data), template))


def priority(message: Message) -> int:
    levels = _POSTGRES if message.source is LogSource.POSTGRES else _PGBOUNCER
    return LOCAL0 * 8 + levels[message.severity]


def check_template(template: str) -> None:
    """Raise Invalid for a template with an unknown tag."""
    check_template_line(template)
    for tag in _TAG.findall(template):
        if tag not in TAGS:
            raise Invalid(f"config.logline: %{tag[:40]}% is not a tag; tags are {', '.join(TAGS)}.")
    if "%" in _TAG.sub("", template):
        raise Invalid("config.logline: a '%' begins or ends a tag, as in %msg%; this one does neither.")


def check_template_line(template: str) -> None:
    """Raise Invalid for a template that is not one line, whatever tags it has."""
    if len(template) > MAX_TEMPLATE or _CONTROL.search(template):
        raise Invalid(f"config.logline: a template is one line of at most {MAX_TEMPLATE} characters.")


def check_structured_data(data: str) -> None:
    """Raise Invalid for anything but elements in brackets, or the content of a single one."""
    if len(data) > MAX_TEMPLATE or _CONTROL.search(data):
        raise Invalid(f"config.sd: structured data is one line of at most {MAX_TEMPLATE} characters.")
    if not _SD_CONTENT.fullmatch(data) and not _SD_ELEMENTS.fullmatch(data):
        raise Invalid(
            'config.sd: structured data looks like [NAME key="value"], with or without the brackets, or is '
            'several of these in brackets; a ", \\ or ] in a value has a \\ before it.'
        )
    names = _SD_ELEMENT.findall(data)
    if len(set(names)) < len(names):
        raise Invalid("config.sd: each element of structured data has a name of its own.")
    if SD_ID in (*names, data.partition(" ")[0]):
        raise Invalid(f"config.sd: {SD_ID} is sent with each message anyway.")


def structured_data(data: str) -> str:
    """Return structured data as sent, each element in one pair of brackets."""
    if not data:
        return "-"
    return data if data.startswith("[") else f"[{data}]"


def _about(place: Place) -> str:
    """Return the structured data that names node and host (RFC 5424, 6.3)."""
    host = _QUOTED.sub(r"\\\g<0>", place.host)
    return f'[{SD_ID} host="{host}" node="{place.node}"]'


def _value(tag: str, message: Message, place: Place, data: str) -> str:
    match tag:
        case "HOSTNAME":
            return place.cluster
        case "host":
            return place.host
        case "node":
            return place.node
        case "app-name":
            return message.source
        case "msg":
            return message.text
        case "msgid":
            return "-"
        case "pri":
            return str(priority(message))
        case "procid":
            return _process(message)
        case "structured-data":
            return structured_data(data)
        case "timestamp":
            return _rfc3164(message)
        case _:
            return _rfc3339(message)


def _line(text: str) -> bytes:
    escaped = _CONTROL.sub(lambda found: f"#{ord(found[0]):03o}", text)
    return escaped.encode() + b"\n"


def _process(message: Message) -> str:
    return "-" if message.process is None else str(message.process)


def _rfc3339(message: Message) -> str:
    return "-" if message.at is None else message.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _rfc3164(message: Message) -> str:
    at = message.at or datetime.now(UTC)
    return f"{_MONTHS[at.month - 1]} {at.day:2d} {at:%H:%M:%S}"
