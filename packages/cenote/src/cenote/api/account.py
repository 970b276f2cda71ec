"""The account that some clients display: a service has one, without limits or e-mail."""

from __future__ import annotations

from http import HTTPMethod
from uuid import UUID

import msgspec

from cenote.api.auth import READ
from cenote.api.call import Call
from cenote.api.operation import answer, operation
from cenote.api.projects import OWNER
from cenote.http.routing import Response


class TeamView(msgspec.Struct, frozen=True):
    uuid: UUID
    name: str


class AccountView(msgspec.Struct, kw_only=True):
    """``name`` is the name of the token.  The limits are those of resources that Cenote does not have."""

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
    """Get the account: the name of the token and the host of the service."""
    host = request.service.settings.public_host
    return answer(AccountAnswer(AccountView(name=request.caller.token.name, email=f"cenote@{host}")))


ROUTES = (get_account,)
