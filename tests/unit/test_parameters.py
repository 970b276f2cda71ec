"""The settings of ``config``: what is taken, what is refused, and how each is written and read."""

from __future__ import annotations

from typing import Any

import pytest

from cenote.errors import Invalid
from cenote.model import parameters
from cenote.model.parameters import (
    EXTENSION_DEFAULTS,
    EXTENSIONS,
    POOLER,
    POOLER_DEFAULTS,
    POSTGRESQL,
    ServerLimits,
)
from cenote.model.records import Value
from cenote.model.status_records import SettingLimits

ALL = POSTGRESQL | POOLER | EXTENSIONS

TAKEN: list[tuple[str, Any, str]] = [
    ("work_mem", 4, "4MB"),
    ("max_stack_depth", 2_097_152, "2097152B"),
    ("bgwriter_flush_after", 512, "512kB"),
    ("temp_file_limit", -1, "-1"),
    ("temp_file_limit", 5_000_000, "5000000kB"),
    ("autovacuum_naptime", 60, "60s"),
    ("autovacuum_vacuum_scale_factor", 0.2, "0.2"),
    ("autovacuum_vacuum_scale_factor", 1, "1.0"),
    ("autovacuum_vacuum_cost_delay", -1, "-1"),
    ("wal_sender_timeout", 0, "0"),
    ("wal_sender_timeout", 5000, "5000ms"),
    ("jit", True, "on"),
    ("track_io_timing", "on", "on"),
    ("log_line_prefix", "%m [%p] %q[user=%u,db=%d,app=%a]", "%m [%p] %q[user=%u,db=%d,app=%a] "),
    ("max_connections", 25, "25"),
    ("server_reset_query_always", True, "1"),
    ("ignore_startup_parameters", ["search_path", "search_path"], "search_path"),
    ("ignore_startup_parameters", [], ""),
    ("autodb_pool_mode", "session", "session"),
    ("connect_query", "SET x TO 'y'", "SET x TO 'y'"),
]

REFUSED: list[tuple[str, Any, str]] = [
    ("work_mem", 0, "work_mem: 0 is out of range: 1 to 1024 MB."),
    ("work_mem", 1025, "work_mem: 1025 is out of range: 1 to 1024 MB."),
    ("work_mem", 4.5, "work_mem: 4.5 is not a whole number."),
    ("work_mem", "4", "work_mem: '4' is not a number."),
    ("work_mem", True, "work_mem: True is not a number."),
    ("work_mem", {}, "work_mem: {} is not a number."),
    ("work_mem", 10**100, "work_mem: 1000"),
    ("autovacuum_naptime", 0, "autovacuum_naptime: 0 is out of range: 1 to 86400 s."),
    ("wal_sender_timeout", 4999, "wal_sender_timeout: 4999 is out of range: 5000 to 10800000 ms, or 0."),
    ("bgwriter_flush_after", 7, "bgwriter_flush_after: 7 is not a multiple of 8."),
    ("bgwriter_lru_multiplier", 10.5, "bgwriter_lru_multiplier: 10.5 is out of range: 0 to 10."),
    ("jit", "on", "jit: 'on' is neither true nor false."),
    ("jit", 1, "jit: 1 is neither true nor false."),
    ("track_io_timing", True, "track_io_timing: True is not one of 'off', 'on'."),
    ("track_io_timing", ["on"], "track_io_timing: ['on'] is not one of 'off', 'on'."),
    ("log_line_prefix", "%m", "log_line_prefix: '%m' is not one of"),
    ("timezone", 1, "timezone: 1 is not a string."),
    ("timezone", "x" * 65, "timezone: must be one line of at most 64"),
    ("connect_query", "SELECT 1\n[pgbouncer]", "connect_query: must be one line"),
    ("ignore_startup_parameters", "search_path", "ignore_startup_parameters: 'search_path' is not a list"),
    ("ignore_startup_parameters", ["options"], "ignore_startup_parameters: ['options'] is not a list of"),
    ("ignore_startup_parameters", [[]], "ignore_startup_parameters: [[]] is not a list of"),
]


@pytest.mark.parametrize(("name", "given", "written"), TAKEN)
def test_a_setting_is_written_as_the_server_reads_it(name: str, given: Any, written: str) -> None:
    parameter = ALL[name]
    assert parameter.write(parameter.check(given)) == written


@pytest.mark.parametrize(("name", "given", "beginning"), REFUSED)
def test_what_a_setting_may_not_be_is_refused_with_what_it_may_be(
    name: str, given: Any, beginning: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        ALL[name].check(given)
    assert refusal.value.message.startswith(beginning)


SEEN: list[tuple[str, str, Value]] = [
    ("work_mem", "10240 kB", 10),
    ("max_stack_depth", "2048 kB", 2_097_152),
    ("bgwriter_flush_after", "64 8kB", 512),
    ("temp_file_limit", "-1 kB", -1),
    ("max_slot_wal_keep_size", "-1 MB", -1),
    ("autovacuum_naptime", "60 s", 60),
    ("autovacuum_vacuum_cost_delay", "2 ms", 2),
    ("wal_sender_timeout", "60000 ms", 60_000),
    ("autovacuum_vacuum_scale_factor", "0.2", 0.2),
    ("jit", "on", True),
    ("jit", "off", False),
    ("log_error_verbosity", "default", "DEFAULT"),
    ("log_line_prefix", "%m [%p] %q[user=%u,db=%d,app=%a] ", "%m [%p] %q[user=%u,db=%d,app=%a]"),
    ("timezone", "Europe/Helsinki", "Europe/Helsinki"),
]


@pytest.mark.parametrize(("name", "seen", "value"), SEEN)
def test_what_a_server_says_is_read_in_the_units_of_the_api(name: str, seen: str, value: Value) -> None:
    read = ALL[name].read(seen)
    assert (read, type(read)) == (value, type(value))


def test_every_setting_of_the_pooler_has_a_default_that_may_be_set() -> None:
    for table, defaults in ((POOLER, POOLER_DEFAULTS), (EXTENSIONS, EXTENSION_DEFAULTS)):
        assert table.keys() == defaults.keys()
        for name, value in defaults.items():
            assert table[name].check(value) == value


def test_no_setting_is_both_taken_and_refused() -> None:
    tables = [set(table) for table in (parameters.FAILOVER, POSTGRESQL, parameters.UNUSED)]
    assert sum(len(table) for table in tables) == len(set[str]().union(*tables))


def test_each_setting_without_effect_has_a_reason() -> None:
    assert parameters.UNUSED.keys() == parameters.UNUSED_REASONS.keys()


def test_only_libraries_that_a_setting_needs_are_loaded() -> None:
    assert parameters.libraries(["plpgsql", "pg_stat_statements"]) == ("pg_stat_statements",)
    assert parameters.libraries([]) == ()


def test_a_choice_that_the_server_lacks_is_not_offered_and_one_that_it_has_besides_neither() -> None:
    offered = POSTGRESQL["default_toast_compression"]
    plain = ServerLimits(None, ("pglz",), None, None)
    limits = offered.limits(plain)
    assert limits == SettingLimits(choices=("pglz",))
    with pytest.raises(Invalid, match=r"default_toast_compression: 'lz4' is not one of 'pglz'."):
        offered.narrowed(limits).check("lz4")
    assert offered.narrowed(limits).check("pglz") == "pglz"
    assert offered.limits(ServerLimits(None, ("pglz", "lz4", "zstd"), None, None)) is None


def test_choices_of_the_server_are_compared_without_case() -> None:
    server = ServerLimits(None, ("terse", "default"), None, None)
    assert POSTGRESQL["log_error_verbosity"].limits(server) == SettingLimits(choices=("TERSE", "DEFAULT"))


def test_a_range_of_the_server_is_taken_in_the_unit_of_the_api() -> None:
    offered = POSTGRESQL["work_mem"]
    limits = offered.limits(ServerLimits("kB", None, "64", "524288"))
    assert limits == SettingLimits(minimum=1, maximum=512)
    with pytest.raises(Invalid, match=r"work_mem: 1000 is out of range: 1 to 512 MB."):
        offered.narrowed(limits).check(1000)
    assert offered.limits(ServerLimits("kB", None, "64", "2147483647")) is None


def test_a_special_value_below_the_range_of_the_server_stays() -> None:
    offered = POSTGRESQL["temp_file_limit"]
    limits = offered.limits(ServerLimits("kB", None, "-1", "1000"))
    assert limits == SettingLimits(minimum=0, maximum=1000)
    assert offered.narrowed(limits).check(-1) == -1
