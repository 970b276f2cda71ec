# Made from _async/settings.py by tools/unasync.py; change that one.

"""Settings of a cluster: configuration, growth, names, sources; and the account's metrics login."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import Resource

if TYPE_CHECKING:
    from typing import Unpack

    from .. import types as t


class Settings(Resource):
    """The operations of ``client.databases`` on settings."""

    def get_config(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.ConfigResponse:
        """Return the configuration of a cluster, as ``{"config": {…}}``; which keys depends on the engine.

        Raises NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/config``, scope ``database:read``.
        """
        return self._call(op.GET_CONFIG, (database_cluster_uuid,), kwargs)

    def patch_config(
        self, database_cluster_uuid: str, body: t.ConfigUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Change the given keys of the configuration; the others stay.

        Raises InvalidError for a key or a value that the engine does not take.

        ``PATCH /v2/databases/{database_cluster_uuid}/config``, scope ``database:update``.
        """
        return self._call(op.PATCH_CONFIG, (database_cluster_uuid,), kwargs, body)

    def get_autoscale(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.AutoscaleResponse:
        """Return whether and how the disk of a cluster grows by itself.

        Raises NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/autoscale``, scope ``database:read``.
        """
        return self._call(op.GET_AUTOSCALE, (database_cluster_uuid,), kwargs)

    def update_autoscale(
        self, database_cluster_uuid: str, body: t.AutoscaleUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Choose whether and how the disk of a cluster grows by itself.

        Raises InvalidError for a threshold or a step outside what is allowed.

        ``PUT /v2/databases/{database_cluster_uuid}/autoscale``, scope ``database:update``.
        """
        return self._call(op.UPDATE_AUTOSCALE, (database_cluster_uuid,), kwargs, body)

    def get_do_settings(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.DoSettingsResponse:
        """Return the names, besides its own, for which the certificate of a cluster is valid.

        Raises NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/do_settings``, scope ``database:read``.
        """
        return self._call(op.GET_DO_SETTINGS, (database_cluster_uuid,), kwargs)

    def update_do_settings(
        self, database_cluster_uuid: str, body: t.DoSettingsUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Replace the names, besides its own, for which the certificate of a cluster is valid (at most 16).

        Raises InvalidError for a name that is none.

        ``PUT /v2/databases/{database_cluster_uuid}/do_settings``, scope ``database:update``.
        """
        return self._call(op.UPDATE_DO_SETTINGS, (database_cluster_uuid,), kwargs, body)

    def list_firewall_rules(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.FirewallResponse:
        """Return the trusted sources of a cluster, as ``{"rules": [{…}]}``; none means that all may connect.

        Raises NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/firewall``, scope ``database:read``.
        """
        return self._call(op.LIST_FIREWALL_RULES, (database_cluster_uuid,), kwargs)

    def update_firewall_rules(
        self, database_cluster_uuid: str, body: t.FirewallUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Replace all trusted sources of a cluster; an empty list lets all connect.

        A rule that stays keeps its ``uuid`` and ``created_at``.  Raises InvalidError for a source that is
        none.

        ``PUT /v2/databases/{database_cluster_uuid}/firewall``, scope ``database:update``.
        """
        return self._call(op.UPDATE_FIREWALL_RULES, (database_cluster_uuid,), kwargs, body)

    def get_cluster_metrics_credentials(self, **kwargs: Unpack[t.Call]) -> t.MetricsCredentialsResponse:
        """Return the name and the password with which the metrics of every cluster are read.

        Raises ForbiddenError for a token without both scopes.

        ``GET /v2/databases/metrics/credentials``, scope ``database:update`` and
        ``database:view_credentials``.
        """
        return self._call(op.GET_CLUSTER_METRICS_CREDENTIALS, (), kwargs)

    def update_cluster_metrics_credentials(
        self, body: t.MetricsCredentialsUpdate | None = None, **kwargs: Unpack[t.Call]
    ) -> None:
        """Replace the name and the password with which the metrics of every cluster are read.

        Raises InvalidError for a name or a password that is not allowed.

        ``PUT /v2/databases/metrics/credentials``, scope ``database:update``.
        """
        return self._call(op.UPDATE_CLUSTER_METRICS_CREDENTIALS, (), kwargs, body)
