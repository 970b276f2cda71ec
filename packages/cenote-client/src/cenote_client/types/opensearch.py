"""The configuration and the indexes of OpenSearch."""

from __future__ import annotations

from typing import Literal, TypedDict


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
