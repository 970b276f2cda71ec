"""Discovery of programs: PostgreSQL, PgBouncer, etcd, pgBackRest, Patroni; and how to install a missing one.

Nothing is cached between calls, so a program installed a moment ago is found.  Only plausible files are run
for their version.  The set-up runs this module before anything else is installed, so it needs only the
standard library.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MIN_POSTGRES = 13
MIN_PGBOUNCER = (1, 21)  # the first with prepared statements in transaction pools
MIN_ETCD = (3, 4)
MIN_PGBACKREST = (2, 45)  # the oldest that was tried
PATRONI = (4, 1, 5)  # the one that the set-up installs; the launcher (host/patroni_launcher) knows it

SYSTEM_DATA_DIR = Path("/var/lib/cenote")

# Debian and PGDG's apt packages, PGDG's rpm packages, Homebrew on its three prefixes.
POSTGRES_BINS = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
)

# A version needs a dot: "19beta1" is a pre-release, and clusters are not built on one.
VERSION = re.compile(r"(?:\(PostgreSQL\)|PgBouncer|etcd Version:|pgBackRest|patroni) (\d+(?:\.\d+)+)")

# The newest major version of PostgreSQL that pgBackRest reads, by the version that it came with.
_SFTP_SINCE = (2, 46)
_READ_BY_PGBACKREST = (((2, 55), 18), ((2, 52), 17), ((2, 48), 16), (MIN_PGBACKREST, 15))

INSTALL = {
    "apt-get": {
        "postgresql": "postgresql",
        "pgbouncer": "pgbouncer",
        "etcd": "etcd-server",
        "pgbackrest": "pgbackrest",
    },
    "dnf": {
        "postgresql": "postgresql-server",
        "pgbouncer": "pgbouncer",
        "etcd": "etcd",
        "pgbackrest": "pgbackrest",
    },
    "brew": {
        "postgresql": "postgresql@17",
        "pgbouncer": "pgbouncer",
        "etcd": "etcd",
        "pgbackrest": "pgbackrest",
    },
}

# As ``model.environment``, which the set-up cannot import.
_PLAIN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}

Ask = Callable[[Path], str | None]


@dataclass(frozen=True)
class PostgresInstall:
    """A PostgreSQL installation: major version ("15"), full version ("15.18") and directory of programs."""

    major: str
    version: str
    bin: Path


@dataclass(frozen=True)
class InstalledProgram:
    path: Path
    version: str


@dataclass(frozen=True)
class Programs:
    """The programs found; ``too_old`` and ``unusable`` explain why an existing program is not used."""

    postgres: dict[str, PostgresInstall] = field(default_factory=dict)
    pgbouncer: InstalledProgram | None = None
    etcd: InstalledProgram | None = None
    pgbackrest: InstalledProgram | None = None
    patroni: InstalledProgram | None = None
    too_old: tuple[InstalledProgram, ...] = ()
    unusable: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Problem:
    """``program`` is ``postgresql``, ``pgbouncer``, ``etcd``, ``pgbackrest`` or ``patroni``.

    ``command`` fixes it, or describes how.
    """

    program: str
    what: str
    command: str


def default_data_dir() -> Path:
    """Return the default data directory: the system's as root, else one in the user's home."""
    if os.geteuid() == 0:
        return SYSTEM_DATA_DIR
    home = Path(os.environ.get("XDG_DATA_HOME", ""))
    # The XDG specification says to ignore relative paths.
    if home.is_absolute():
        return home / "cenote"
    try:
        return Path.home() / ".local/share/cenote"
    except RuntimeError:  # no HOME, and no entry in /etc/passwd
        return SYSTEM_DATA_DIR


def ask_version(program: Path) -> str | None:
    """Run ``program --version`` and return its output, or None when it cannot be run."""
    argument = "version" if program.name == "pgbackrest" else "--version"
    try:
        done = subprocess.run(
            [program, argument], env=_PLAIN, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout if done.returncode == 0 else None


def find(
    *,
    postgres_dirs: Sequence[Path] = (),
    pgbouncer: Path | None = None,
    data_dir: Path | None = None,
    root: Path = Path("/"),
    ask: Ask = ask_version,
) -> Programs:
    """Find all programs.

    ``postgres_dirs`` are installations outside the standard locations, each its prefix or its ``bin``.  An
    explicit ``pgbouncer`` is the only one considered: an explicit choice is not replaced by another program.
    """
    old: list[InstalledProgram] = []
    unusable: list[Path] = []

    def first(places: Iterable[Iterable[Path]], least: tuple[int, ...]) -> InstalledProgram | None:
        """Return the newest program of the first location with a supported version."""
        for place in places:
            good: list[InstalledProgram] = []
            for path in _runnable(place):
                version = _version(ask, path)
                if version is None:
                    unusable.append(path)
                elif _numbers(version) < least:
                    old.append(InstalledProgram(path, version))
                else:
                    good.append(InstalledProgram(path, version))
            if good:
                return max(good, key=lambda program: _numbers(program.version))
        return None

    if pgbouncer is not None and not _is_program(pgbouncer):
        unusable.append(pgbouncer)
    return Programs(
        postgres=_postgres(postgres_dirs, root, ask),
        pgbouncer=first(_pgbouncer_places(pgbouncer, data_dir, root), MIN_PGBOUNCER),
        etcd=first(_in_folders("etcd", root, "usr/bin", "usr/local/bin"), MIN_ETCD),
        pgbackrest=first([_pgbackrest_places(data_dir, root)], MIN_PGBACKREST),
        patroni=first(_patroni_places(data_dir, root), PATRONI),
        too_old=tuple(old),
        unusable=tuple(unusable),
    )


def problems(programs: Programs, *, needs_etcd: bool = True) -> list[Problem]:
    """Return what prevents Cenote from running here; ``needs_etcd`` is False with an external etcd."""
    found: list[Problem] = []
    if not programs.postgres:
        what = f"PostgreSQL {MIN_POSTGRES} or newer not found"
        found.append(Problem("postgresql", what, _install("postgresql", "--postgres-dir DIR")))
    if programs.pgbouncer is None:
        found.append(_missing(programs, "pgbouncer", "PgBouncer", MIN_PGBOUNCER))
    if needs_etcd and programs.etcd is None:
        found.append(_missing(programs, "etcd", "etcd", MIN_ETCD))
    if os.geteuid() == 0:
        found.extend(_inaccessible(programs))
    return found


def without_backups(programs: Programs) -> Problem | None:
    """Return why no backups can be kept here; None if they can, at least of some versions of PostgreSQL."""
    if programs.pgbackrest is not None:
        return None
    return _missing(programs, "pgbackrest", "pgBackRest", MIN_PGBACKREST)


def without_patroni(programs: Programs) -> Problem | None:
    """Return why no cluster with several nodes can run here; None if it can.

    No distribution's Patroni is taken, since the launcher knows this version.
    """
    if programs.patroni is not None and _numbers(programs.patroni.version) == PATRONI:
        return None
    wanted = ".".join(map(str, PATRONI))
    return Problem(
        "patroni", f"Patroni {wanted} not found, which runs clusters with several nodes", "make setup"
    )


def reads(pgbackrest: InstalledProgram, major: str) -> bool:
    """Return whether this pgBackRest can back up clusters of a major version of PostgreSQL."""
    return int(major) <= newest_read(pgbackrest)


def limits_of_backups(programs: Programs) -> str:
    """Return what the installed pgBackRest cannot back up of what is installed, in words, or ""."""
    program = programs.pgbackrest
    if program is None:
        return ""
    beyond = [major for major in programs.postgres if not reads(program, major)]
    if not beyond:
        return ""
    newest = newest_read(program)
    return (
        f"pgBackRest {program.version} reads PostgreSQL up to {newest}: clusters of version "
        f"{', '.join(beyond)} get no backups"
    )


def newest_read(pgbackrest: InstalledProgram) -> int:
    """Return the newest major version of PostgreSQL that this pgBackRest can back up."""
    version = _numbers(pgbackrest.version)
    return next((newest for least, newest in _READ_BY_PGBACKREST if version >= least), 0)


def lacks_sftp(pgbackrest: InstalledProgram) -> str:
    """Return, in words, that this pgBackRest cannot use an SFTP server, or ""."""
    if _numbers(pgbackrest.version) >= _SFTP_SINCE:
        return ""
    return f"pgBackRest {pgbackrest.version} has no SFTP, which came with {'.'.join(map(str, _SFTP_SINCE))}"


def _postgres(extra: Sequence[Path], root: Path, ask: Ask) -> dict[str, PostgresInstall]:
    """Return the newest installation of each supported major version."""
    bins = [folder / "bin" if _has_server(folder / "bin") else folder for folder in extra]
    for pattern in POSTGRES_BINS:
        bins.extend(sorted(root.glob(pattern)))
    newest: dict[str, PostgresInstall] = {}
    for folder in bins:
        version = _version(ask, folder / "postgres") if _has_server(folder) else None
        if version is None or _numbers(version)[0] < MIN_POSTGRES:
            continue
        install = PostgresInstall(version.split(".")[0], version, folder)
        known = newest.get(install.major)
        if known is None or _numbers(known.version) < _numbers(version):
            newest[install.major] = install
    return dict(sorted(newest.items(), key=lambda item: int(item[0])))


def _pgbouncer_places(chosen: Path | None, data_dir: Path | None, root: Path) -> Iterator[Iterable[Path]]:
    if chosen is not None:
        yield [chosen]
        return
    yield from _below_programs("pgbouncer-*/bin/pgbouncer", data_dir, root)
    yield from _in_folders("pgbouncer", root, "usr/sbin")


def _pgbackrest_places(data_dir: Path | None, root: Path) -> Iterator[Path]:
    """Yield all places: the newest can do most, and reads what an older one has written."""
    for place in _below_programs("pgbackrest-*/bin/pgbackrest", data_dir, root):
        yield from place
    for place in _in_folders("pgbackrest", root, "usr/bin", "usr/local/bin"):
        yield from place


def _patroni_places(data_dir: Path | None, root: Path) -> Iterator[Iterable[Path]]:
    version = ".".join(map(str, PATRONI))
    yield from _below_programs(f"patroni-{version}/bin/patroni", data_dir, root)


def _below_programs(pattern: str, data_dir: Path | None, root: Path) -> Iterator[Iterable[Path]]:
    """Yield what the set-up has made; what it has made as root is available to all users."""
    homes = [data_dir or default_data_dir(), default_data_dir(), root / SYSTEM_DATA_DIR.relative_to("/")]
    for home in dict.fromkeys(homes):
        with contextlib.suppress(PermissionError):  # such as the home of another user, after su
            yield sorted(home.glob(f"programs/{pattern}"))


def _in_folders(name: str, root: Path, *folders: str) -> Iterator[Iterable[Path]]:
    """Yield ``name`` from PATH, then from ``folders``, which an unprivileged user's PATH may lack."""
    on_path = shutil.which(name)
    yield ([Path(on_path)] if on_path else []) + [root / folder / name for folder in folders]


def _runnable(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the executable files among ``paths``, each once even if linked under several names."""
    seen: set[Path] = set()
    for path in paths:
        if _is_program(path) and path.resolve() not in seen:
            seen.add(path.resolve())
            yield path


def _has_server(folder: Path) -> bool:
    return _is_program(folder / "postgres") and _is_program(folder / "initdb")


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _version(ask: Ask, program: Path) -> str | None:
    match = VERSION.search(ask(program) or "")
    return match[1] if match else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _missing(programs: Programs, program: str, name: str, least: tuple[int, ...]) -> Problem:
    wanted = ".".join(map(str, least))
    old = [f"{one.path} is {one.version}" for one in programs.too_old if one.path.name == program]
    broken = [f"{path} cannot be run" for path in programs.unusable if path.name == program]
    what = f"{name} {wanted} or newer not found"
    if old or broken:
        what += f" ({', '.join(old + broken)})"
    if program == "pgbouncer":
        # Where the distribution's package is too old, the set-up builds a newer one.
        return Problem(program, what, "make setup" if old else _install(program, "--pgbouncer FILE"))
    option = "--backups none" if program == "pgbackrest" else "--etcd URL"
    return Problem(program, what, _install(program, option))


def _install(program: str, option: str) -> str:
    sudo = "" if os.geteuid() == 0 else "sudo "
    for manager, packages in INSTALL.items():
        if shutil.which(manager):
            prefix = "" if manager == "brew" else sudo
            return f"{prefix}{manager} install {packages[program]}"
    return f"install it with the system package manager, or set {option}"


def _inaccessible(programs: Programs) -> Iterator[Problem]:
    """Yield server programs below a directory closed to other users: servers do not run as root."""
    paths = [("postgresql", install.bin / "postgres") for install in programs.postgres.values()]
    if programs.pgbouncer is not None:
        paths.append(("pgbouncer", programs.pgbouncer.path))
    for program, path in paths:
        for folder in path.resolve().parents:
            if not folder.stat().st_mode & 0o001:
                what = f"{path} is not accessible to unprivileged users"
                yield Problem(program, what, f"chmod a+x {folder}")


def main() -> int:
    """Print found, optional and missing programs for the set-up, one tab-separated line each."""
    programs = find()
    for install in programs.postgres.values():
        print("found", "postgresql", install.version, install.bin / "postgres", sep="\t")
    named = (
        ("pgbouncer", programs.pgbouncer),
        ("etcd", programs.etcd),
        ("pgbackrest", programs.pgbackrest),
        ("patroni", programs.patroni),
    )
    for name, program in named:
        if program is not None:
            print("found", name, program.version, program.path, sep="\t")
    for optional in filter(None, (without_backups(programs), without_patroni(programs))):
        print("optional", optional.program, optional.what, optional.command, sep="\t")
    missing = problems(programs)
    for problem in missing:
        print("missing", problem.program, problem.what, problem.command, sep="\t")
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
