"""Tokens with which other hosts join, an extension of Cenote for the scope ``cenote:admin``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPMethod
from uuid import UUID, uuid4

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api import schema_fields
from cenote.api.auth import ADMIN
from cenote.api.call import Call
from cenote.api.operation import Body, answer, no_content, operation
from cenote.errors import Conflict, Invalid, NotFound, Unavailable
from cenote.http.routing import Response
from cenote.model.fleet_records import ALL_ROLES, HostRole, JoinToken
from cenote.security import fleet_certificates, join_tokens
from cenote.security.join_tokens import JoinText

PATH = "/v2/cenote/hosts/tokens"
LIFETIME, LONGEST = timedelta(hours=1), timedelta(days=7)


class CreateHostToken(Body):
    """The roles that a host may have, by default all, and the expiry, by default in an hour."""

    roles: schema_fields.HostRoles = msgspec.field(default_factory=lambda: list(map(str, ALL_ROLES)))
    expires_at: datetime | None = None


class HostTokenView(msgspec.Struct, kw_only=True):
    """A token for one host; its text, and the command to type there, are shown only when it is created."""

    id: UUID
    roles: list[str]
    created_at: datetime
    expires_at: datetime
    token: str | UnsetType = UNSET
    command: str | UnsetType = UNSET


class HostTokenAnswer(msgspec.Struct):
    host_token: HostTokenView


class HostTokensAnswer(msgspec.Struct):
    """``reached_at`` is where other hosts ask to join; null for a service that runs without --address."""

    host_tokens: list[HostTokenView]
    reached_at: str | None


@operation(HTTPMethod.GET, PATH, scope=ADMIN, answer=HostTokensAnswer)
async def list_host_tokens(request: Call) -> Response:
    """List the tokens with which hosts may join that were not used, without their texts."""
    found = [_view(token) for token in request.service.store.joining.tokens()]
    place = request.service.settings.fleet_place
    return answer(HostTokensAnswer(found, None if place is None else _text(place).place))


@operation(HTTPMethod.POST, PATH, scope=ADMIN, status=201, body=CreateHostToken, answer=HostTokenAnswer)
async def create_host_token(request: Call) -> Response:
    """Create a token with which one host may join; only this response shows its text."""
    body = await request.decoded(CreateHostToken)
    place = request.service.settings.fleet_place
    if place is None:
        raise Conflict(
            "No other host can join a service that runs without --address: start it again with "
            "'cenote serve --address ADDRESS', the address at which other hosts reach this one."
        )
    joining = request.service.store.joining
    authority = joining.authority()
    if authority is None:
        raise Unavailable("The certificate authority of the hosts is not there yet; try again.")
    now = datetime.now(UTC).replace(microsecond=0)
    text = _text(place, fleet_certificates.authority_digest(authority.certificate))
    token = JoinToken(
        id=uuid4(), roles=_roles(body.roles), created_at=now, expires_at=_expiry(body.expires_at, now)
    )
    await joining.add_token(text.digest, token, request.note())
    return answer(HostTokenAnswer(_view(token, text)), 201)


@operation(HTTPMethod.DELETE, PATH + "/{host_token_id}", scope=ADMIN, status=204)
async def revoke_host_token(request: Call) -> Response:
    """Revoke a token with which a host may join; hosts that have joined stay."""
    try:
        id = UUID(request.path_params["host_token_id"])
    except ValueError:
        raise NotFound from None
    await request.service.store.joining.remove_token(id, request.note())
    return no_content()


def _roles(given: list[str]) -> tuple[HostRole, ...]:
    try:
        found = tuple(sorted({HostRole(name) for name in given}))
    except ValueError:
        found = ()
    if not found:
        raise Invalid(f"roles: one or more of {', '.join(ALL_ROLES)}.")
    return found


def _expiry(given: datetime | None, now: datetime) -> datetime:
    if given is None:
        return now + LIFETIME
    if given.tzinfo is None:
        raise Invalid("expires_at: a time needs its offset from UTC, as in 2030-01-31T12:00:00Z.")
    if not now < given <= now + LONGEST:
        raise Invalid(f"expires_at: a time in the future, at most {LONGEST.days} days from now.")
    return given.astimezone(UTC)


def _text(place: tuple[str, int], fingerprint: str = "") -> JoinText:
    return JoinText(fingerprint, join_tokens.new_secret(), *place)


def _view(token: JoinToken, text: JoinText | None = None) -> HostTokenView:
    return HostTokenView(
        id=token.id,
        roles=[str(role) for role in token.roles],
        created_at=token.created_at,
        expires_at=token.expires_at,
        token=UNSET if text is None else text.reveal(),
        command=UNSET if text is None else f"cenote serve --address ADDRESS --join {text.reveal()}",
    )


ROUTES = (list_host_tokens, create_host_token, revoke_host_token)
