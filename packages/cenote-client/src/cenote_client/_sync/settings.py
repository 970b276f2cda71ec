# Generated from _async/settings.py by tools/unasync.py; edit that file.

"""Settings of a cluster: configuration, autoscaling, host names, firewall; and the metrics credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import Resource

if TYPE_CHECKING:
    from typing import Unpack

    from .. import types as t


class Settings(Resource):
    """The methods of ``client.databases`` for settings."""

    def get_config(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.ConfigResponse:
        """Return the configuration of a cluster as ``{"config": {…}}``; its keys depend on the engine.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/config``, scope ``database:read``.
        """
        return self._call(op.GET_CONFIG, (database_cluster_uuid,), kwargs)

    def patch_config(
        self, database_cluster_uuid: str, body: t.ConfigUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Change the given keys of the configuration; other keys keep their values.

        Raises InvalidError for a key or a value that the engine does not accept.

        ``PATCH /v2/databases/{database_cluster_uuid}/config``, scope ``database:update``.
        """
        return self._call(op.PATCH_CONFIG, (database_cluster_uuid,), kwargs, body)

    def get_autoscale(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.AutoscaleResponse:
        """Return the storage autoscaling of a cluster as ``{"autoscale": {"storage": {…}}}``.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/autoscale``, scope ``database:read``.
        """
        return self._call(op.GET_AUTOSCALE, (database_cluster_uuid,), kwargs)

    def update_autoscale(
        self, database_cluster_uuid: str, body: t.AutoscaleUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Enable, configure or disable the storage autoscaling of a cluster.

        Raises InvalidError for a threshold (percent) or an increment (GiB) outside the allowed range.

        ``PUT /v2/databases/{database_cluster_uuid}/autoscale``, scope ``database:update``.
        """
        return self._call(op.UPDATE_AUTOSCALE, (database_cluster_uuid,), kwargs, body)

    def get_do_settings(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.DoSettingsResponse:
        """Return the additional host names in the certificate of a cluster.

        They are below ``{"do_settings": {"service_cnames": […]}}``.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/do_settings``, scope ``database:read``.
        """
        return self._call(op.GET_DO_SETTINGS, (database_cluster_uuid,), kwargs)

    def update_do_settings(
        self, database_cluster_uuid: str, body: t.DoSettingsUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Replace the additional host names in a cluster's certificate (at most 16).

        Raises InvalidError for an invalid host name.

        ``PUT /v2/databases/{database_cluster_uuid}/do_settings``, scope ``database:update``.
        """
        return self._call(op.UPDATE_DO_SETTINGS, (database_cluster_uuid,), kwargs, body)

    def list_firewall_rules(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.FirewallResponse:
        """Return the trusted sources of a cluster as ``{"rules": [{…}]}``; if empty, all may connect.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/firewall``, scope ``database:read``.
        """
        return self._call(op.LIST_FIREWALL_RULES, (database_cluster_uuid,), kwargs)

    def update_firewall_rules(
        self, database_cluster_uuid: str, body: t.FirewallUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Replace all trusted sources of a cluster; an empty list allows all addresses.

        An existing rule keeps its ``uuid`` and ``created_at``.  Raises InvalidError for an invalid source.

        ``PUT /v2/databases/{database_cluster_uuid}/firewall``, scope ``database:update``.
        """
        return self._call(op.UPDATE_FIREWALL_RULES, (database_cluster_uuid,), kwargs, body)

    def get_cluster_metrics_credentials(self, **kwargs: Unpack[t.Call]) -> t.MetricsCredentialsResponse:
        """Return the login of the metrics endpoints as ``{"credentials": {"basic_auth_username": …, …}}``.

        Raises ForbiddenError if the token lacks one of the scopes.

        ``GET /v2/databases/metrics/credentials``, scope ``database:update`` and
        ``database:view_credentials``.
        """
        return self._call(op.GET_CLUSTER_METRICS_CREDENTIALS, (), kwargs)

    def update_cluster_metrics_credentials(
        self, body: t.MetricsCredentialsUpdate | None = None, **kwargs: Unpack[t.Call]
    ) -> None:
        """Replace the user name and the password of the metrics endpoints of all clusters.

        Raises InvalidError for an invalid user name or password.

        ``PUT /v2/databases/metrics/credentials``, scope ``database:update``.
        """
        return self._call(op.UPDATE_CLUSTER_METRICS_CREDENTIALS, (), kwargs, body)
