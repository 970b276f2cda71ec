"""Discovery in directories of stand-in files, each containing the version output of the real program."""

import os
from pathlib import Path

import pytest

from cenote.host import programs
from cenote.host.programs import InstalledProgram, PostgresInstall, Programs, find, problems

BOUNCER = "PgBouncer {}\nlibevent 2.1.12-stable\ntls: OpenSSL 3.0.19\n"
ETCD = "etcd Version: {}\nGit SHA: Not provided\nGo Version: go1.19.8\n"
POSTGRES = "postgres (PostgreSQL) {} (Debian {}-0+deb12u1)\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty machine and a plain user, whose data home is ``home``."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path


def place(path: Path, words: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(words)
    path.chmod(0o755)
    return path


def place_postgres(folder: Path, version: str) -> Path:
    place(folder / "initdb", "initdb")
    place(folder / "postgres", POSTGRES.format(version, version))
    return folder


def look(
    root: Path,
    postgres_dirs: tuple[Path, ...] = (),
    pgbouncer: Path | None = None,
    data_dir: Path | None = None,
) -> Programs:
    return find(
        postgres_dirs=postgres_dirs, pgbouncer=pgbouncer, data_dir=data_dir, root=root, ask=Path.read_text
    )


def test_an_empty_machine_lacks_all_three(root: Path) -> None:
    found = look(root)
    assert found == Programs()
    assert [problem.program for problem in problems(found)] == ["postgresql", "pgbouncer", "etcd"]


def test_an_outside_etcd_needs_no_program(root: Path) -> None:
    assert [problem.program for problem in problems(look(root), needs_etcd=False)] == [
        "postgresql",
        "pgbouncer",
    ]


@pytest.mark.parametrize(
    "folder",
    [
        "usr/lib/postgresql/16/bin",
        "usr/pgsql-16/bin",
        "opt/homebrew/opt/postgresql@16/bin",
        "usr/local/opt/postgresql@16/bin",
        "home/linuxbrew/.linuxbrew/opt/postgresql@16/bin",
    ],
)
def test_postgresql_is_found_where_packages_put_it(root: Path, folder: str) -> None:
    bin_folder = place_postgres(root / folder, "16.4")
    assert look(root).postgres == {"16": PostgresInstall("16", "16.4", bin_folder)}


@pytest.mark.parametrize("given", ["opt/pg", "opt/pg/bin"])
def test_a_named_postgresql_may_be_its_prefix_or_its_bin(root: Path, given: str) -> None:
    bin_folder = place_postgres(root / "opt/pg/bin", "17.2")
    assert look(root, postgres_dirs=(root / given,)).postgres == {
        "17": PostgresInstall("17", "17.2", bin_folder)
    }


def test_the_newest_minor_version_wins_by_number(root: Path) -> None:
    place_postgres(root / "usr/lib/postgresql/15/bin", "15.9")
    newer = place_postgres(root / "usr/pgsql-15/bin", "15.10")
    assert look(root).postgres["15"] == PostgresInstall("15", "15.10", newer)


def test_major_versions_are_in_the_order_of_their_numbers(root: Path) -> None:
    for major in ("18", "13", "9.6", "15"):
        place_postgres(root / f"usr/lib/postgresql/{major}/bin", f"{major}.1")
    assert list(look(root).postgres) == ["13", "15", "18"]


@pytest.mark.parametrize("version", ["12.22", "9.6.24", "19beta1", "19devel"])
def test_old_and_unfinished_postgresql_is_left_out(root: Path, version: str) -> None:
    place_postgres(root / "usr/lib/postgresql/x/bin", version)
    assert look(root).postgres == {}


def test_a_postgresql_of_client_programs_only_is_left_out(root: Path) -> None:
    place(root / "usr/lib/postgresql/16/bin/psql", "psql (PostgreSQL) 16.4")
    place(root / "usr/lib/postgresql/16/bin/postgres", POSTGRES.format("16.4", "16.4"))
    assert look(root).postgres == {}


def test_a_built_pgbouncer_is_preferred_to_the_distributions(root: Path) -> None:
    place(root / "usr/sbin/pgbouncer", BOUNCER.format("1.25.0"))
    built = place(root / "data/programs/pgbouncer-1.24.1/bin/pgbouncer", BOUNCER.format("1.24.1"))
    assert look(root, data_dir=root / "data").pgbouncer == InstalledProgram(built, "1.24.1")


def test_the_newest_built_pgbouncer_wins_by_number(root: Path) -> None:
    place(root / "home/cenote/programs/pgbouncer-1.9.0/bin/pgbouncer", BOUNCER.format("1.9.0"))
    place(root / "home/cenote/programs/pgbouncer-1.24.1/bin/pgbouncer", BOUNCER.format("1.24.1"))
    newest = place(root / "home/cenote/programs/pgbouncer-1.100.0/bin/pgbouncer", BOUNCER.format("1.100.0"))
    assert look(root).pgbouncer == InstalledProgram(newest, "1.100.0")


def test_what_root_has_built_serves_a_plain_user(root: Path) -> None:
    built = place(root / "var/lib/cenote/programs/pgbouncer-1.24.1/bin/pgbouncer", BOUNCER.format("1.24.1"))
    assert look(root).pgbouncer == InstalledProgram(built, "1.24.1")


def test_a_named_pgbouncer_is_the_only_one_considered(root: Path) -> None:
    place(root / "usr/sbin/pgbouncer", BOUNCER.format("1.25.0"))
    named = place(root / "mine/pgbouncer", BOUNCER.format("1.20.1"))
    found = look(root, pgbouncer=named)
    assert found.pgbouncer is None
    assert found.too_old == (InstalledProgram(named, "1.20.1"),)
    assert f"{named} is 1.20.1" in problems(found, needs_etcd=False)[1].what


def test_a_named_pgbouncer_that_does_not_exist_is_reported(root: Path) -> None:
    found = look(root, pgbouncer=root / "nowhere/pgbouncer")
    assert found.unusable == (root / "nowhere/pgbouncer",)
    assert f"{root}/nowhere/pgbouncer cannot be run" in problems(found)[1].what


def test_an_old_pgbouncer_of_the_distribution_is_replaced_by_the_setup(root: Path) -> None:
    old = place(root / "usr/sbin/pgbouncer", BOUNCER.format("1.18.0"))
    problem = problems(look(root))[1]
    assert problem.command == "make setup"
    assert f"{old} is 1.18.0" in problem.what


@pytest.mark.parametrize("folder", ["path", "usr/bin", "usr/local/bin"])
def test_etcd_is_found_on_the_path_and_where_packages_put_it(root: Path, folder: str) -> None:
    etcd = place(root / folder / "etcd", ETCD.format("3.4.23"))
    assert look(root).etcd == InstalledProgram(etcd, "3.4.23")


def test_an_old_etcd_is_named_in_the_problem(root: Path) -> None:
    old = place(root / "usr/bin/etcd", ETCD.format("3.3.25"))
    assert f"{old} is 3.3.25" in problems(look(root))[2].what


def test_a_program_is_asked_once_whatever_its_names(root: Path) -> None:
    etcd = place(root / "usr/bin/etcd", ETCD.format("3.3.25"))
    (root / "path").symlink_to(etcd.parent)
    assert len(look(root).too_old) == 1


def test_a_program_without_a_version_is_named_as_unusable(root: Path) -> None:
    broken = place(root / "usr/bin/etcd", "error while loading shared libraries")
    assert look(root).unusable == (broken,)


def test_root_is_told_of_programs_that_its_servers_cannot_reach(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = place(root / "home/cenote/programs/pgbouncer-1.24.1/bin/pgbouncer", BOUNCER.format("1.24.1"))
    (root / "home").chmod(0o700)
    found = Programs(pgbouncer=InstalledProgram(built, "1.24.1"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert f"chmod a+x {root}/home" in [problem.command for problem in problems(found)]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert [problem.program for problem in problems(found)] == ["postgresql", "etcd"]


def test_the_data_of_root_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert programs.default_data_dir() == Path("/var/lib/cenote")


@pytest.mark.parametrize(
    ("home", "expected"),
    [
        ("/data", "/data/cenote"),
        ("", "/home/me/.local/share/cenote"),
        ("x/y", "/home/me/.local/share/cenote"),
    ],
)
def test_the_data_of_a_user_is_in_the_users_data_home(
    monkeypatch: pytest.MonkeyPatch, home: str, expected: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_DATA_HOME", home)
    assert programs.default_data_dir() == Path(expected)


def test_pgbackrest_is_found_and_its_absence_is_no_problem(root: Path) -> None:
    assert programs.without_backups(look(root)) is not None
    found = place(root / "usr/bin/pgbackrest", "pgBackRest 2.45\n")
    assert look(root).pgbackrest == InstalledProgram(found, "2.45")
    assert programs.without_backups(look(root)) is None


def test_an_old_pgbackrest_is_named(root: Path) -> None:
    old = place(root / "usr/bin/pgbackrest", "pgBackRest 2.30\n")
    problem = programs.without_backups(look(root))
    assert problem is not None
    assert f"{old} is 2.30" in problem.what


@pytest.mark.parametrize(
    ("version", "major", "expected"),
    [("2.45", "15", True), ("2.45", "16", False), ("2.55.1", "17", True), ("2.55.1", "18", True)],
    ids=["2.45-15", "2.45-16", "2.55-17", "2.55-18"],
)
def test_which_versions_pgbackrest_reads(version: str, major: str, expected: bool) -> None:
    assert programs.reads(InstalledProgram(Path("pgbackrest"), version), major) is expected


def test_patroni_is_taken_from_the_set_up_in_the_version_that_the_launcher_knows(root: Path) -> None:
    assert programs.without_patroni(look(root)) is not None
    place(root / "usr/bin/patroni", "patroni 4.1.5\n")  # a distribution's
    assert programs.without_patroni(look(root)) is not None
    place(root / "var/lib/cenote/programs/patroni-4.0.0/bin/patroni", "patroni 4.0.0\n")
    assert look(root).patroni is None
    found = place(root / "var/lib/cenote/programs/patroni-4.1.5/bin/patroni", "patroni 4.1.5\n")
    assert look(root).patroni == InstalledProgram(found, "4.1.5")
    assert programs.without_patroni(look(root)) is None


def test_versions_that_get_no_backups_are_named(root: Path) -> None:
    for major in ("15", "17"):
        place_postgres(root / f"usr/lib/postgresql/{major}/bin", f"{major}.1")
    place(root / "usr/bin/pgbackrest", "pgBackRest 2.45\n")
    assert programs.limits_of_backups(look(root)) == (
        "pgBackRest 2.45 reads PostgreSQL up to 15: clusters of version 17 get no backups"
    )
