"""The configuration of PostgreSQL and of its connection pools.

Every key is optional in a change, and a service omits those that it does not support.  Units are those of
the reference: ``work_mem`` in MB, ``max_stack_depth`` in bytes, ``temp_file_limit`` in kB, times mostly in
milliseconds.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from .cenote import ConfigAdditions


class PgbouncerConfig(TypedDict, total=False):
    """The configuration of PgBouncer; times in seconds."""

    server_reset_query_always: bool
    ignore_startup_parameters: list[Literal["extra_float_digits", "search_path"]]
    min_pool_size: int
    server_lifetime: int
    server_idle_timeout: int
    autodb_pool_size: int
    autodb_pool_mode: Literal["session", "transaction", "statement"]
    autodb_max_db_connections: int
    autodb_idle_timeout: int


class TimescaledbConfig(TypedDict, total=False):
    """The settings of the extension TimescaleDB."""

    max_background_workers: int


_PostgresDotted = TypedDict(
    "_PostgresDotted",
    {
        "pg_partman_bgw.role": str,
        "pg_partman_bgw.interval": int,
        "pg_stat_statements.track": Literal["all", "top", "none"],
    },
    total=False,
)


class PostgresConfig(_PostgresDotted, total=False):
    """The configuration of a PostgreSQL cluster."""

    autovacuum_freeze_max_age: int
    autovacuum_max_workers: int
    autovacuum_naptime: int
    autovacuum_vacuum_threshold: int
    autovacuum_analyze_threshold: int
    autovacuum_vacuum_scale_factor: float
    autovacuum_analyze_scale_factor: float
    autovacuum_vacuum_cost_delay: int
    autovacuum_vacuum_cost_limit: int
    backup_hour: int
    backup_minute: int
    bgwriter_delay: int
    bgwriter_flush_after: int
    bgwriter_lru_maxpages: int
    bgwriter_lru_multiplier: float
    deadlock_timeout: int
    default_toast_compression: Literal["lz4", "pglz"]
    idle_in_transaction_session_timeout: int
    jit: bool
    log_autovacuum_min_duration: int
    log_error_verbosity: Literal["TERSE", "DEFAULT", "VERBOSE"]
    log_line_prefix: Literal[
        "pid=%p,user=%u,db=%d,app=%a,client=%h",
        "%m [%p] %q[user=%u,db=%d,app=%a]",
        "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h",
    ]
    log_min_duration_statement: int
    max_files_per_process: int
    max_prepared_transactions: int
    max_pred_locks_per_transaction: int
    max_locks_per_transaction: int
    max_stack_depth: int
    max_standby_archive_delay: int
    max_standby_streaming_delay: int
    max_replication_slots: int
    max_logical_replication_workers: int
    max_parallel_workers: int
    max_parallel_workers_per_gather: int
    max_worker_processes: int
    temp_file_limit: int
    timezone: str
    track_activity_query_size: int
    track_commit_timestamp: Literal["off", "on"]
    track_functions: Literal["all", "pl", "none"]
    track_io_timing: Literal["off", "on"]
    max_wal_senders: int
    wal_sender_timeout: int
    wal_writer_delay: int
    shared_buffers_percentage: float
    pgbouncer: PgbouncerConfig
    work_mem: int
    timescaledb: TimescaledbConfig
    synchronous_replication: Literal["off", "quorum"]
    stat_monitor_enable: bool
    max_failover_replication_time_lag: int
    max_connections: int
    max_slot_wal_keep_size: int
    cenote: ConfigAdditions
