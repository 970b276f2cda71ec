"""The configuration, the topics and the schemas of Kafka."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


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
    """How the messages of a topic are kept; times in milliseconds."""

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
    """A topic, with all that is known about it."""

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
