"""The settings of ``config``: names in the API, allowed values, conversion to and from the servers' formats.

Ranges are those of the hosted product's API, narrowed where PostgreSQL allows less.  Settings without effect
are in ``UNUSED``, and kept; those that would promise what a cluster does not do are in ``UNSUPPORTED``, and
refused.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cenote.errors import Invalid
from cenote.model.records import Value
from cenote.model.status_records import SettingLimits

INT_MAX = 2_147_483_647
_BYTES = {"B": 1, "kB": 1024, "8kB": 8192, "MB": 1024**2}
_MILLISECONDS = {"ms": 1, "s": 1000, "min": 60_000}
_CURRENT_SETTING = re.compile(r"(-?[0-9.]+)(?: (\w+))?")


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a server says that it takes for a setting: a row of ``pg_settings``."""

    unit: str | None
    choices: tuple[str, ...] | None
    minimum: str | None
    maximum: str | None


@dataclass(frozen=True, slots=True)
class Parameter(ABC):
    """A setting; ``server`` is its name on the server where that differs.

    ``since`` is the first PostgreSQL version with it, ``library`` the one it needs preloaded.  A setting that
    ``only_grows`` cannot be lowered: after a restart the server could not restore its open state, such as
    prepared transactions or replication slots.
    """

    name: str
    server: str = field(default="", kw_only=True)
    since: int = field(default=0, kw_only=True)
    library: str = field(default="", kw_only=True)
    only_grows: bool = field(default=False, kw_only=True)

    @property
    def server_name(self) -> str:
        return self.server or self.name

    @abstractmethod
    def check(self, value: Any) -> Value:
        """Return the value as it is stored; raise Invalid when it is not allowed."""

    def write(self, value: Value) -> str:
        """Return the value as written to the server's configuration file."""
        return str(value)

    def read(self, seen: str) -> Value:
        """Convert what a running server shows; see ``host.inspector``."""
        return seen

    def limits(self, _server: ServerLimits) -> SettingLimits | None:
        """Return what the server takes; None unless that is less than is offered."""
        return None

    def narrowed(self, _limits: SettingLimits) -> Parameter:
        """Return the setting with only what the server takes as well."""
        return self


@dataclass(frozen=True, slots=True)
class Number(Parameter):
    """A number in the API's ``unit``; an integer unless ``fractions``.

    ``special`` is a value below ``minimum`` with a meaning of its own, such as "off".  ``step`` is the
    granularity of the server.
    """

    minimum: float
    maximum: float
    unit: str = ""
    special: int | None = field(default=None, kw_only=True)
    step: int = field(default=1, kw_only=True)
    fractions: bool = field(default=False, kw_only=True)

    def check(self, value: Any) -> Value:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Invalid(f"{self.name}: {_quoted(value)} is not a number.")
        if isinstance(value, float) and not self.fractions:
            raise Invalid(f"{self.name}: {_quoted(value)} is not a whole number.")
        if self.special is not None and value == self.special:
            return self.special
        if not self.minimum <= value <= self.maximum:
            or_special = "" if self.special is None else f", or {self.special}"
            raise Invalid(
                f"{self.name}: {_quoted(value)} is out of range: {self.minimum:.15g} to {self.maximum:.15g}"
                f"{f' {self.unit}' if self.unit else ''}{or_special}."
            )
        if not self.fractions and value % self.step:
            raise Invalid(f"{self.name}: {_quoted(value)} is not a multiple of {self.step}.")
        return float(value) if self.fractions else value

    def write(self, value: Value) -> str:
        assert isinstance(value, int | float)
        if value == self.special or not self.unit:
            return repr(value)
        return f"{value}{self.unit}"

    def read(self, seen: str) -> Value:
        found = _CURRENT_SETTING.fullmatch(seen)
        if found is None:
            raise ValueError(seen)
        number = self._read(found[1], found[2])
        return number if self.fractions else math.floor(number)

    def _read(self, text: str, unit: str | None) -> float:
        """Convert a number of the server's to the API's unit."""
        number = float(text)
        if unit and number >= 0 and self.unit:
            scale = _BYTES if unit in _BYTES else _MILLISECONDS
            number = number * scale[unit] / scale[self.unit]
        return number

    def limits(self, server: ServerLimits) -> SettingLimits | None:
        if self.server or not server.minimum or not server.maximum:
            return None  # the API has another measure than the server
        least, most = (self._read(value, server.unit) for value in (server.minimum, server.maximum))
        if least <= self.minimum and most >= self.maximum:
            return None
        return SettingLimits(minimum=max(least, self.minimum), maximum=min(most, self.maximum))

    def narrowed(self, limits: SettingLimits) -> Parameter:
        least, most = limits.minimum, limits.maximum
        return replace(
            self,
            minimum=self.minimum if least is None else max(least, self.minimum),
            maximum=self.maximum if most is None else min(most, self.maximum),
        )


@dataclass(frozen=True, slots=True)
class Switch(Parameter):
    """``true`` or ``false``; ``literals`` are the server's spelling."""

    literals: tuple[str, str] = ("off", "on")

    def check(self, value: Any) -> Value:
        if not isinstance(value, bool):
            raise Invalid(f"{self.name}: {_quoted(value)} is neither true nor false.")
        return value

    def write(self, value: Value) -> str:
        return self.literals[bool(value)]

    def read(self, seen: str) -> Value:
        return seen == self.literals[True]


@dataclass(frozen=True, slots=True)
class Choice(Parameter):
    """One of several values."""

    choices: tuple[str, ...]

    def check(self, value: Any) -> Value:
        if value not in self.choices or not isinstance(value, str):
            raise Invalid(
                f"{self.name}: {_quoted(value)} is not one of {', '.join(map(repr, self.choices))}."
            )
        return value

    def read(self, seen: str) -> Value:
        return next((choice for choice in self.choices if choice.lower() == seen.lower()), seen)

    def limits(self, server: ServerLimits) -> SettingLimits | None:
        taken = {value.lower() for value in server.choices or ()}
        left = tuple(choice for choice in self.choices if choice.lower() in taken)
        return SettingLimits(choices=left) if taken and left != self.choices else None

    def narrowed(self, limits: SettingLimits) -> Parameter:
        if limits.choices is None:
            return self
        return replace(self, choices=tuple(one for one in self.choices if one in limits.choices))


@dataclass(frozen=True, slots=True)
class Prefix(Choice):
    """``log_line_prefix``; a space separates it from the message."""

    def write(self, value: Value) -> str:
        return f"{value} "

    def read(self, seen: str) -> Value:
        return seen.removesuffix(" ")


@dataclass(frozen=True, slots=True)
class Choices(Parameter):
    """A subset of several values, in the given order."""

    choices: tuple[str, ...]

    def check(self, value: Any) -> Value:
        if not isinstance(value, list | tuple) or any(one not in self.choices for one in value):
            raise Invalid(
                f"{self.name}: {_quoted(value)} is not a list of {', '.join(map(repr, self.choices))}."
            )
        return tuple(dict.fromkeys(value))

    def write(self, value: Value) -> str:
        assert isinstance(value, tuple)
        return ",".join(value)


@dataclass(frozen=True, slots=True)
class Text(Parameter):
    """One line of text."""

    max_length: int

    def check(self, value: Any) -> Value:
        if not isinstance(value, str):
            raise Invalid(f"{self.name}: {_quoted(value)} is not a string.")
        if len(value) > self.max_length or not value.isprintable():
            raise Invalid(f"{self.name}: must be one line of at most {self.max_length} printable characters.")
        return value


def _by_name(*parameters: Parameter) -> dict[str, Parameter]:
    return {parameter.name: parameter for parameter in parameters}


_ON_OFF = ("off", "on")

# https://www.postgresql.org/docs/current/runtime-config.html describes them.
POSTGRESQL = _by_name(
    Number("autovacuum_freeze_max_age", 200_000_000, 1_500_000_000),
    Number("autovacuum_max_workers", 1, 20),
    Number("autovacuum_naptime", 1, 86_400, "s"),
    Number("autovacuum_vacuum_threshold", 0, INT_MAX),
    Number("autovacuum_analyze_threshold", 0, INT_MAX),
    Number("autovacuum_vacuum_scale_factor", 0, 1, fractions=True),
    Number("autovacuum_analyze_scale_factor", 0, 1, fractions=True),
    Number("autovacuum_vacuum_cost_delay", 0, 100, "ms", special=-1),
    Number("autovacuum_vacuum_cost_limit", 0, 10_000, special=-1),
    Number("bgwriter_delay", 10, 10_000, "ms"),
    Number("bgwriter_flush_after", 0, 2048, "kB", step=8),
    Number("bgwriter_lru_maxpages", 0, 1_073_741_823),
    Number("bgwriter_lru_multiplier", 0, 10, fractions=True),
    Number("deadlock_timeout", 500, 1_800_000, "ms"),
    Choice("default_toast_compression", ("lz4", "pglz"), since=14),
    Number("idle_in_transaction_session_timeout", 0, 604_800_000, "ms"),
    Switch("jit"),
    Number("log_autovacuum_min_duration", 0, INT_MAX, "ms", special=-1),
    Choice("log_error_verbosity", ("TERSE", "DEFAULT", "VERBOSE")),
    Prefix(
        "log_line_prefix",
        (
            "pid=%p,user=%u,db=%d,app=%a,client=%h",
            "%m [%p] %q[user=%u,db=%d,app=%a]",
            "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h",
        ),
    ),
    Number("log_min_duration_statement", 0, 86_400_000, "ms", special=-1),
    Number("max_connections", 25, 10_000),
    Number("max_files_per_process", 1000, 4096),
    Number("max_locks_per_transaction", 64, 6400, only_grows=True),
    Number("max_logical_replication_workers", 4, 64),
    Number("max_parallel_workers", 0, 96),
    Number("max_parallel_workers_per_gather", 0, 96),
    Number("max_pred_locks_per_transaction", 64, 640),
    Number("max_prepared_transactions", 0, 10_000, only_grows=True),
    Number("max_replication_slots", 8, 64, only_grows=True),
    Number("max_slot_wal_keep_size", 0, INT_MAX, "MB", special=-1),
    Number("max_stack_depth", 2_097_152, 6_291_456, "B", step=1024),
    Number("max_wal_senders", 20, 64),
    Number("max_worker_processes", 8, 96),
    Choice("pg_stat_statements.track", ("all", "top", "none"), library="pg_stat_statements"),
    Number("shared_buffers_percentage", 20, 60, fractions=True, server="shared_buffers"),
    Number("temp_file_limit", 0, INT_MAX, "kB", special=-1),
    Text("timezone", 64),
    Number("track_activity_query_size", 1024, 10_240),
    Choice("track_commit_timestamp", _ON_OFF),
    Choice("track_functions", ("all", "pl", "none")),
    Choice("track_io_timing", _ON_OFF),
    Number("wal_sender_timeout", 5000, 10_800_000, "ms", special=0),
    Number("wal_writer_delay", 10, 200, "ms"),
    Number("work_mem", 1, 1024, "MB"),
)

# https://www.pgbouncer.org/config.html
POOLER = _by_name(
    Number("autodb_idle_timeout", 0, 86_400),
    Number("autodb_max_db_connections", 0, INT_MAX),
    Choice("autodb_pool_mode", ("session", "transaction", "statement")),
    Number("autodb_pool_size", 0, 10_000),
    Choices("ignore_startup_parameters", ("extra_float_digits", "search_path")),
    Number("min_pool_size", 0, 10_000),
    Number("server_idle_timeout", 0, 86_400),
    Number("server_lifetime", 60, 86_400),
    Switch("server_reset_query_always", literals=("0", "1")),
)

# Startup parameters that a pool cannot apply and may ignore.  Those are missing whose loss would be
# dangerous, such as ``default_transaction_read_only``, ``role`` and ``row_security``.
IGNORABLE = (
    "client_min_messages",
    "default_text_search_config",
    "default_transaction_isolation",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "jit",
    "lock_timeout",
    "plan_cache_mode",
    "search_path",
    "statement_timeout",
    "synchronous_commit",
    "transaction_timeout",
    "work_mem",
)

# Settings of pools that the hosted product's API lacks and its users ask for.
EXTENSIONS = _by_name(
    Text("connect_query", 1000),
    Choices("ignore_parameters", IGNORABLE),
    Number("idle_transaction_timeout", 0, 86_400),
    Number("max_prepared_statements", 0, 10_000),
    Number("query_wait_timeout", 0, 86_400),
)

POOLER_DEFAULTS: dict[str, Value] = {
    "autodb_idle_timeout": 3600,
    "autodb_max_db_connections": 0,
    "autodb_pool_mode": "transaction",
    "autodb_pool_size": 0,
    # JDBC sends this in every startup packet; PgBouncer rejects the client otherwise.
    "ignore_startup_parameters": ("extra_float_digits",),
    "min_pool_size": 0,
    "server_idle_timeout": 600,
    "server_lifetime": 3600,
    "server_reset_query_always": False,
}
EXTENSION_DEFAULTS: dict[str, Value] = {
    "connect_query": "",
    "idle_transaction_timeout": 0,
    "ignore_parameters": (),
    "max_prepared_statements": 200,
    "query_wait_timeout": 120,
}

# Clients such as Terraform's provider send these and expect to read them again.  They have no effect.
UNUSED = _by_name(
    Number("backup_hour", 0, 23),
    Number("backup_minute", 0, 59),
    Number("max_standby_archive_delay", 1, 43_200_000, "ms"),
    Number("max_standby_streaming_delay", 1, 43_200_000, "ms"),
    Number("pg_partman_bgw.interval", 3600, 604_800, "s"),
    Text("pg_partman_bgw.role", 64),
    Switch("stat_monitor_enable"),
    Number("timescaledb.max_background_workers", 1, 4096),
)

_BACKUPS = "no backups are made of it"
_STANDBYS = "this version does not set it on standbys"
_PARTMAN = "pg_partman is not offered by this version"
UNUSED_REASONS = {
    "backup_hour": _BACKUPS,
    "backup_minute": _BACKUPS,
    "max_standby_archive_delay": _STANDBYS,
    "max_standby_streaming_delay": _STANDBYS,
    "pg_partman_bgw.interval": _PARTMAN,
    "pg_partman_bgw.role": _PARTMAN,
    "stat_monitor_enable": "pg_stat_monitor is not offered by this version",
    "timescaledb.max_background_workers": "TimescaleDB is not offered by this version",
}

# What Patroni does with several nodes.  The hosted product waits for 60 seconds.
FAILOVER = _by_name(
    Number("max_failover_replication_time_lag", 10, 86_400, "s"),
    Choice("synchronous_replication", ("off", "quorum")),
)
FAILOVER_DEFAULTS: dict[str, Value] = {
    "max_failover_replication_time_lag": 10,
    "synchronous_replication": "quorum",
}

# DigitalOcean's TypeScript client sends these with every change: it models the settings of all engines as one
# object with defaults.  They are ignored, and refused with any other value.
OF_OTHER_ENGINES: dict[str, Value] = {
    "default_read_concern": "local",
    "default_write_concern": "majority",
    "log_output": "NONE",
    "script_max_compilations_rate": "use-context",
}

# Workers limited by the first setting are taken from the pool of the second.
DRAWN_FROM = (
    ("max_parallel_workers", "max_worker_processes"),
    ("max_logical_replication_workers", "max_worker_processes"),
    ("max_parallel_workers_per_gather", "max_parallel_workers"),
)


def limits(server: Mapping[str, ServerLimits]) -> dict[str, SettingLimits]:
    """Return the limits of the settings, by name, of which a server takes less than is offered."""
    found = {
        name: parameter.limits(server[parameter.server_name])
        for name, parameter in POSTGRESQL.items()
        if parameter.server_name in server
    }
    return {name: limits for name, limits in found.items() if limits is not None}


def libraries(installed: Collection[str]) -> tuple[str, ...]:
    """Return the libraries that a server preloads, of those installed."""
    needed = {parameter.library for parameter in POSTGRESQL.values()}
    return tuple(sorted(needed & set(installed)))


def _quoted(value: Any) -> str:
    """Return user input for a message: quoted, at most 80 characters, one line, ASCII."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
