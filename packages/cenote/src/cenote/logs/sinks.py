"""Log sinks: validation of their configuration, and its representation in the API.

The whole configuration is sealed in the record, since it may hold secrets anywhere: a password in the URL, a
token in the template or the structured data, a private key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any, TypeAlias
from urllib.parse import SplitResult, quote, unquote, urlsplit
from uuid import UUID

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from cenote.errors import Invalid, NotFound
from cenote.logs import syslog
from cenote.logs.destinations import Address, Networks, blocked_reason
from cenote.logs.syslog import Format
from cenote.model.record import Secret
from cenote.model.records import Cluster, LogSink, SinkType
from cenote.rules import host_names

MAX_SINKS = 8
MAX_CONFIG_BYTES = 32 * 1024  # of a configuration; the whole cluster is one record

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
INDEX = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_OPTIONAL_TEXTS = frozenset({"logline", "sd", "ca", "cert", "key"})
_PRINTABLE = re.compile(r"[ -~]*")


class _Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class SyslogConfig(_Config, frozen=True, kw_only=True):
    """A syslog server, reached over TCP; ``ca``, ``cert`` and ``key`` are PEM texts for TLS.

    ``logline`` is only used with the format ``custom``, and ``sd`` with all but ``rfc3164``.
    """

    server: str
    port: int
    format: Format
    tls: bool = False
    logline: str = ""
    sd: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""

    @property
    def host(self) -> str:
        return self.server


class SearchConfig(_Config, frozen=True, kw_only=True):
    """An OpenSearch or Elasticsearch; ``timeout`` in seconds.

    What was not sent is kept as unset, since Terraform takes a value that it has not sent for drift.
    """

    url: str
    index_prefix: str
    index_days_max: int | UnsetType = UNSET
    timeout: float | UnsetType = UNSET
    ca: str = ""

    @property
    def retention_days(self) -> int:
        return 7 if self.index_days_max is UNSET else self.index_days_max

    @property
    def timeout_seconds(self) -> float:
        return 10.0 if self.timeout is UNSET else self.timeout

    @property
    def parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def tls(self) -> bool:
        return self.parts.scheme == "https"

    @property
    def host(self) -> str:
        return self.parts.hostname or ""

    @property
    def port(self) -> int:
        return self.parts.port or (443 if self.tls else 80)

    @property
    def path(self) -> str:
        return self.parts.path.rstrip("/")

    @property
    def login(self) -> tuple[str, Secret] | None:
        parts = self.parts
        if parts.username is None:
            return None
        return unquote(parts.username), Secret(unquote(parts.password or ""))


Config: TypeAlias = SyslogConfig | SearchConfig


class SinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The delivery status: ``state`` is starting, delivering, failing or unknown; ``reason`` explains it.

    ``lag_bytes`` of the logs are not delivered yet; ``lost_bytes`` were dropped before delivery;
    ``refused_messages`` were rejected by the peer.
    """

    state: str = "starting"
    reason: str = ""
    delivered_at: datetime | None = None
    lag_bytes: int = 0
    lost_bytes: int = 0
    refused_messages: int = 0


_WORST_FIRST = ("failing", "unknown", "starting", "delivering")


def combined(found: Mapping[str, SinkStatus]) -> SinkStatus:
    """Return the delivery status over all nodes of a cluster, by name: the worst state, and all bytes.

    What a node that cannot be asked has not delivered is not in it; the state says so.
    """
    if len(found) == 1:
        return next(iter(found.values()))
    delivered = [one.delivered_at for one in found.values() if one.delivered_at is not None]
    return SinkStatus(
        state=min((one.state for one in found.values()), key=_WORST_FIRST.index),
        reason="; ".join(f"{name}: {one.reason}" for name, one in found.items() if one.reason),
        delivered_at=max(delivered, default=None),
        lag_bytes=sum(one.lag_bytes for one in found.values()),
        lost_bytes=sum(one.lost_bytes for one in found.values()),
        refused_messages=sum(one.refused_messages for one in found.values()),
    )


# -- The sinks of a cluster


def sink_type(text: str) -> SinkType:
    if text == "datadog":
        raise Invalid(
            "sink_type: 'datadog' is for MongoDB clusters; for PostgreSQL, Datadog takes logs by 'rsyslog' "
            "with the format 'custom'."
        )
    try:
        return SinkType(text)
    except ValueError:
        raise Invalid(f"sink_type: {text[:40]!a} is not one of {', '.join(SinkType)}.") from None


def sink_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise Invalid(
            "sink_name: a log sink's name has 1 to 64 letters, digits, spaces, dots, underscores and "
            "hyphens, and begins with a letter or a digit."
        )
    return text


def get(cluster: Cluster, id: str) -> LogSink:
    found = next((sink for sink in cluster.sinks if str(sink.id) == id), None)
    if found is None:
        raise NotFound
    return found


def add(cluster: Cluster, sink: LogSink) -> Cluster:
    if any(other.name == sink.name for other in cluster.sinks):
        raise Invalid("sink name is not available")
    if len(cluster.sinks) >= MAX_SINKS:
        raise Invalid(f"a cluster has at most {MAX_SINKS} log sinks, and this one has {len(cluster.sinks)}.")
    return replace(cluster, sinks=(*cluster.sinks, sink))


def change(cluster: Cluster, id: UUID, sealed_config: str) -> Cluster:
    before = get(cluster, str(id))
    after = replace(before, sealed_config=sealed_config)
    return replace(cluster, sinks=tuple(after if sink is before else sink for sink in cluster.sinks))


def remove(cluster: Cluster, id: UUID) -> Cluster:
    gone = get(cluster, str(id))
    return replace(cluster, sinks=tuple(sink for sink in cluster.sinks if sink is not gone))


# -- A configuration


def parse_config(
    type: SinkType,
    requested: dict[str, Any],
    allowed: Networks = (),
    is_own: Callable[[Address], bool] = lambda _: False,
) -> Config:
    """Validate the configuration of a request; Invalid names the wrong field."""
    # Some clients send unset fields as null or as an empty string.
    present = {
        name: value
        for name, value in requested.items()
        if value is not None and (value != "" or name not in _OPTIONAL_TEXTS)
    }
    try:
        found: Config = msgspec.convert(present, _config_type(type))
    except msgspec.ValidationError as error:
        raise Invalid(_with_field(str(error))) from None
    if len(msgspec.json.encode(found)) > MAX_CONFIG_BYTES:
        raise Invalid(f"config: the configuration of a log sink takes at most {MAX_CONFIG_BYTES} bytes.")
    if isinstance(found, SyslogConfig):
        _check_syslog(found)
    else:
        _check_search(found)
    field = "config.server" if isinstance(found, SyslogConfig) else "config.url"
    _check_host(field, found.host, lambda address: blocked_reason(address, allowed, is_own))
    _check_certificates(found)
    return found


def decode(type: SinkType, opened: Secret) -> Config:
    """Parse a configuration that ``encode`` returned."""
    found: Config = msgspec.json.decode(opened.reveal(), type=_config_type(type))
    return found


def _config_type(type: SinkType) -> Any:
    return SyslogConfig if type is SinkType.RSYSLOG else SearchConfig


def encode(config: Config) -> Secret:
    """Return a configuration for the record; it must be sealed before it is stored."""
    return Secret(msgspec.json.encode(config).decode())


def visible_config(config: Config, *, credentials: bool) -> dict[str, Any]:
    """Return a configuration for the API; fields that may hold secrets only with ``credentials``."""
    fields: dict[str, Any] = msgspec.to_builtins(config)
    hidden: tuple[str, ...] = ()
    if isinstance(config, SyslogConfig):
        fields |= {"tls": config.tls}
        hidden = ("logline", "sd", "key")
    elif not credentials:
        host = f"[{config.host}]" if ":" in config.host else config.host
        place = host if config.parts.port is None else f"{host}:{config.parts.port}"
        fields["url"] = f"{config.parts.scheme}://{place}{quote(config.parts.path, safe='/%')}"
    return {name: value for name, value in fields.items() if credentials or name not in hidden}


def _with_field(message: str) -> str:
    """Return msgspec's message with the field first, as in all other messages."""
    text, _, path = message[:300].partition(" - at `$.")
    return f"config.{path.rstrip('`')}: {text}" if path else f"config: {text}"


def _check_syslog(config: SyslogConfig) -> None:
    if not 1 <= config.port <= 65535:
        raise Invalid(f"config.port: {config.port} is not a port, 1 to 65535.")
    if config.format is Format.CUSTOM:
        if not config.logline:
            raise Invalid(
                "config.logline: the format 'custom' needs one, such as '<%pri%>%timestamp% %msg%'."
            )
        syslog.check_template(config.logline)
    else:
        syslog.check_template_line(config.logline)
    if config.sd:
        syslog.check_structured_data(config.sd)
    if not config.tls and (config.ca or config.cert or config.key):
        raise Invalid("config.tls: 'ca', 'cert' and 'key' go with TLS; set it to true, or leave them out.")


def _check_search(config: SearchConfig) -> None:
    try:
        parts, port = config.parts, config.parts.port
    except ValueError:
        raise Invalid("config.url: not a URL; an example is https://user:password@192.0.2.1:9200.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise Invalid("config.url: a URL begins with https:// or http:// and names a host.")
    if parts.query or parts.fragment or not _PRINTABLE.fullmatch(config.url) or " " in config.url:
        raise Invalid("config.url: a URL here has no query, no fragment, and ASCII characters only.")
    if config.ca and not config.tls:
        raise Invalid("config.ca: a CA certificate goes with https://.")
    if not INDEX.fullmatch(config.index_prefix):
        raise Invalid(
            "config.index_prefix: a prefix has 1 to 100 lowercase letters, digits, dots, hyphens and "
            "underscores, and begins with a letter or a digit."
        )
    if not 1 <= config.retention_days <= 10_000:
        raise Invalid(f"config.index_days_max: {config.retention_days} is out of range: 1 to 10000.")
    if not 10 <= config.timeout_seconds <= 120:
        raise Invalid(f"config.timeout: {config.timeout_seconds:g} is out of range: 10 to 120 seconds.")


def _check_host(field: str, host: str, blocked: Callable[[Address], str | None]) -> None:
    if not host_names.is_remote_host(host):
        raise Invalid(f"{field}: {host[:80]!a} is neither a host name nor an address.")
    try:
        addresses = [ip_address(host)]
    except ValueError:
        if host_names.last_label(host).lower() != "localhost":
            return
        addresses = [ip_address("127.0.0.1"), ip_address("::1")]
    refused = [reason for address in addresses if (reason := blocked(address)) is not None]
    if len(refused) == len(addresses):
        raise Invalid(f"{field}: {host!r} is {refused[0]}, where no log may be sent; see --log-sink-allow.")


def _check_certificates(config: Config) -> None:
    if config.ca:
        _certificates("config.ca", config.ca)
    if not isinstance(config, SyslogConfig):
        return
    if bool(config.cert) != bool(config.key):
        raise Invalid("config.cert: 'cert' and 'key' of the client go together.")
    if config.key:
        [certificate, *_] = _certificates("config.cert", config.cert)
        try:
            key = serialization.load_pem_private_key(config.key.encode(), password=None).public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise Invalid("config.key: not a private key in PEM format without a password.") from None
        if _public_bytes(key) != _public_bytes(certificate.public_key()):
            raise Invalid("config.key: the private key does not match the certificate in 'cert'.")


def _certificates(field: str, text: str) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(text.encode())
        for certificate in found:
            certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise Invalid(f"{field}: not a certificate in PEM format.") from None
    return found


def _public_bytes(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded
