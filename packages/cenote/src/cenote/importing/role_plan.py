"""Which roles are created on the target, and what becomes of those that are not.

A dump names roles: as owners, in grants and in policies.  A role that the target is not meant to have gets a
stand-in of the same name while the import runs.  At the end its objects are given to the administrator, and
PostgreSQL takes it out of grants and policies when it is dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cenote.importing.facts import Role, Source, Target

# As the API's rules for names of users; the API decides, and what it refuses is created by SQL.
_API_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@$+-]{0,62}")
_RESERVED = ("pg_", "cenote_")
# Roles of hosted services: they stand for the provider, not for a user of the database.
_PROVIDERS = re.compile(
    r"(?:rds|azure|cloudsql|alloydb|supabase|neon|aiven)[a-z_]*|avnadmin|_dodb|_doadmin_?\w*|dbsuperuser|tsdbadmin"
)


@dataclass(frozen=True, slots=True)
class RolePlan:
    """``users`` are created through the API, ``groups`` by SQL without login; ``kept`` are there already.

    ``stand_ins`` exist during the import only.  ``unusable`` exist on the target, but the administrator may
    not give them anything: their objects belong to the administrator.
    """

    users: tuple[str, ...]
    groups: tuple[str, ...]
    kept: tuple[str, ...]
    stand_ins: tuple[str, ...]
    unusable: tuple[str, ...]
    memberships: tuple[tuple[str, str, bool], ...]
    """Role, its member, and the admin option."""

    @property
    def present(self) -> frozenset[str]:
        """The roles that may own objects during the restore."""
        return frozenset((*self.users, *self.groups, *self.kept, *self.stand_ins))

    @property
    def lasting(self) -> frozenset[str]:
        """The roles of the source that the target has afterwards."""
        return frozenset((*self.users, *self.groups, *self.kept, *self.unusable))


def plan(source: Source, target: Target, *, create: bool) -> RolePlan:
    users: list[str] = []
    groups: list[str] = []
    kept: list[str] = []
    stand_ins: list[str] = []
    unusable: list[str] = []
    for role in source.roles:
        if is_builtin(role.name):
            (unusable if role.name in target.roles else stand_ins).append(role.name)
        elif role.name in target.roles:
            kept.append(role.name)
        elif not create or is_of_provider(role, source):
            stand_ins.append(role.name)
        elif role.can_login and is_api_name(role.name):
            users.append(role.name)
        else:
            groups.append(role.name)
    # Who is only a member of others, or has members, leaves nothing behind in the dump.
    stand_ins = [name for name in stand_ins if name in source.grantees]
    fresh = {*users, *groups}
    joined = {*fresh, *kept, *(name for name in unusable if name != "postgres")}
    return RolePlan(
        users=tuple(users),
        groups=tuple(groups),
        kept=tuple(kept),
        stand_ins=tuple(stand_ins),
        unusable=tuple(unusable),
        memberships=tuple(
            (group, role.name, admin)
            for role in source.roles
            for group, admin in role.member_of
            if role.name in {*fresh, *kept} and group in joined and {role.name, group} & fresh
        ),
    )


def is_builtin(name: str) -> bool:
    """Return whether PostgreSQL reserves the name, or the target's superuser has it."""
    return name == "postgres" or name.startswith(_RESERVED)


def is_of_provider(role: Role, source: Source) -> bool:
    administrator = role.name == source.user and "CREATEROLE" in role.attributes
    return role.superuser or administrator or _PROVIDERS.fullmatch(role.name) is not None


def is_api_name(name: str) -> bool:
    return _API_NAME.fullmatch(name) is not None


def lost_policies(source: Source, plan: RolePlan) -> dict[str, str]:
    """Return what becomes of policies that name roles which the target does not get."""
    found = {}
    for policy, roles in source.policies.items():
        missing = [role for role in roles if role in plan.stand_ins]
        if missing:
            left = [role for role in roles if role not in missing]
            names = ", ".join(missing)
            found[policy] = (
                f"no longer names {names}, which the target does not have"
                if left
                else f"is dropped: it is for {names} only, which the target does not have"
            )
    return found
