"""The environment variables of every program that the service starts: etcd, PostgreSQL, PgBouncer, initdb.

They are these and no others, whatever the service was started with: etcd would take HTTPS_PROXY and ETCD_NAME
from there, PostgreSQL PGDATA and TZ, and each of them the libraries of LD_PRELOAD.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# PgBouncer logs local time, hence TZ.
OF_PROGRAMS: Mapping[str, str] = MappingProxyType({"PATH": PATH, "LC_ALL": "C.UTF-8", "TZ": "UTC"})
