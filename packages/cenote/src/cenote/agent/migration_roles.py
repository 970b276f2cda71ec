"""The roles of a source on the cluster: those that stay, with passwords, and stand-ins until the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from cenote.agent.migration_target import MigrationTarget
from cenote.errors import CenoteError
from cenote.importing.facts import Role, Settings, Source
from cenote.importing.role_plan import RolePlan
from cenote.model.migrations import ROLE
from cenote.rules.migration_checks import some

ROLE_MARK, STAND_IN_MARK = "role ", "stand-in "  # before the name of one that was made


@dataclass(slots=True)
class Roles:
    """Makes the roles that a database needs; ``made`` are those of the whole migration."""

    target: MigrationTarget
    verifiers: Mapping[str, str]
    made: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)

    async def make(self, source: Source, plan: RolePlan, there: frozenset[str]) -> None:
        """Have the roles of a plan, and let the role that restores act for the owners of objects."""
        roles = {role.name: role for role in source.roles}
        without: list[str] = []
        for name in (*plan.users, *plan.groups, *plan.stand_ins):
            if name in there:
                continue
            verifier = self.verifiers.get(name) if name in plan.users else None
            if name in plan.users and verifier is None:
                without.append(name)
            await self.target.note((STAND_IN_MARK if name in plan.stand_ins else ROLE_MARK) + name)
            await self.target.as_admin(
                f"making the role {name}", _making(name, roles.get(name), verifier, login=name in plan.users)
            )
            self.made.add(name)
        if without:
            self.warnings.append(
                f"The source does not tell the passwords of {some(without)}: reset them to log in."
            )
        for role in source.roles:
            if role.attributes and role.name in (*plan.users, *plan.groups) and role.name not in there:
                self.warnings.append(f"Role {role.name} is made without {', '.join(role.attributes)}.")
        for group, member, admin in plan.memberships:
            option = SQL(" WITH ADMIN OPTION" if admin else "")
            joining = SQL("GRANT {} TO {}{}").format(Identifier(group), Identifier(member), option)
            await self._try(f"making {member} a member of {group}", joining)
        for name in sorted(lasting(plan)):
            await self.target.borrow(name)

    async def configure(self, source: Source, database: str, names: frozenset[str]) -> None:
        """Set what the source has by ALTER DATABASE and ALTER ROLE … SET."""
        for settings in source.settings:
            if settings.role not in names and (settings.role or not settings.in_database):
                continue
            for name, value in settings.values:
                whose = f"role {settings.role}" if settings.role else f"database {database}"
                await self._try(f"setting {name} of {whose}", *_setting(settings, database, name, value))

    async def _try(self, what: str, *statements: SQL | Composed) -> None:
        try:
            await self.target.as_admin(what, *statements)
        except (CenoteError, psycopg.Error) as error:
            self.warnings.append(f"Left out: {error}")


def lasting(plan: RolePlan) -> frozenset[str]:
    """Return the roles that may own objects of the cluster."""
    return frozenset({*plan.users, *plan.groups, *plan.kept}) - {ROLE}


def _making(name: str, role: Role | None, verifier: str | None, *, login: bool) -> Composed:
    inherits = SQL("INHERIT" if role is None or role.inherits else "NOINHERIT")
    password = SQL("") if verifier is None else SQL("PASSWORD {}").format(Literal(verifier))
    words = (SQL("LOGIN" if login else "NOLOGIN"), inherits, password)
    return SQL("CREATE ROLE {} {} {} {}").format(Identifier(name), *words)


def _setting(settings: Settings, database: str, name: str, value: str) -> Iterator[SQL | Composed]:
    yield SQL("SELECT set_config({}, {}, true)").format(Literal(name), Literal(value))
    setting = SQL(".").join(map(Identifier, name.split(".")))
    if not settings.role:
        yield SQL("ALTER DATABASE {} SET {} FROM CURRENT").format(Identifier(database), setting)
        return
    where = SQL(" IN DATABASE {}").format(Identifier(database)) if settings.in_database else SQL("")
    yield SQL("ALTER ROLE {}{} SET {} FROM CURRENT").format(Identifier(settings.role), where, setting)
