"""Somebody who creates, changes and deletes all day, and remembers what was answered.

Each customer has one cluster, and asks for one thing at a time: so there is at most one request of which
it cannot know whether it happened.
"""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx
import psycopg

from tests.support.service import SMALLEST, tried
from tests.support.waiting import wait_until

READY_SECONDS = 60
_SETTING = "log_min_duration_statement"
MOST = 4  # pools, users and databases of each customer


@dataclass
class Known:
    """A cluster as it was answered: passwords by user, databases, a setting, the fields of each pool."""

    id: str
    users: dict[str, str]
    databases: set[str] = field(default_factory=lambda: {"defaultdb"})
    pools: dict[str, dict[str, Any]] = field(default_factory=dict)
    logged_from: int = -1  # log_min_duration_statement


State = Known | None


@dataclass(frozen=True)
class Request:
    """``after`` says what the state is once it happened, given its answer, or what is seen in its place."""

    method: str
    path: str
    expected: int
    after: Callable[[State, Any], State]
    body: dict[str, Any] | None = None
    names: str = ""  # what of the customer's is made, so that asking again is refused: "pool", "cluster", …

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.body or ''}"


class Customer:
    def __init__(self, name: str, http: httpx.Client, chance: random.Random) -> None:
        self.name = name
        self.known: State = None
        self.answered = 0
        self.torn = 0  # requests without an answer
        self._http, self._chance = http, chance
        self._made = 0
        self._unanswered: Request | None = None
        self._marked: set[str] = set()  # clusters that hold a row of ours

    # -- Work

    def work(self, enough: threading.Event) -> None:
        """Ask for one thing after the other until told to stop, or until no answer comes."""
        while not enough.is_set() and self._unanswered is None:
            self._ask(self._wish())

    def _ask(self, request: Request) -> None:
        self._unanswered = request
        try:
            answer = self._http.request(request.method, request.path, json=request.body)
        except httpx.TransportError:
            self.torn += 1
            return
        if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:  # which promises nothing
            self.torn += 1
            return
        assert answer.status_code == request.expected, f"{request}: {answer.status_code} {answer.text}"
        self.known = request.after(copy.deepcopy(self.known), answer.json() if answer.content else None)
        self.answered += 1
        self._unanswered = None

    def _wish(self) -> Request:
        known = self.known
        if known is None:
            return self._new_cluster()
        used_users = {pool["user"] for pool in known.pools.values()}
        used_databases = {pool["db"] for pool in known.pools.values()}
        free_users = sorted(set(known.users) - used_users - {"doadmin"})
        free_databases = sorted(known.databases - used_databases - {"defaultdb"})
        wishes: list[Callable[[], Request]] = [lambda: self._reset(known), lambda: self._configure(known)]
        if len(known.pools) < MOST:
            wishes += [lambda: self._new_pool(known)] * 4
        if len(known.users) < MOST:
            wishes += [lambda: self._new_user(known)] * 2
        if len(known.databases) < MOST:
            wishes += [lambda: self._new_database(known)] * 2
        if known.pools:
            wishes += [lambda: self._change_pool(known)] * 2 + [lambda: self._remove(known, "pools")] * 2
        if free_users:
            wishes.append(lambda: self._remove(known, "users", free_users))
        if free_databases:
            wishes.append(lambda: self._remove(known, "dbs", free_databases))
        if self._made % 12 == 11:
            wishes = [lambda: self._remove_cluster(known)]
        self._made += 1
        return self._chance.choice(wishes)()

    def _name(self, kind: str) -> str:
        """Return a name that may have been used before, for something that is gone."""
        taken: set[str] = set()
        if self.known is not None:
            taken = {*self.known.pools, *self.known.users, *self.known.databases}
        return self._chance.choice([name for n in range(2 * MOST) if (name := f"{kind}-{n}") not in taken])

    def _new_cluster(self) -> Request:
        def after(_: State, answer: Any) -> State:
            if answer is None:
                return None
            created = answer["database"]
            return Known(created["id"], {"doadmin": created["users"][0]["password"]})

        body = SMALLEST | {"name": self.name}
        return Request("POST", "/v2/databases", 201, after, body, names="cluster")

    def _remove_cluster(self, known: Known) -> Request:
        return Request("DELETE", f"/v2/databases/{known.id}", 204, lambda _before, _answer: None)

    def _new_pool(self, known: Known) -> Request:
        wanted = {"name": self._name("pool"), **self._pool_of(known)}

        def after(before: State, _: Any) -> State:
            assert before is not None
            before.pools[wanted["name"]] = wanted
            return before

        path = f"/v2/databases/{known.id}/pools"
        return Request("POST", path, 201, after, wanted, names="pool")

    def _change_pool(self, known: Known) -> Request:
        name = self._chance.choice(sorted(known.pools))
        wanted = self._pool_of(known)

        def after(before: State, _: Any) -> State:
            assert before is not None
            before.pools[name] = {"name": name, **wanted}
            return before

        return Request("PUT", f"/v2/databases/{known.id}/pools/{name}", 204, after, wanted)

    def _pool_of(self, known: Known) -> dict[str, Any]:
        chance = self._chance
        return {
            "mode": chance.choice(["transaction", "session", "statement"]),
            "size": chance.randint(1, 3),
            "db": chance.choice(sorted(known.databases)),
            "user": chance.choice(["", *sorted(known.users)]),
        }

    def _new_user(self, known: Known) -> Request:
        name = self._name("user")

        def after(before: State, answer: Any) -> State:
            assert before is not None
            before.users[name] = answer["user"]["password"]
            return before

        return Request("POST", f"/v2/databases/{known.id}/users", 201, after, {"name": name}, names="user")

    def _reset(self, known: Known) -> Request:
        name = self._chance.choice(sorted(known.users))

        def after(before: State, answer: Any) -> State:
            assert before is not None
            before.users[name] = answer["user"]["password"]
            return before

        return Request("POST", f"/v2/databases/{known.id}/users/{name}/reset_auth", 200, after, {})

    def _configure(self, known: Known) -> Request:
        milliseconds = self._chance.choice([60_000, 70_000, 80_000])

        def after(before: State, _: Any) -> State:
            assert before is not None
            before.logged_from = milliseconds
            return before

        wanted = {"config": {_SETTING: milliseconds}}
        return Request("PATCH", f"/v2/databases/{known.id}/config", 200, after, wanted)

    def _new_database(self, known: Known) -> Request:
        name = self._name("db")

        def after(before: State, _: Any) -> State:
            assert before is not None
            before.databases.add(name)
            return before

        return Request("POST", f"/v2/databases/{known.id}/dbs", 201, after, {"name": name}, names="database")

    def _remove(self, known: Known, kind: str, names: list[str] | None = None) -> Request:
        name = self._chance.choice(names or sorted(known.pools))

        def after(before: State, _: Any) -> State:
            assert before is not None
            before.pools.pop(name, None)
            before.users.pop(name, None)
            before.databases.discard(name)
            return before

        return Request("DELETE", f"/v2/databases/{known.id}/{kind}/{name}", 204, after)

    # -- After a crash

    def settle(self) -> None:
        """Find out what became of the request without an answer: it happened as a whole, or not at all.

        What was to be made is asked for again, as clients do, and must be there in the end.
        """
        request, self._unanswered = self._unanswered, None
        seen = self._seen()
        if request is None:
            assert seen == self.known
            return
        after = request.after(copy.deepcopy(self.known), self._as_answered(request, seen))
        assert seen in (self.known, after), f"{request} happened in part: {seen}; before: {self.known}"
        happened = seen == after != self.known
        self.known = seen
        if request.names and happened:
            again = self._http.request(request.method, request.path, json=request.body)
            told = (again.status_code, again.json()["message"])
            assert told == (422, f"{request.names} name is not available"), f"{request}: {again.text}"
        elif request.names:
            self._ask(request)

    def accept(self) -> None:
        """Go on with what there is, whatever was answered."""
        self._unanswered, self.known = None, self._seen()

    def _as_answered(self, request: Request, seen: State) -> Any:
        """Return the part of the lost answer that only the service could know, from what is seen now."""
        if request.names == "cluster":
            return seen and {"database": {"id": seen.id, "users": [{"password": seen.users["doadmin"]}]}}
        if "/users" in request.path and request.method == "POST":
            name = (request.body or {}).get("name") or request.path.split("/")[-2]
            return {"user": {"password": seen.users.get(name) if seen else None}}
        return None

    def _seen(self) -> State:
        clusters = self._get("/v2/databases", "databases")
        mine = [cluster for cluster in clusters if cluster["name"] == self.name]
        assert len(mine) <= 1
        if not mine:
            return None
        path = f"/v2/databases/{mine[0]['id']}"
        return Known(
            mine[0]["id"],
            {user["name"]: user["password"] for user in self._get(f"{path}/users", "users")},
            {database["name"] for database in self._get(f"{path}/dbs", "dbs")},
            {
                pool["name"]: {key: pool[key] for key in ("name", "mode", "size", "db", "user")}
                for pool in self._get(f"{path}/pools", "pools")
            },
            self._get(f"{path}/config", "config").get(_SETTING, -1),
        )

    def _get(self, path: str, key: str) -> Any:
        answer = self._http.get(path, params={"per_page": 200})
        assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text}"
        return answer.json()[key]

    # -- What was answered works

    def check(self) -> None:
        """See that the cluster has what was answered and nothing else, and that all of it works."""
        known = self.known
        if known is None:
            return
        path = f"/v2/databases/{known.id}"
        cluster = self._http.get(path).json()["database"]
        direct = cluster["connection"]["uri"]
        wait_until(f"{self.name} takes connections", READY_SECONDS, lambda: tried(direct))
        expected = (sorted(known.users), sorted(known.databases), known.logged_from)
        with psycopg.connect(direct, autocommit=True) as connection:
            if known.id not in self._marked:
                connection.execute("CREATE TABLE kept AS SELECT 11 AS eleven")
                self._marked.add(known.id)
            assert connection.execute("SELECT eleven FROM kept").fetchone() == (11,)
            wait_until(
                f"{self.name} has the roles, databases and setting {expected} and no others",
                READY_SECONDS,
                lambda: connection.execute(_MADE).fetchone() == expected,
            )
        for pool in self._get(f"{path}/pools", "pools"):
            self._check_pool(known, pool)

    def _check_pool(self, known: Known, pool: dict[str, Any]) -> None:
        uri, name = pool["connection"]["uri"], pool["user"] or "doadmin"
        expected = f"{name}@{pool['db']}"
        question = "SELECT current_user || '@' || current_database()"
        assert pool["connection"]["password"] == known.users[name]
        wait_until(
            f"pool {pool['name']} of {self.name} answers {expected}",
            READY_SECONDS,
            lambda: tried(uri, question) == expected,
        )


# Besides what is of Cenote itself.
_MADE = """
SELECT ARRAY(SELECT rolname::text FROM pg_roles WHERE rolcanlogin AND NOT rolsuper ORDER BY rolname),
       ARRAY(SELECT datname::text FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'
             ORDER BY datname),
       (SELECT setting::int FROM pg_settings WHERE name = 'log_min_duration_statement')
"""
