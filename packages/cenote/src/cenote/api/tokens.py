"""API tokens, an extension of Cenote for the scope ``cenote:admin``."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api import auth, schema_fields
from cenote.api.auth import ADMIN
from cenote.api.call import Call
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.service import ANY
from cenote.errors import Invalid, NotFound
from cenote.http.routing import Response
from cenote.model.records import Token

PATH = "/v2/cenote/tokens"


class CreateToken(Body):
    """Name, scopes and expiry; without ``expires_at`` the token does not expire."""

    name: schema_fields.TokenName
    scopes: schema_fields.Scopes
    expires_at: datetime | None = None


class TokenView(msgspec.Struct, kw_only=True):
    """A token; its text is shown only when it is created."""

    id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    token: str | UnsetType = UNSET


class TokenAnswer(msgspec.Struct):
    token: TokenView


class TokensAnswer(msgspec.Struct):
    tokens: list[TokenView]


@operation(HTTPMethod.GET, PATH, scope=ADMIN, answer=TokensAnswer)
async def list_tokens(request: Call) -> Response:
    """List all tokens, oldest first, without their texts."""
    return answer(TokensAnswer([token_view(token) for token in request.service.store.tokens()]))


@operation(HTTPMethod.GET, "/v2/cenote/token", scope=ANY, answer=TokenAnswer)
async def get_own_token(request: Call) -> Response:
    """Get the token of this request: its name, scopes and expiry.

    Any valid token may call this.
    """
    return answer(TokenAnswer(token_view(request.caller.token)))


@operation(HTTPMethod.POST, PATH, scope=ADMIN, status=201, body=CreateToken, answer=TokenAnswer)
async def create_token(request: Call) -> Response:
    """Create a token; only this response shows its text."""
    body = await request.decoded(CreateToken)
    if not 1 <= len(body.name) <= 100 or not body.name.isprintable():
        raise Invalid("name: a token's name has 1 to 100 printable characters.")
    if body.expires_at is not None:
        if body.expires_at.tzinfo is None:
            raise Invalid("expires_at: a time needs its offset from UTC, as in 2030-01-31T12:00:00Z.")
        if body.expires_at <= datetime.now(UTC):
            raise Invalid("expires_at: the time is over.")
    text, token = auth.mint(body.name, body.scopes, body.expires_at)
    await request.service.store.add_token(auth.digest(text.reveal()), token, request.note())
    return answer(TokenAnswer(token_view(token, text.reveal())), 201)


@operation(HTTPMethod.DELETE, PATH + "/{token_id}", scope=ADMIN, status=204)
async def revoke_token(request: Call) -> Response:
    """Revoke a token."""
    try:
        id = UUID(request.path_params["token_id"])
    except ValueError:
        raise NotFound from None
    await request.service.store.revoke_token(id, request.note())
    return no_content()


def token_view(token: Token, text: str | None = None) -> TokenView:
    return TokenView(
        id=token.id,
        name=token.name,
        scopes=sorted(token.scopes),
        created_at=token.created_at,
        expires_at=token.expires_at,
        token=UNSET if text is None else text,
    )


ROUTES = (get_own_token, list_tokens, create_token, revoke_token)
