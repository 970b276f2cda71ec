"""The account, which some clients show: there is one here, and it has no limits and no mailbox."""

from __future__ import annotations

from http import HTTPMethod
from uuid import UUID

import msgspec

from cenote.api.auth import READ
from cenote.api.projects import OWNER
from cenote.api.service import Call, answer, operation
from cenote.http.routing import Response


class TeamView(msgspec.Struct, frozen=True):
    uuid: UUID
    name: str


class AccountView(msgspec.Struct, kw_only=True):
    """``name`` is that of the token.  The limits are of things that are not here."""

    uuid: UUID = OWNER
    name: str
    email: str
    email_verified: bool = True
    status: str = "active"
    status_message: str = ""
    team: TeamView = TeamView(OWNER, "cenote")
    droplet_limit: int = 0
    floating_ip_limit: int = 0
    reserved_ip_limit: int = 0
    volume_limit: int = 0


class AccountAnswer(msgspec.Struct):
    account: AccountView


@operation(HTTPMethod.GET, "/v2/account", scope=READ, answer=AccountAnswer)
async def get_account(request: Call) -> Response:
    """Say whose account this is: the token's name, and the service's host."""
    host = request.service.settings.public_host
    return answer(AccountAnswer(AccountView(name=request.caller.token.name, email=f"cenote@{host}")))


ROUTES = (get_account,)
