"""Requests to the console, and the decorator that declares pages."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPMethod
from typing import Any

import msgspec

from cenote.console import sessions
from cenote.console.api_client import ApiClient, NotAllowed, SessionExpired
from cenote.console.rendering import Templates
from cenote.console.sessions import ConsoleSession, Seals
from cenote.http.routing import ASGIApp, Receive, Request, Response, Route, Scope, Send
from cenote.security.throttle import Throttle

ALL_SCOPES = "*"
MAX_BODY_BYTES = 256 * 1024
FORM_TOKEN = "form_token"  # noqa: S105 - the name of a field
PREVIOUS = "previous."  # prefix of a field's name: its value when the page was rendered
INVALID_FORM = (
    "This form has expired or does not belong to this console. Nothing was changed; please try again."
)


class Notice(msgspec.Struct, frozen=True):
    """What the next page says once about the last action.

    ``passing``: it describes a change in progress, and goes when that is over: ``status``, when the cluster
    is online again; ``force``, when its servers have all changes; empty, not before the next action.
    ``password_of``: the page of this cluster's users also shows this user's password (both as names).
    """

    text: str
    passing: str = ""
    password_of: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Console:
    """What all pages share."""

    api: ASGIApp
    seals: Seals
    pages: Templates
    throttle: Throttle


class FormFields(dict[str, str]):
    """The fields of a submitted form; a missing one is empty."""

    def __missing__(self, name: str) -> str:
        return ""

    def changed(self) -> FormFields:
        """Return the fields that the user changed; somebody else may have changed the others meanwhile."""
        return FormFields((name, text) for name, text in self.items() if text != self.get(PREVIOUS + name))


class ConsoleRequest(Request):
    """A request to the console; its session is required unless the page is public."""

    def __init__(self, console: Console, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.console = console

    @functools.cached_property
    def maybe_session(self) -> ConsoleSession | None:
        return self.console.seals.session(self.cookies.get(sessions.SESSION, ""))

    @property
    def current_session(self) -> ConsoleSession:
        session = self.maybe_session
        if session is None:
            raise SessionExpired
        return session

    @functools.cached_property
    def api(self) -> ApiClient:
        """The API, called with the token of the session."""
        return self.api_with(self.current_session.token)

    def api_with(self, token: str) -> ApiClient:
        host = self.headers.get("host", "localhost").encode("latin-1", "replace")
        return ApiClient(self.console.api, token, self.scope.get("client"), host)

    @functools.cached_property
    def notice(self) -> Notice | None:
        """What the last action left for this page; a script that refreshes parts of a page takes none."""
        if self.headers.get("sec-fetch-dest") == "empty":
            return None
        plain = self.console.seals.open(sessions.NOTICE, self.cookies.get(sessions.NOTICE, ""))
        try:
            return None if plain is None else msgspec.json.decode(plain, type=Notice)
        except msgspec.DecodeError:  # sealed by another version of the service
            return None

    def can(self, scope: str) -> bool:
        """Whether the token has a scope.  Pages hide what it does not allow; the API enforces it."""
        session = self.maybe_session
        return session is not None and not {scope, ALL_SCOPES}.isdisjoint(session.scopes)

    @property
    def address(self) -> str:
        """The address of the client."""
        client = self.scope.get("client")
        return client[0] if client else ""

    @property
    def wants_json(self) -> bool:
        """Whether a script sent the request."""
        return self.headers.get("accept", "").startswith("application/json")

    async def form_fields(self) -> FormFields:
        """Return the fields of the submitted form, stripped."""
        return FormFields((name, value.strip()) for name, value in await self.fields(MAX_BODY_BYTES))

    async def check_form(self) -> None:
        """Reject a form without this session's token, or one that a browser sends from another site."""
        # Under the policy "no-referrer" browsers send a form with the origin "null"; Sec-Fetch-Site is right.
        site, origin = self.headers.get("sec-fetch-site", ""), self.headers.get("origin", "")
        if site not in ("", "same-origin", "none"):
            raise NotAllowed(403, INVALID_FORM)
        if origin and not (origin == "null" and site) and origin != f"https://{self.headers.get('host', '')}":
            raise NotAllowed(403, INVALID_FORM)
        given = self.headers.get("x-form-token") or (await self.form_fields())[FORM_TOKEN]
        id = self._form_id()
        if not id or not self.console.seals.is_form_token(id, given):
            raise NotAllowed(403, INVALID_FORM)

    @property
    def form_token(self) -> str:
        """The token that the forms of this session contain."""
        return self.console.seals.form_token(self._form_id())

    def _form_id(self) -> str:
        session = self.maybe_session
        if session is not None:
            return session.id
        return (
            self.console.seals.open(sessions.SIGN_IN, self.cookies.get(sessions.SIGN_IN, "")) or b""
        ).decode()

    def render(
        self, template: str, status: int = 200, headers: Mapping[str, str] | None = None, **context: Any
    ) -> Response:
        """Return a page."""
        seals = self.console.seals
        cookies: list[tuple[str, str]] = []
        id = self._form_id()
        if not id:
            id = sessions.new_id()
            cookies.append(
                sessions.cookie(sessions.SIGN_IN, seals.seal(sessions.SIGN_IN, id.encode()), sessions.SECONDS)
            )
        if self.notice is not None:
            cookies.append(sessions.cookie(sessions.NOTICE, "", 0))
        body = self.console.pages.render(
            template,
            session=self.maybe_session,
            path=self.scope["path"],
            can=self.can,
            form_token=seals.form_token(id),
            notice=self.notice,
            now=time.time(),
            **context,
        )
        return Response(
            body=body.encode(),
            media_type="text/html",
            status_code=status,
            headers=[*(headers or {}).items(), *cookies],
        )

    def redirect(
        self,
        path: str,
        *,
        notice: str = "",
        passing: str = "",
        password_of: tuple[str, str] = ("", ""),
        cookies: tuple[tuple[str, str], ...] = (),
    ) -> Response:
        """Redirect to another page, which shows a ``Notice`` once.

        Of a change that is not in force yet it says that instead.
        """
        set_cookies = list(cookies)
        if notice and self.maybe_session is not None and self.api.pending:
            notice = f"The change is recorded, but not in force yet: {self.api.pending}."
            passing = "force"
        if notice:
            left = msgspec.json.encode(Notice(notice, passing, password_of))
            sealed = self.console.seals.seal(sessions.NOTICE, left)
            set_cookies.append(sessions.cookie(sessions.NOTICE, sealed, sessions.NOTICE_SECONDS))
        return Response(
            status_code=303,
            media_type="text/plain",
            headers=[("location", path), *set_cookies],
        )

    def json(self, value: Any) -> Response:  # type: ignore[override]
        return Response(msgspec.json.encode(value), media_type="application/json")


View = Callable[[ConsoleRequest], Awaitable[Response]]


def page(method: HTTPMethod, path: str, *, public: bool = False) -> Callable[[View], Route[ConsoleRequest]]:
    """Make a route of a coroutine: it requires a session, unless it is public, and a valid form token."""

    def declare(view: View) -> Route[ConsoleRequest]:
        async def handle(request: ConsoleRequest) -> Response:
            if not public:
                _ = request.current_session
            if method is not HTTPMethod.GET:
                await request.check_form()
            return await view(request)

        handle.__name__ = handle.__qualname__ = getattr(view, "__name__", "handle")
        return Route(method, path, handle)

    return declare
