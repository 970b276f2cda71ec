"""The configuration of MySQL."""

from __future__ import annotations

from typing import Literal, TypedDict


class MysqlIncrementalBackup(TypedDict, total=False):
    """When incremental backups are made."""

    enabled: bool
    full_backup_week_schedule: str


class MysqlConfig(TypedDict, total=False):
    """The configuration of a MySQL cluster."""

    backup_hour: int
    backup_minute: int
    automatic_sp_privileges: bool
    sql_mode: str
    connect_timeout: int
    default_time_zone: str
    div_precision_increment: int
    end_markers_in_json: bool
    eq_range_index_dive_limit: int
    group_concat_max_len: int
    information_schema_stats_expiry: int
    innodb_ft_enable_stopword: bool
    innodb_ft_max_token_size: int
    innodb_ft_min_token_size: int
    innodb_ft_num_word_optimize: int
    innodb_ft_result_cache_limit: int
    innodb_ft_server_stopword_table: str
    innodb_ft_user_stopword_table: str
    innodb_lock_wait_timeout: int
    innodb_log_buffer_size: int
    innodb_online_alter_log_max_size: int
    innodb_optimize_fulltext_only: bool
    innodb_print_all_deadlocks: bool
    innodb_rollback_on_timeout: bool
    interactive_timeout: int
    internal_tmp_mem_storage_engine: Literal["TempTable", "MEMORY"]
    net_read_timeout: int
    net_write_timeout: int
    sql_require_primary_key: bool
    wait_timeout: int
    windowing_use_high_precision: bool
    max_allowed_packet: int
    max_execution_time: int
    max_heap_table_size: int
    max_seeks_for_key: int
    optimizer_prune_level: int
    optimizer_search_depth: int
    optimizer_switch: str
    sort_buffer_size: int
    tmp_table_size: int
    slow_query_log: bool
    long_query_time: float
    binlog_retention_period: float
    innodb_change_buffer_max_size: int
    innodb_flush_neighbors: Literal["0", "1", "2"]
    innodb_read_io_threads: int
    innodb_write_io_threads: int
    innodb_thread_concurrency: int
    net_buffer_length: int
    log_output: Literal["INSIGHTS", "TABLE", "INSIGHTS,TABLE", "NONE"]
    mysql_incremental_backup: MysqlIncrementalBackup


class SqlMode(TypedDict):
    """The global SQL modes, with commas between them."""

    sql_mode: str
