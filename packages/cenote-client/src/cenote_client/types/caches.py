"""The configuration of Redis and Valkey, and what they throw away when they are full."""

from __future__ import annotations

from typing import Literal, TypedDict

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
