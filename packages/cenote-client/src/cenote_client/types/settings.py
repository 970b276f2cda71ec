"""Settings of a cluster, and the metrics credentials."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from .cenote import ConfigLimits
from .other_engines import (
    KafkaConfig,
    MongoConfig,
    MysqlConfig,
    OpensearchConfig,
    RedisConfig,
    ValkeyConfig,
)
from .postgres import PostgresConfig

Config = (
    PostgresConfig | MysqlConfig | RedisConfig | ValkeyConfig | MongoConfig | KafkaConfig | OpensearchConfig
)


class ConfigResponse(TypedDict):
    config: Config
    cenote: NotRequired[ConfigLimits]


class ConfigUpdate(TypedDict):
    config: Config


class StorageAutoscale(TypedDict):
    """At ``threshold_percent`` of its capacity, the storage grows by ``increment_gib``."""

    enabled: bool
    threshold_percent: NotRequired[int]
    increment_gib: NotRequired[int]


class Autoscale(TypedDict, total=False):
    storage: StorageAutoscale


AutoscaleUpdate = Autoscale


class AutoscaleResponse(TypedDict):
    autoscale: Autoscale


class DoSettings(TypedDict, total=False):
    """``service_cnames`` are additional host names in the certificate of the cluster."""

    service_cnames: list[str]


class DoSettingsResponse(TypedDict):
    do_settings: DoSettings


class DoSettingsUpdate(TypedDict):
    do_settings: DoSettings


SourceType = Literal["droplet", "k8s", "ip_addr", "tag", "app"]


class FirewallRule(TypedDict):
    """A trusted source: an address, a network, or a resource of the provider."""

    uuid: str
    cluster_uuid: str
    type: SourceType
    value: str
    created_at: str
    description: NotRequired[str]


class FirewallRuleCreate(TypedDict):
    """A trusted source to set; ``uuid`` identifies a rule that exists already."""

    type: SourceType
    value: str
    uuid: NotRequired[str]
    cluster_uuid: NotRequired[str]
    created_at: NotRequired[str]
    description: NotRequired[str]


class FirewallResponse(TypedDict):
    rules: list[FirewallRule]


class FirewallUpdate(TypedDict):
    rules: list[FirewallRuleCreate] | list[FirewallRule]


class BasicAuth(TypedDict):
    basic_auth_username: str
    basic_auth_password: str


class MetricsCredentials(TypedDict):
    credentials: BasicAuth


# The reference's schema has one more level around the response, its example and its clients do not.
MetricsCredentialsResponse = MetricsCredentials
MetricsCredentialsUpdate = MetricsCredentials
