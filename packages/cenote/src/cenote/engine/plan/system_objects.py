"""System objects: what we put into a server's databases, where customers' tools do not look.

``pg_stat_statements`` is in the schema ``pg_catalog``: every ``search_path`` includes it, tools that manage
or compare schemas leave it out, and only a superuser can drop it.  ``pg_dump`` omits extensions with OIDs
below 16384, which single-user mode assigns.  The template is made in it, so our extension is in no dump.

The ledger is a member of ``plpgsql``, which is such an extension.  So ``pg_dump`` neither dumps nor locks it.
VACUUM skips it with a warning, for which roles need ``USAGE`` on its schema.

Each statement that the template takes is one line, because single-user mode ends a statement at a newline.
"""

from __future__ import annotations

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
CLOSE_TEMPLATE = "ALTER DATABASE template1 ALLOW_CONNECTIONS false"

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
