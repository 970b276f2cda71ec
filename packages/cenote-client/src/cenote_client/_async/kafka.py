"""Topics and schemas of a Kafka cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import AsyncResource

if TYPE_CHECKING:
    from typing import Unpack

    from .. import types as t


class AsyncKafka(AsyncResource):
    """The operations of ``client.databases`` on kafka."""

    async def list_kafka_topics(
        self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]
    ) -> t.TopicListResponse:
        """Return the topics of a Kafka cluster, as ``{"topics": [{…}]}``.

        Raises NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/topics``, scope ``database:read``.
        """
        return await self._call(op.LIST_KAFKA_TOPICS, (database_cluster_uuid,), kwargs)

    async def create_kafka_topic(
        self, database_cluster_uuid: str, body: t.TopicCreate | None = None, **kwargs: Unpack[t.Call]
    ) -> t.TopicResponse:
        """Create a topic, and return it as ``{"topic": {…}}``.

        Raises InvalidError for a name that is taken or a configuration that is not allowed.

        ``POST /v2/databases/{database_cluster_uuid}/topics``, scope ``database:create``.
        """
        return await self._call(op.CREATE_KAFKA_TOPIC, (database_cluster_uuid,), kwargs, body)

    async def get_kafka_topic(
        self, database_cluster_uuid: str, topic_name: str, **kwargs: Unpack[t.Call]
    ) -> t.TopicResponse:
        """Return one topic with its partitions and configuration, as ``{"topic": {…}}``.

        Raises NotFoundError when the cluster or the topic is not there.

        ``GET /v2/databases/{database_cluster_uuid}/topics/{topic_name}``, scope ``database:read``.
        """
        return await self._call(op.GET_KAFKA_TOPIC, (database_cluster_uuid, topic_name), kwargs)

    async def update_kafka_topic(
        self,
        database_cluster_uuid: str,
        topic_name: str,
        body: t.TopicUpdate | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.TopicResponse:
        """Change a topic, and return it as ``{"topic": {…}}``.

        Raises InvalidError for fewer partitions than there are.

        ``PUT /v2/databases/{database_cluster_uuid}/topics/{topic_name}``, scope ``database:update``.
        """
        return await self._call(op.UPDATE_KAFKA_TOPIC, (database_cluster_uuid, topic_name), kwargs, body)

    async def delete_kafka_topic(
        self, database_cluster_uuid: str, topic_name: str, **kwargs: Unpack[t.Call]
    ) -> None:
        """Remove a topic with its messages.

        Raises NotFoundError when the cluster or the topic is not there.

        ``DELETE /v2/databases/{database_cluster_uuid}/topics/{topic_name}``, scope ``database:delete``.
        """
        return await self._call(op.DELETE_KAFKA_TOPIC, (database_cluster_uuid, topic_name), kwargs)

    async def list_kafka_schemas(
        self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]
    ) -> t.SchemaListResponse:
        """Return the schemas of a Kafka cluster, as ``{"subjects": [{…}]}``.

        Raises NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/schema-registry``, scope ``database:read``.
        """
        return await self._call(op.LIST_KAFKA_SCHEMAS, (database_cluster_uuid,), kwargs)

    async def create_kafka_schema(
        self, database_cluster_uuid: str, body: t.SchemaCreate, **kwargs: Unpack[t.Call]
    ) -> t.Schema:
        """Register a schema for a subject, and return it, bare.

        Raises InvalidError for a schema that cannot be read.

        ``POST /v2/databases/{database_cluster_uuid}/schema-registry``, scope ``database:create``.
        """
        return await self._call(op.CREATE_KAFKA_SCHEMA, (database_cluster_uuid,), kwargs, body)

    async def get_kafka_schema(
        self, database_cluster_uuid: str, subject_name: str, **kwargs: Unpack[t.Call]
    ) -> t.SchemaVersion:
        """Return the latest schema of a subject, bare.

        Raises NotFoundError when the cluster or the subject is not there.

        ``GET /v2/databases/{database_cluster_uuid}/schema-registry/{subject_name}``, scope ``database:read``.
        """
        return await self._call(op.GET_KAFKA_SCHEMA, (database_cluster_uuid, subject_name), kwargs)

    async def delete_kafka_schema(
        self, database_cluster_uuid: str, subject_name: str, **kwargs: Unpack[t.Call]
    ) -> None:
        """Remove a subject with all versions of its schema.

        Raises NotFoundError when the cluster or the subject is not there.

        ``DELETE /v2/databases/{database_cluster_uuid}/schema-registry/{subject_name}``, scope
        ``database:delete``.
        """
        return await self._call(op.DELETE_KAFKA_SCHEMA, (database_cluster_uuid, subject_name), kwargs)

    async def get_kafka_schema_version(
        self, database_cluster_uuid: str, subject_name: str, version: str, **kwargs: Unpack[t.Call]
    ) -> t.SchemaVersion:
        """Return one version of the schema of a subject, bare; ``latest`` is a version too.

        Raises NotFoundError when the cluster, the subject or the version is not there.

        ``GET /v2/databases/{database_cluster_uuid}/schema-registry/{subject_name}/versions/{version}``, scope
        ``database:read``.
        """
        return await self._call(
            op.GET_KAFKA_SCHEMA_VERSION, (database_cluster_uuid, subject_name, version), kwargs
        )

    async def get_kafka_schema_config(
        self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]
    ) -> t.SchemaConfig:
        """Return how compatible later schemas must be, for all subjects.

        Raises NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/schema-registry/config``, scope ``database:read``.
        """
        return await self._call(op.GET_KAFKA_SCHEMA_CONFIG, (database_cluster_uuid,), kwargs)

    async def update_kafka_schema_config(
        self, database_cluster_uuid: str, body: t.SchemaConfigUpdate | None = None, **kwargs: Unpack[t.Call]
    ) -> t.SchemaConfig:
        """Choose how compatible later schemas must be, for all subjects.

        Raises InvalidError for a level that is none.

        ``PUT /v2/databases/{database_cluster_uuid}/schema-registry/config``, scope ``database:write``.
        """
        return await self._call(op.UPDATE_KAFKA_SCHEMA_CONFIG, (database_cluster_uuid,), kwargs, body)

    async def get_kafka_schema_subject_config(
        self, database_cluster_uuid: str, subject_name: str, **kwargs: Unpack[t.Call]
    ) -> t.SchemaSubjectConfig:
        """Return how compatible later schemas of one subject must be.

        Raises NotFoundError when the cluster or the subject is not there.

        ``GET /v2/databases/{database_cluster_uuid}/schema-registry/config/{subject_name}``, scope
        ``database:read``.
        """
        return await self._call(
            op.GET_KAFKA_SCHEMA_SUBJECT_CONFIG, (database_cluster_uuid, subject_name), kwargs
        )

    async def update_kafka_schema_subject_config(
        self,
        database_cluster_uuid: str,
        subject_name: str,
        body: t.SchemaConfigUpdate | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.SchemaSubjectConfig:
        """Choose how compatible later schemas of one subject must be.

        Raises InvalidError for a level that is none.

        ``PUT /v2/databases/{database_cluster_uuid}/schema-registry/config/{subject_name}``, scope
        ``database:write``.
        """
        return await self._call(
            op.UPDATE_KAFKA_SCHEMA_SUBJECT_CONFIG, (database_cluster_uuid, subject_name), kwargs, body
        )
