"""What a Cenote service has beside the reference: its audit trail, its tokens, its hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import AsyncResource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from typing import Unpack

    from .. import types as t


class AsyncCenote(AsyncResource):
    """The operations of ``client.cenote``; most need the scope ``cenote:admin``."""

    async def list_audit(
        self,
        *,
        cluster_uuid: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.AuditResponse:
        """Return who has changed what, and whose calls were refused, latest first, as ``{"entries": [{…}]}``.

        With ``cluster_uuid``, of one cluster, which may be deleted.  Raises ForbiddenError without the scope.

        ``GET /v2/cenote/audit``, scope ``cenote:admin``.
        """
        query = {"cluster_uuid": cluster_uuid, "page": page, "per_page": per_page}
        return await self._call(op.LIST_AUDIT, (), kwargs, query=query)

    def iter_audit(
        self, *, cluster_uuid: str | None = None, per_page: int = 200, **kwargs: Unpack[t.Call]
    ) -> AsyncIterator[t.AuditEntry]:
        """Go through the whole audit trail, latest first, asking for page after page as they are needed.

        Raises, at the first step, what ``list_audit`` raises.
        """
        return self._iterate(op.LIST_AUDIT, (), kwargs, "entries", per_page, cluster_uuid=cluster_uuid)

    async def list_tokens(self, **kwargs: Unpack[t.Call]) -> t.TokenListResponse:
        """Return all tokens, the oldest first, without their texts, as ``{"tokens": [{…}]}``.

        ``GET /v2/cenote/tokens``, scope ``cenote:admin``.
        """
        return await self._call(op.LIST_TOKENS, (), kwargs)

    async def create_token(self, body: t.TokenCreate, **kwargs: Unpack[t.Call]) -> t.TokenResponse:
        """Make a token, and return it as ``{"token": {…}}``: no other answer shows its text.

        Raises InvalidError for a scope that is none or an end that is over.

        ``POST /v2/cenote/tokens``, scope ``cenote:admin``.
        """
        return await self._call(op.CREATE_TOKEN, (), kwargs, body)

    async def revoke_token(self, token_id: str, **kwargs: Unpack[t.Call]) -> None:
        """Revoke a token; whoever uses it is refused from then on.

        Raises NotFoundError when there is none with this id.

        ``DELETE /v2/cenote/tokens/{token_id}``, scope ``cenote:admin``.
        """
        return await self._call(op.REVOKE_TOKEN, (token_id,), kwargs)

    async def get_own_token(self, **kwargs: Unpack[t.Call]) -> t.TokenResponse:
        """Return the token that makes this call, without its text, as ``{"token": {…}}``; every token may.

        ``GET /v2/cenote/token``.
        """
        return await self._call(op.GET_OWN_TOKEN, (), kwargs)

    async def list_hosts(self, **kwargs: Unpack[t.Call]) -> t.HostListResponse:
        """Return the machines that are up, and what of them is promised, as ``{"hosts": [{…}]}``.

        ``GET /v2/cenote/hosts``, scope ``cenote:admin``.
        """
        return await self._call(op.LIST_HOSTS, (), kwargs)

    async def list_activity(
        self, cluster_uuids: Sequence[str], **kwargs: Unpack[t.Call]
    ) -> t.ActivityResponse:
        """Return what goes on in the pools of up to 100 clusters, as ``{"activity": [{…}]}``.

        A cluster that is not there is left out.  Raises InvalidError for more than 100.

        ``GET /v2/cenote/activity``, scope ``database:read``.
        """
        return await self._call(
            op.LIST_ACTIVITY, (), kwargs, query={"cluster_uuids": ",".join(cluster_uuids)}
        )
