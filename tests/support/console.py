"""The console in a browser without scripts: pages, and forms that are filled in and submitted."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.support.service import Service


@dataclass
class Form:
    """A form and the values of its fields."""

    action: str
    method: str
    fields: dict[str, list[str]] = field(default_factory=dict)
    button: str = ""


class _Reader(HTMLParser):
    """Collects the forms and the visible text of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._form: Form | None = None
        self._select = ""
        self._in_button = self._in_option = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.elements.append((tag, given))
        name, value = given.get("name") or "", given.get("value") or ""
        if tag == "form":
            self._form = Form(given.get("action") or "", (given.get("method") or "get").lower())
            self.forms.append(self._form)
        elif self._form is None:
            return
        elif tag == "input" and name and given.get("type") not in ("radio", "checkbox"):
            self._form.fields[name] = [value]
        elif tag == "input" and name and "checked" in given:
            self._form.fields.setdefault(name, []).append(value)
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            if "selected" in given or self._select not in self._form.fields:
                self._form.fields[self._select] = [value]
                self._in_option = "value" not in given  # then its text is its value
        elif tag == "button":
            self._in_button = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "select":
            self._select = ""
        elif tag == "option":
            self._in_option = False
        elif tag == "button":
            self._in_button = False

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._in_option and self._form is not None:
            self._form.fields[self._select] = [data.strip()]
        if self._in_button and self._form is not None:
            self._form.button = f"{self._form.button}{data}".strip()


class Sheet:
    """A page of the console."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.status = answer.status_code
        self.path = answer.url.path
        self.source = answer.text
        reader = _Reader()
        reader.feed(self.source)
        self.forms = reader.forms
        self.elements = reader.elements
        self.text = " ".join(" ".join(reader.text).split())

    def form(self, button: str) -> Form:
        """Return the form with this button."""
        found = [form for form in self.forms if form.button == button]
        assert len(found) == 1, f"{self.path} has the buttons {[form.button for form in self.forms]}"
        return found[0]

    def has_form(self, button: str) -> bool:
        return any(form.button == button for form in self.forms)


class Visitor:
    """A user whose browser runs no scripts."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def open(self, path: str, expected: int = 200) -> Sheet:
        sheet = Sheet(self.http.get(path, headers={"accept": "text/html"}))
        assert sheet.status == expected, f"{path}: {sheet.status} {sheet.text[:600]}"
        return sheet

    def send(self, sheet: Sheet, button: str, expected: int = 200, **filled: str | list[str]) -> Sheet:
        """Fill in the form with this button, submit it, and return the resulting page."""
        form = sheet.form(button)
        fields: dict[str, str | list[str]] = {**form.fields, **filled}
        target = form.action.partition("#")[0] or sheet.path
        answer = self.http.request(
            form.method, target, data=fields, headers={"accept": "text/html", **self._from_here()}
        )
        reached = Sheet(answer)
        assert reached.status == expected, f"{target}: {reached.status} {reached.text[:600]}"
        return reached

    def sign_in(self, token: str, expected: int = 200) -> Sheet:
        return self.send(self.open("/console/sign-in"), "Sign in", expected, token=token)

    def _from_here(self) -> dict[str, str]:
        """The headers that browsers send with a form of the same site."""
        return {"origin": "null", "sec-fetch-site": "same-origin"}


@contextlib.contextmanager
def visitor(running: Service, *scopes: str) -> Iterator[Visitor]:
    """A user of the console, signed in with the administrator's token or a new one with these scopes.

    With an empty scope, not signed in at all.
    """
    variables = running.environment()
    token = variables["DIGITALOCEAN_TOKEN"]
    if any(scopes):
        options = [f"--scope={scope}" for scope in scopes]
        token = running.cenote("token", "create", "visitor", *options).strip()
    with httpx.Client(
        base_url=variables["DIGITALOCEAN_API_URL"],
        verify=ssl.create_default_context(cafile=variables["SSL_CERT_FILE"]),
        follow_redirects=True,
        timeout=60,
    ) as http:
        found = Visitor(http)
        if scopes != ("",):
            found.sign_in(token)
        yield found


def create(somebody: Visitor, name: str, size: str) -> Sheet:
    """Create a cluster, also when the host of the tests is said to be too small; return the next page."""
    made = somebody.send(somebody.open("/console/clusters/new"), "Create cluster", name=name, size=size)
    return somebody.send(made, "Create anyway") if made.has_form("Create anyway") else made


def base_of(cluster: dict[str, Any]) -> str:
    """Return the path of the pages of a cluster."""
    return f"/console/clusters/{cluster['id']}"


def id_in(sheet: Sheet) -> str:
    """Return the id of the cluster whose page this is."""
    return urlsplit(str(sheet.answer.url)).path.split("/")[3]
