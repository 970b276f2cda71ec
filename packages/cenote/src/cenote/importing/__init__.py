"""Importing a database from another PostgreSQL server: what ``cenote db import`` does.

pg_dump writes a dump into a folder, its table of contents is filtered, and pg_restore restores what the
target accepts.  ``archive_list``, ``facts``, ``checks``, ``selection``, ``role_plan``, ``restore_errors`` and
``report`` are pure; ``source``, ``target``, ``dump_programs`` and ``steps`` ask and change servers; ``flow``
has their order.
"""
