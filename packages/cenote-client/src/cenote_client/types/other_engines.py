"""Types of engines other than PostgreSQL, for parity with pydo."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

# Kafka


class KafkaConfig(TypedDict, total=False):
    """The configuration of a Kafka cluster."""

    compression_type: Literal["gzip", "snappy", "lz4", "zstd", "uncompressed", "producer"]
    group_initial_rebalance_delay_ms: int
    group_min_session_timeout_ms: int
    group_max_session_timeout_ms: int
    connections_max_idle_ms: int
    max_incremental_fetch_session_cache_slots: int
    message_max_bytes: int
    offsets_retention_minutes: int
    log_cleaner_delete_retention_ms: int
    log_cleaner_min_cleanable_ratio: float
    log_cleaner_max_compaction_lag_ms: int
    log_cleaner_min_compaction_lag_ms: int
    log_cleanup_policy: Literal["delete", "compact", "compact,delete"]
    log_flush_interval_messages: int
    log_flush_interval_ms: int
    log_index_interval_bytes: int
    log_index_size_max_bytes: int
    log_message_downconversion_enable: bool
    log_message_timestamp_type: Literal["CreateTime", "LogAppendTime"]
    log_message_timestamp_difference_max_ms: int
    log_preallocate: bool
    log_retention_bytes: int
    log_retention_hours: int
    log_retention_ms: int
    log_roll_jitter_ms: int
    log_roll_ms: int
    log_segment_bytes: int
    log_segment_delete_delay_ms: int
    auto_create_topics_enable: bool
    min_insync_replicas: int
    num_partitions: int
    default_replication_factor: int
    replica_fetch_max_bytes: int
    replica_fetch_response_max_bytes: int
    max_connections_per_ip: int
    producer_purgatory_purge_interval_requests: int
    socket_request_max_bytes: int
    transaction_state_log_segment_bytes: int
    transaction_remove_expired_transaction_cleanup_interval_ms: int
    schema_registry: bool


class TopicConfig(TypedDict, total=False):
    """The configuration of a topic; times in milliseconds."""

    cleanup_policy: Literal["delete", "compact", "compact_delete"]
    compression_type: Literal["producer", "gzip", "snappy", "Iz4", "zstd", "uncompressed"]
    delete_retention_ms: int
    file_delete_delay_ms: int
    flush_messages: int
    flush_ms: int
    index_interval_bytes: int
    max_compaction_lag_ms: int
    max_message_bytes: int
    message_down_conversion_enable: bool
    message_format_version: Literal[
        "0.8.0",
        "0.8.1",
        "0.8.2",
        "0.9.0",
        "0.10.0-IV0",
        "0.10.0-IV1",
        "0.10.1-IV0",
        "0.10.1-IV1",
        "0.10.1-IV2",
        "0.10.2-IV0",
        "0.11.0-IV0",
        "0.11.0-IV1",
        "0.11.0-IV2",
        "1.0-IV0",
        "1.1-IV0",
        "2.0-IV0",
        "2.0-IV1",
        "2.1-IV0",
        "2.1-IV1",
        "2.1-IV2",
        "2.2-IV0",
        "2.2-IV1",
        "2.3-IV0",
        "2.3-IV1",
        "2.4-IV0",
        "2.4-IV1",
        "2.5-IV0",
        "2.6-IV0",
        "2.7-IV0",
        "2.7-IV1",
        "2.7-IV2",
        "2.8-IV0",
        "2.8-IV1",
        "3.0-IV0",
        "3.0-IV1",
        "3.1-IV0",
        "3.2-IV0",
        "3.3-IV0",
        "3.3-IV1",
        "3.3-IV2",
        "3.3-IV3",
    ]
    message_timestamp_type: Literal["create_time", "log_append_time"]
    min_cleanable_dirty_ratio: float
    min_compaction_lag_ms: int
    min_insync_replicas: int
    preallocate: bool
    retention_bytes: int
    retention_ms: int
    segment_bytes: int
    segment_jitter_ms: int
    segment_ms: int


class ConsumerGroup(TypedDict):
    group_name: str
    offset: int


class TopicPartition(TypedDict):
    """One partition of a topic; ``size`` in bytes."""

    id: int
    size: int
    in_sync_replicas: int
    earliest_offset: int
    consumer_groups: list[ConsumerGroup] | None


TopicState = Literal["active", "configuring", "deleting", "unknown"]


class TopicSummary(TypedDict):
    """A topic in a list."""

    name: str
    state: TopicState
    replication_factor: int
    partition_count: int


class Topic(TypedDict):
    """A topic with its partitions and configuration."""

    name: str
    state: TopicState
    replication_factor: int
    partitions: list[TopicPartition]
    config: TopicConfig


class TopicListResponse(TypedDict):
    topics: list[TopicSummary]


class TopicResponse(TypedDict):
    topic: Topic


class TopicCreate(TypedDict):
    name: str
    replication_factor: NotRequired[int]
    partition_count: NotRequired[int]
    config: NotRequired[TopicConfig]


class TopicUpdate(TypedDict, total=False):
    replication_factor: int
    partition_count: int
    config: TopicConfig


SchemaType = Literal["AVRO", "JSON", "PROTOBUF"]


class Schema(TypedDict):
    """The schema of a subject."""

    schema_id: int
    subject_name: str
    schema_type: SchemaType
    schema: str


class SchemaVersion(Schema):
    """A schema with its version."""

    version: str


class SchemaListResponse(TypedDict):
    subjects: list[Schema]


class SchemaCreate(TypedDict):
    subject_name: str
    schema_type: SchemaType
    schema: str


Compatibility = Literal[
    "NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"
]


class SchemaConfig(TypedDict):
    compatibility_level: Compatibility


class SchemaConfigUpdate(TypedDict):
    compatibility_level: Compatibility


class SchemaSubjectConfig(TypedDict):
    subject_name: str
    compatibility_level: Compatibility


# MySQL


class MysqlIncrementalBackup(TypedDict, total=False):
    """The schedule of incremental backups."""

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
    """The global SQL modes, separated by commas."""

    sql_mode: str


# MongoDB


class MongoConfig(TypedDict, total=False):
    """The configuration of a MongoDB cluster."""

    default_read_concern: Literal["local", "available", "majority"]
    default_write_concern: str
    transaction_lifetime_limit_seconds: int
    slow_op_threshold_ms: int
    verbosity: int


# OpenSearch


class OpensearchConfig(TypedDict, total=False):
    """The configuration of an OpenSearch cluster."""

    http_max_content_length_bytes: int
    http_max_header_size_bytes: int
    http_max_initial_line_length_bytes: int
    indices_query_bool_max_clause_count: int
    indices_fielddata_cache_size_percentage: int
    indices_memory_index_buffer_size_percentage: int
    indices_memory_min_index_buffer_size_mb: int
    indices_memory_max_index_buffer_size_mb: int
    indices_queries_cache_size_percentage: int
    indices_recovery_max_mb_per_sec: int
    indices_recovery_max_concurrent_file_chunks: int
    thread_pool_search_size: int
    thread_pool_search_throttled_size: int
    thread_pool_get_size: int
    thread_pool_analyze_size: int
    thread_pool_write_size: int
    thread_pool_force_merge_size: int
    thread_pool_search_queue_size: int
    thread_pool_search_throttled_queue_size: int
    thread_pool_get_queue_size: int
    thread_pool_analyze_queue_size: int
    thread_pool_write_queue_size: int
    ism_enabled: bool
    ism_history_enabled: bool
    ism_history_max_age_hours: int
    ism_history_max_docs: int
    ism_history_rollover_check_period_hours: int
    ism_history_rollover_retention_period_days: int
    search_max_buckets: int
    action_auto_create_index_enabled: bool
    enable_security_audit: bool
    action_destructive_requires_name: bool
    cluster_max_shards_per_node: int
    override_main_response_version: bool
    script_max_compilations_rate: str
    cluster_routing_allocation_node_concurrent_recoveries: int
    reindex_remote_whitelist: list[str]
    plugins_alerting_filter_by_backend_roles_enabled: bool
    knn_memory_circuit_breaker_enabled: bool
    knn_memory_circuit_breaker_limit: int
    keep_index_refresh_interval: bool


class Index(TypedDict, total=False):
    """An index of an OpenSearch cluster."""

    index_name: str
    number_of_shards: int
    number_of_replicas: int
    size: int
    created_time: str
    status: Literal["unknown", "open", "close", "none"]
    health: Literal["unknown", "green", "yellow", "red", "red*"]


class IndexListResponse(TypedDict):
    indexes: list[Index]


# Redis and Valkey


EvictionPolicy = Literal[
    "noeviction", "allkeys_lru", "allkeys_random", "volatile_lru", "volatile_random", "volatile_ttl"
]


class RedisConfig(TypedDict, total=False):
    """The configuration of a Redis cluster."""

    redis_maxmemory_policy: Literal[
        "noeviction",
        "allkeys-lru",
        "allkeys-random",
        "volatile-lru",
        "volatile-random",
        "volatile-ttl",
    ]
    redis_pubsub_client_output_buffer_limit: int
    redis_number_of_databases: int
    redis_io_threads: int
    redis_lfu_log_factor: int
    redis_lfu_decay_time: int
    redis_ssl: bool
    redis_timeout: int
    redis_notify_keyspace_events: str
    redis_persistence: Literal["off", "rdb"]
    redis_acl_channels_default: Literal["allchannels", "resetchannels"]


class ValkeyConfig(TypedDict, total=False):
    """The configuration of a Valkey cluster."""

    valkey_maxmemory_policy: EvictionPolicy
    valkey_pubsub_client_output_buffer_limit: int
    valkey_number_of_databases: int
    valkey_io_threads: int
    valkey_lfu_log_factor: int
    valkey_lfu_decay_time: int
    valkey_ssl: bool
    valkey_timeout: int
    valkey_notify_keyspace_events: str
    valkey_persistence: Literal["off", "rdb"]
    valkey_acl_channels_default: Literal["allchannels", "resetchannels"]
    frequent_snapshots: bool
    valkey_active_expire_effort: int


class EvictionPolicyResponse(TypedDict):
    eviction_policy: EvictionPolicy


class EvictionPolicyUpdate(TypedDict):
    eviction_policy: EvictionPolicy


# Users


class MysqlSettings(TypedDict):
    auth_plugin: Literal["mysql_native_password", "caching_sha2_password"]


class OpensearchAcl(TypedDict, total=False):
    index: str
    permission: Literal["deny", "admin", "read", "readwrite", "write"]


class KafkaAcl(TypedDict):
    id: NotRequired[str]
    topic: str
    permission: Literal["admin", "consume", "produce", "produceconsume"]


class MongoUserSettings(TypedDict, total=False):
    databases: list[str]
    role: Literal["readOnly", "readWrite", "dbAdmin"]
