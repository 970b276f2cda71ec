# Generated from _async/other_engines.py by tools/unasync.py; edit that file.

# Generated from the table in tools/other_engines.py; edit that table.

"""Operations on engines other than PostgreSQL, for parity with pydo; a Cenote service has none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._operations import CLUSTER, Operation
from .resource import Resource

if TYPE_CHECKING:
    from typing import Unpack

    from .. import types as t

LIST_KAFKA_TOPICS: Operation[t.TopicListResponse] = Operation("GET", CLUSTER + "/topics", 200, True)
CREATE_KAFKA_TOPIC: Operation[t.TopicResponse] = Operation("POST", CLUSTER + "/topics", 201, True)
GET_KAFKA_TOPIC: Operation[t.TopicResponse] = Operation("GET", CLUSTER + "/topics/{}", 200, True)
UPDATE_KAFKA_TOPIC: Operation[t.TopicResponse] = Operation("PUT", CLUSTER + "/topics/{}", 200, True)
DELETE_KAFKA_TOPIC: Operation[None] = Operation("DELETE", CLUSTER + "/topics/{}", 204, False)
LIST_KAFKA_SCHEMAS: Operation[t.SchemaListResponse] = Operation(
    "GET", CLUSTER + "/schema-registry", 200, True
)
CREATE_KAFKA_SCHEMA: Operation[t.Schema] = Operation("POST", CLUSTER + "/schema-registry", 201, True)
GET_KAFKA_SCHEMA: Operation[t.SchemaVersion] = Operation("GET", CLUSTER + "/schema-registry/{}", 200, True)
DELETE_KAFKA_SCHEMA: Operation[None] = Operation("DELETE", CLUSTER + "/schema-registry/{}", 204, False)
GET_KAFKA_SCHEMA_VERSION: Operation[t.SchemaVersion] = Operation(
    "GET", CLUSTER + "/schema-registry/{}/versions/{}", 200, True
)
GET_KAFKA_SCHEMA_CONFIG: Operation[t.SchemaConfig] = Operation(
    "GET", CLUSTER + "/schema-registry/config", 200, True
)
UPDATE_KAFKA_SCHEMA_CONFIG: Operation[t.SchemaConfig] = Operation(
    "PUT", CLUSTER + "/schema-registry/config", 200, True
)
GET_KAFKA_SCHEMA_SUBJECT_CONFIG: Operation[t.SchemaSubjectConfig] = Operation(
    "GET", CLUSTER + "/schema-registry/config/{}", 200, True
)
UPDATE_KAFKA_SCHEMA_SUBJECT_CONFIG: Operation[t.SchemaSubjectConfig] = Operation(
    "PUT", CLUSTER + "/schema-registry/config/{}", 200, True
)
GET_EVICTION_POLICY: Operation[t.EvictionPolicyResponse] = Operation(
    "GET", CLUSTER + "/eviction_policy", 200, True
)
UPDATE_EVICTION_POLICY: Operation[None] = Operation("PUT", CLUSTER + "/eviction_policy", 204, False)
GET_SQL_MODE: Operation[t.SqlMode] = Operation("GET", CLUSTER + "/sql_mode", 200, True)
UPDATE_SQL_MODE: Operation[None] = Operation("PUT", CLUSTER + "/sql_mode", 204, False)
LIST_OPEASEARCH_INDEXES: Operation[t.IndexListResponse] = Operation("GET", CLUSTER + "/indexes", 200, True)
DELETE_OPENSEARCH_INDEX: Operation[None] = Operation("DELETE", CLUSTER + "/indexes/{}", 204, False)


class OtherEngines(Resource):
    """The methods of ``client.databases`` for other engines."""

    def list_kafka_topics(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.TopicListResponse:
        """Return the topics of a Kafka cluster as ``{"topics": [{…}]}``.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/topics``, scope ``database:read``.
        """
        return self._call(LIST_KAFKA_TOPICS, (database_cluster_uuid,), kwargs)

    def create_kafka_topic(
        self, database_cluster_uuid: str, body: t.TopicCreate | None = None, **kwargs: Unpack[t.Call]
    ) -> t.TopicResponse:
        """Create a topic and return it as ``{"topic": {…}}``.

        Raises NotFoundError if the cluster does not exist, InvalidError for a value that is not allowed.

        ``POST /v2/databases/{database_cluster_uuid}/topics``, scope ``database:create``.
        """
        return self._call(CREATE_KAFKA_TOPIC, (database_cluster_uuid,), kwargs, body)

    def get_kafka_topic(
        self, database_cluster_uuid: str, topic_name: str, **kwargs: Unpack[t.Call]
    ) -> t.TopicResponse:
        """Return a topic with its partitions and configuration as ``{"topic": {…}}``.

        Raises NotFoundError if the cluster or the topic does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/topics/{topic_name}``, scope ``database:read``.
        """
        return self._call(
            GET_KAFKA_TOPIC,
            (
                database_cluster_uuid,
                topic_name,
            ),
            kwargs,
        )

    def update_kafka_topic(
        self,
        database_cluster_uuid: str,
        topic_name: str,
        body: t.TopicUpdate | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.TopicResponse:
        """Change a topic and return it as ``{"topic": {…}}``; the number of partitions can only grow.

        Raises NotFoundError if the cluster or the topic does not exist, InvalidError for a value that is not
        allowed.

        ``PUT /v2/databases/{database_cluster_uuid}/topics/{topic_name}``, scope ``database:update``.
        """
        return self._call(
            UPDATE_KAFKA_TOPIC,
            (
                database_cluster_uuid,
                topic_name,
            ),
            kwargs,
            body,
        )

    def delete_kafka_topic(
        self, database_cluster_uuid: str, topic_name: str, **kwargs: Unpack[t.Call]
    ) -> None:
        """Delete a topic with its messages.

        Raises NotFoundError if the cluster or the topic does not exist.

        ``DELETE /v2/databases/{database_cluster_uuid}/topics/{topic_name}``, scope ``database:delete``.
        """
        return self._call(
            DELETE_KAFKA_TOPIC,
            (
                database_cluster_uuid,
                topic_name,
            ),
            kwargs,
        )

    def list_kafka_schemas(
        self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]
    ) -> t.SchemaListResponse:
        """Return the schemas of a Kafka cluster as ``{"subjects": [{…}]}``.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/schema-registry``, scope ``database:read``.
        """
        return self._call(LIST_KAFKA_SCHEMAS, (database_cluster_uuid,), kwargs)

    def create_kafka_schema(
        self, database_cluster_uuid: str, body: t.SchemaCreate, **kwargs: Unpack[t.Call]
    ) -> t.Schema:
        """Register a schema for a subject and return it, unwrapped.

        Raises NotFoundError if the cluster does not exist, InvalidError for a value that is not allowed.

        ``POST /v2/databases/{database_cluster_uuid}/schema-registry``, scope ``database:create``.
        """
        return self._call(CREATE_KAFKA_SCHEMA, (database_cluster_uuid,), kwargs, body)

    def get_kafka_schema(
        self, database_cluster_uuid: str, subject_name: str, **kwargs: Unpack[t.Call]
    ) -> t.SchemaVersion:
        """Return the latest schema of a subject, unwrapped.

        Raises NotFoundError if the cluster or the subject does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/schema-registry/{subject_name}``, scope ``database:read``.
        """
        return self._call(
            GET_KAFKA_SCHEMA,
            (
                database_cluster_uuid,
                subject_name,
            ),
            kwargs,
        )

    def delete_kafka_schema(
        self, database_cluster_uuid: str, subject_name: str, **kwargs: Unpack[t.Call]
    ) -> None:
        """Delete a subject with all versions of its schema.

        Raises NotFoundError if the cluster or the subject does not exist.

        ``DELETE /v2/databases/{database_cluster_uuid}/schema-registry/{subject_name}``, scope
        ``database:delete``.
        """
        return self._call(
            DELETE_KAFKA_SCHEMA,
            (
                database_cluster_uuid,
                subject_name,
            ),
            kwargs,
        )

    def get_kafka_schema_version(
        self, database_cluster_uuid: str, subject_name: str, version: str, **kwargs: Unpack[t.Call]
    ) -> t.SchemaVersion:
        """Return one version of a subject's schema, unwrapped; ``latest`` is a version too.

        Raises NotFoundError if the cluster or the subject or the version does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/schema-registry/{subject_name}/versions/{version}``, scope
        ``database:read``.
        """
        return self._call(
            GET_KAFKA_SCHEMA_VERSION,
            (
                database_cluster_uuid,
                subject_name,
                version,
            ),
            kwargs,
        )

    def get_kafka_schema_config(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.SchemaConfig:
        """Return the compatibility level of all subjects.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/schema-registry/config``, scope ``database:read``.
        """
        return self._call(GET_KAFKA_SCHEMA_CONFIG, (database_cluster_uuid,), kwargs)

    def update_kafka_schema_config(
        self, database_cluster_uuid: str, body: t.SchemaConfigUpdate | None = None, **kwargs: Unpack[t.Call]
    ) -> t.SchemaConfig:
        """Set the compatibility level of all subjects.

        Raises NotFoundError if the cluster does not exist, InvalidError for a value that is not allowed.

        ``PUT /v2/databases/{database_cluster_uuid}/schema-registry/config``, scope ``database:write``.
        """
        return self._call(UPDATE_KAFKA_SCHEMA_CONFIG, (database_cluster_uuid,), kwargs, body)

    def get_kafka_schema_subject_config(
        self, database_cluster_uuid: str, subject_name: str, **kwargs: Unpack[t.Call]
    ) -> t.SchemaSubjectConfig:
        """Return the compatibility level of one subject.

        Raises NotFoundError if the cluster or the subject does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/schema-registry/config/{subject_name}``, scope
        ``database:read``.
        """
        return self._call(
            GET_KAFKA_SCHEMA_SUBJECT_CONFIG,
            (
                database_cluster_uuid,
                subject_name,
            ),
            kwargs,
        )

    def update_kafka_schema_subject_config(
        self,
        database_cluster_uuid: str,
        subject_name: str,
        body: t.SchemaConfigUpdate | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.SchemaSubjectConfig:
        """Set the compatibility level of one subject.

        Raises NotFoundError if the cluster or the subject does not exist, InvalidError for a value that is
        not allowed.

        ``PUT /v2/databases/{database_cluster_uuid}/schema-registry/config/{subject_name}``, scope
        ``database:write``.
        """
        return self._call(
            UPDATE_KAFKA_SCHEMA_SUBJECT_CONFIG,
            (
                database_cluster_uuid,
                subject_name,
            ),
            kwargs,
            body,
        )

    def get_eviction_policy(
        self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]
    ) -> t.EvictionPolicyResponse:
        """Return which keys a Redis or Valkey cluster evicts when it is full.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/eviction_policy``, scope ``database:read``.
        """
        return self._call(GET_EVICTION_POLICY, (database_cluster_uuid,), kwargs)

    def update_eviction_policy(
        self, database_cluster_uuid: str, body: t.EvictionPolicyUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Set which keys a Redis or Valkey cluster evicts when it is full.

        Raises NotFoundError if the cluster does not exist, InvalidError for a value that is not allowed.

        ``PUT /v2/databases/{database_cluster_uuid}/eviction_policy``, scope ``database:update``.
        """
        return self._call(UPDATE_EVICTION_POLICY, (database_cluster_uuid,), kwargs, body)

    def get_sql_mode(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.SqlMode:
        """Return the global SQL modes of a MySQL cluster as ``{"sql_mode": "ANSI,…"}``.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/sql_mode``, scope ``database:read``.
        """
        return self._call(GET_SQL_MODE, (database_cluster_uuid,), kwargs)

    def update_sql_mode(self, database_cluster_uuid: str, body: t.SqlMode, **kwargs: Unpack[t.Call]) -> None:
        """Replace the global SQL modes of a MySQL cluster.

        Raises NotFoundError if the cluster does not exist, InvalidError for a value that is not allowed.

        ``PUT /v2/databases/{database_cluster_uuid}/sql_mode``, scope ``database:update``.
        """
        return self._call(UPDATE_SQL_MODE, (database_cluster_uuid,), kwargs, body)

    def list_opeasearch_indexes(
        self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]
    ) -> t.IndexListResponse:
        """Return the indexes of an OpenSearch cluster as ``{"indexes": [{…}]}``; the name is misspelt in pydo
        too.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/indexes``, scope ``database:read``.
        """
        return self._call(LIST_OPEASEARCH_INDEXES, (database_cluster_uuid,), kwargs)

    def delete_opensearch_index(
        self, database_cluster_uuid: str, index_name: str, **kwargs: Unpack[t.Call]
    ) -> None:
        """Delete an index with its documents.

        Raises NotFoundError if the cluster or the index does not exist.

        ``DELETE /v2/databases/{database_cluster_uuid}/indexes/{index_name}``, scope ``database:delete``.
        """
        return self._call(
            DELETE_OPENSEARCH_INDEX,
            (
                database_cluster_uuid,
                index_name,
            ),
            kwargs,
        )
