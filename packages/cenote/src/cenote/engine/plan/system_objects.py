"""System objects: what we put into a server's databases, where customers' tools do not look.

``pg_stat_statements`` is in the schema ``pg_catalog``: every ``search_path`` includes it, tools that manage
or compare schemas leave it out, and only a superuser can drop it.  ``pg_dump`` omits extensions with OIDs
below 16384, which single-user mode assigns.  The template is made in it, so our extension is in no dump.

The ledger is a member of ``plpgsql``, which is such an extension.  So ``pg_dump`` neither dumps nor locks it.
VACUUM skips it with a warning, for which roles need ``USAGE`` on its schema.

Each statement that the template takes is one line, because single-user mode ends a statement at a newline.
"""

from __future__ import annotations

from collections.abc import Iterable

from cenote.conf.hba import SUPERUSER
from cenote.model.records import ADMIN_USER

STATEMENTS = "pg_stat_statements"
_RESET = f"pg_catalog.{STATEMENTS}_reset"

# Nothing can be created in pg_catalog, but an extension can be moved there.
_MOVE = f"ALTER EXTENSION {STATEMENTS} SET SCHEMA pg_catalog"
# pg_dump leaves out the privileges that a member had when it was added to its extension.
_KEEP_OUT_OF_DUMPS = (
    f"ALTER EXTENSION {STATEMENTS} DROP FUNCTION {_RESET}",
    f"ALTER EXTENSION {STATEMENTS} ADD FUNCTION {_RESET}",
)

CREATE_STATEMENTS = (
    f"CREATE EXTENSION {STATEMENTS} SCHEMA public",
    _MOVE,
    f"GRANT EXECUTE ON FUNCTION {_RESET} TO {ADMIN_USER}",
    *_KEEP_OUT_OF_DUMPS,
)

# Members of pg_write_all_data, which the administrator can grant before PostgreSQL 16, pass all privileges.
_GUARD = (
    "CREATE FUNCTION cenote.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " RAISE insufficient_privilege USING MESSAGE = 'permission denied for table made'; END $$",
    "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON cenote.made"
    f" WHEN (current_user <> '{SUPERUSER}') EXECUTE FUNCTION cenote.refuse()",
    "ALTER EXTENSION plpgsql ADD FUNCTION cenote.refuse()",
)

# Before PostgreSQL 16 a role with CREATEROLE can grant itself these, and thereby act as the account that all
# servers of the host run as.  As superusers they can be granted by superusers only, and a grant of them makes
# nobody a superuser.
_FOR_SUPERUSERS = ("pg_execute_server_program", "pg_read_server_files", "pg_write_server_files")
HARDEN = (
    "SET allow_system_table_mods = on",
    f"UPDATE pg_authid SET rolsuper = true WHERE rolname IN {_FOR_SUPERUSERS!r}",  # noqa: S608 - constants
    "RESET allow_system_table_mods",
)
LET_ADMIN_MONITOR = f"GRANT pg_monitor TO {ADMIN_USER} WITH ADMIN OPTION"
CREATE_LEDGER = (
    "CREATE SCHEMA cenote",
    "CREATE TABLE cenote.made (kind text, name text, PRIMARY KEY (kind, name))",
)

# All roles may connect, as is PostgreSQL's default, and create nothing: before version 15 public was open.
OPEN_POSTGRES = (
    "GRANT CONNECT ON DATABASE postgres TO PUBLIC",
    "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    "GRANT USAGE ON SCHEMA cenote TO PUBLIC",
    "ALTER EXTENSION plpgsql ADD SCHEMA cenote",
    "ALTER EXTENSION plpgsql ADD TABLE cenote.made",
    *_GUARD,
)

# CREATE DATABASE fails while a session is in template1, so customers must not connect to it.  Programs for
# all databases, such as vacuumdb --all, stop at one that refuses them, and skip one without connections.
OPEN_TEMPLATE = "ALTER DATABASE template1 ALLOW_CONNECTIONS true"
CLOSE_TEMPLATE = "ALTER DATABASE template1 ALLOW_CONNECTIONS false"

CREATE_SCHEMA = CREATE_LEDGER[0]


_FREEZE = "VACUUM (FREEZE)"


def for_upgraded_data(version: str) -> tuple[str, ...]:
    """Return what template0 needs in empty data that pg_upgrade brings a server's objects to.

    It restores privileges of system objects without making these: of the ledger's schema, and of functions of
    our extension, which are those of its ``version`` on the former server, "" for none.

    It freezes the rows of all databases but this one, and then goes on with the former server's transactions:
    a row of another one's could be gone, or come back, as soon as its number is used again.
    """
    if not version:
        return CREATE_SCHEMA, _FREEZE
    create = f"CREATE EXTENSION {STATEMENTS} SCHEMA public VERSION '{version}'"
    return create, _MOVE, CREATE_SCHEMA, _FREEZE


# Nothing can be created in pg_catalog, so the extension leaves it for its update.  One whose views others
# depend on stays as it is, which works as before.
_UPDATE_STATEMENTS = (
    f"ALTER EXTENSION {STATEMENTS} SET SCHEMA cenote",
    f"DO $$ BEGIN ALTER EXTENSION {STATEMENTS} UPDATE;"
    " EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END $$",
    *CREATE_STATEMENTS[1:],
)
# Since PostgreSQL 16 who may administer a role is said by a grant; before, CREATEROLE was enough.
_ADMINISTER_ROLES = f"""DO $$ DECLARE made record; BEGIN
FOR made IN SELECT rolname FROM pg_roles WHERE NOT rolsuper AND oid >= 16384 AND rolname <> '{ADMIN_USER}'
AND rolname !~ '^pg_' AND NOT pg_has_role(oid, '{ADMIN_USER}', 'MEMBER')
AND NOT EXISTS (SELECT FROM pg_auth_members WHERE roleid = pg_roles.oid AND member = '{ADMIN_USER}'::regrole
AND admin_option) LOOP
IF pg_has_role('{ADMIN_USER}', made.rolname, 'MEMBER') THEN
EXECUTE format('GRANT %I TO {ADMIN_USER} WITH ADMIN TRUE', made.rolname);
ELSE
EXECUTE format('GRANT %I TO {ADMIN_USER} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', made.rolname);
END IF; END LOOP; END $$"""  # noqa: S608 - constants of ours
ADMINISTERED_SINCE = 16


def in_upgraded_database(*, has_statements: bool) -> tuple[str, ...]:
    """Return what a customer's database, or a template, needs after pg_upgrade."""
    return (*(_UPDATE_STATEMENTS if has_statements else ()), "DROP SCHEMA cenote")


def in_upgraded_postgres(
    rows: Iterable[tuple[str, str]], *, has_statements: bool, administers: bool
) -> tuple[str, ...]:
    """Return what the database ``postgres`` needs after pg_upgrade.

    ``rows`` are those of the former ledger.  ``administers``: the administrator is to be given by grants what
    CREATEROLE gave before.
    """
    return (
        *HARDEN,
        LET_ADMIN_MONITOR,
        *((_ADMINISTER_ROLES,) if administers else ()),
        *(_UPDATE_STATEMENTS if has_statements else ()),
        CREATE_LEDGER[1],
        *(
            f"INSERT INTO cenote.made VALUES ({_text(kind)}, {_text(name)})"  # noqa: S608 - hexadecimal
            for kind, name in rows
        ),
        *OPEN_POSTGRES,
        CLOSE_TEMPLATE,
    )


def _text(value: str) -> str:
    return f"convert_from(decode('{value.encode().hex()}', 'hex'), 'UTF8')"


# Former versions created the extension in public, where presets granted privileges on its views as well.
# Where it was dropped with its schema, it is not created again.  10 is the OID of our superuser.
MOVE_STATEMENTS = f"""
DO $cenote$
DECLARE
    thing record;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = '{STATEMENTS}' AND extowner = 10) THEN
        RETURN;
    END IF;
    FOR thing IN
        SELECT DISTINCT pg_class.oid::regclass AS name, grantee::regrole AS role
        FROM pg_extension
        JOIN pg_depend ON refclassid = 'pg_extension'::regclass AND refobjid = pg_extension.oid
            AND classid = 'pg_class'::regclass AND deptype = 'e'
        JOIN pg_class ON pg_class.oid = objid
        CROSS JOIN aclexplode(relacl)
        WHERE extname = '{STATEMENTS}' AND grantee NOT IN (0, relowner)
    LOOP
        EXECUTE format('REVOKE ALL ON TABLE %s FROM %s', thing.name, thing.role);
    END LOOP;
    {"; ".join((_MOVE, *_KEEP_OUT_OF_DUMPS))};
END
$cenote$
"""  # noqa: S608 - constants of ours
