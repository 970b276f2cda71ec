"""The pure parts of an import: the list of a dump, what is left out, roles, errors and checks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cenote.errors import Invalid
from cenote.importing import archive_list, checks, dump_programs, restore_errors, role_plan, steps
from cenote.importing.archive_list import Entry
from cenote.importing.dump_programs import DumpPrograms
from cenote.importing.facts import Extension, Role, Source, Target
from cenote.importing.progress import Progress, size
from cenote.importing.report import Report
from cenote.importing.restore_errors import RestoreError
from cenote.importing.selection import LeftOut, select

LIST = """\
;
; Archive created at 2026-11-28 23:00:00 UTC
;     dbname: shop
;
; Selected TOC Entries:
;
2; 3079 16385 EXTENSION - pg_stat_statements {}
;\tdepends on: 5
4012; 0 0 COMMENT - EXTENSION pg_stat_statements {}
;\tdepends on: 2
215; 1259 16390 TABLE public a table with spaces app
4020; 0 16390 TABLE DATA public a table with spaces app
;\tdepends on: 215
3900; 3466 16600 EVENT TRIGGER - watch postgres
""".format("", "")  # pg_restore leaves a space where there is no owner
SOURCE = Source(
    name="shop",
    version=150_018,
    user="postgres",
    owner="app",
    encoding="UTF8",
    collation="C.UTF-8",
    bytes=1000,
    pooler=False,
    system_identifier=1,
    oid=5,
    place="x:1",
    grantees=("app", "auditor", "boss"),
    roles=(
        Role("app", can_login=True, superuser=False),
        Role("auditor", can_login=False, superuser=False),
        Role("boss", can_login=True, superuser=True),
        Role("onlooker", can_login=True, superuser=False, member_of=(("auditor", False),)),
        Role("postgres", can_login=True, superuser=True),
        Role("strange name", can_login=True, superuser=False),
    ),
    policies={"own on t": ("app",), "for boss on t": ("boss",), "both on t": ("app", "boss")},
)
TARGET = Target(
    cluster="backend",
    version=150_018,
    database="shop",
    exists=True,
    owner="doadmin",
    admin="doadmin",
    encoding="UTF8",
    collation="C.UTF-8",
    contents=(),
    extensions={},
    available=frozenset({"hstore"}),
    system_identifier=2,
    oid=7,
    roles=frozenset({"doadmin", "postgres", "pg_monitor"}),
)
PLAN = role_plan.plan(SOURCE, TARGET, create=True)
ROOM = checks.Room(1 << 40, 1 << 40)


def entry(dump_id: int, kind: str, name: str, *needs: int, class_id: int = 1259, oid: int = 0) -> Entry:
    return Entry(dump_id, class_id, oid or dump_id, kind, name, needs)


# -- The list of a dump


def test_the_list_of_a_dump_is_read_with_its_dependencies() -> None:
    found = archive_list.parse(LIST)
    assert [one.kind for one in found] == ["EXTENSION", "COMMENT", "TABLE", "TABLE DATA", "EVENT TRIGGER"]
    assert found[3] == Entry(4020, 0, 16390, "TABLE DATA", "public a table with spaces app", (215,))
    assert found[1].depends_on == (2,)
    assert found[4].owner == "postgres"


def test_a_name_with_a_line_break_of_another_kind_is_one_entry() -> None:
    [found] = archive_list.parse("215; 1259 16390 TABLE public a\u20287; 1259 8 TABLE b app\n")
    assert (found.dump_id, found.owner) == (215, "app")
    output = OUTPUT.replace("INDEX by_n app", "INDEX by\u2028n app")
    [_, _, error] = restore_errors.parse(output)
    assert (error.entry, error.title) == (400, "INDEX by\u2028n app")


def test_pg_restore_gets_the_dump_ids_back_in_their_order() -> None:
    text = archive_list.render(archive_list.parse(LIST))
    assert [line.partition(";")[0] for line in text.splitlines()] == ["2", "4012", "215", "4020", "3900"]


# -- What is left out


def test_what_needs_something_left_out_is_left_out_too() -> None:
    entries = [
        entry(1, "EXTENSION", "- postgis ", class_id=3079, oid=9),
        entry(2, "TABLE", "public places app", 1),
        entry(3, "TABLE DATA", "public places app", 2),
        entry(4, "VIEW", "public nearby app", 2),
        entry(5, "TABLE", "public plain app"),
        entry(6, "COMMENT", "public VIEW nearby app", 4),
    ]
    source = replace(SOURCE, extensions={(3079, 9): Extension("postgis", "3", "public")})
    found = select(entries, source, TARGET, PLAN, owners=True)
    assert [one.dump_id for one in found.others] == [5]
    assert [(one.name, one.reason) for one in found.left_out] == [
        ("postgis", "the target does not offer this extension"),
        ("public.places", "needs extension postgis"),
        ("public.nearby", "needs table public.places"),
    ]
    assert [one.name for one in found.lost_tables] == ["public.places"]


@pytest.mark.parametrize(
    ("schema", "kept", "reason"),
    [
        ("public", [2], ""),
        ("pg_catalog", [], "the target has this extension in schema pg_catalog, the source in public"),
    ],
)
def test_an_extension_that_the_target_has_is_not_created_again(
    schema: str, kept: list[int], reason: str
) -> None:
    """A view in the dump names the extension's schema, so elsewhere it cannot be restored."""
    entries = [
        entry(1, "EXTENSION", "- pg_stat_statements ", class_id=3079, oid=9),
        entry(2, "VIEW", "public slow app", 1),
        entry(3, "COMMENT", "- EXTENSION pg_stat_statements ", 1),
    ]
    source = replace(SOURCE, extensions={(3079, 9): Extension("pg_stat_statements", "1.10", "public")})
    target = replace(TARGET, extensions={"pg_stat_statements": schema})
    found = select(entries, source, target, PLAN, owners=True)
    assert [one.dump_id for one in found.others] == kept
    assert [one.reason for one in found.left_out][:1] == ([reason] if reason else [])


def test_what_only_superusers_create_is_left_out_and_everything_else_kept() -> None:
    entries = [
        entry(1, "EVENT TRIGGER", "- watch postgres"),
        entry(2, "FUNCTION", "public c_code(integer) app", class_id=1255, oid=77),
        entry(3, "FUNCTION", "public harmless(integer) app", class_id=1255, oid=78),
        entry(4, "SCHEMA", "- sales app", class_id=2615),
        entry(5, "DEFAULT ACL", "public DEFAULT PRIVILEGES FOR TABLES postgres"),
        entry(6, "DEFAULT ACL", "public DEFAULT PRIVILEGES FOR TABLES app"),
        entry(7, "USER MAPPING", "- USER MAPPING app SERVER elsewhere app"),
    ]
    source = replace(SOURCE, superuser_only={(1255, 77): "in the language c"})
    found = select(entries, source, TARGET, PLAN, owners=True)
    assert [one.dump_id for one in found.schemas] == [4]
    assert [one.dump_id for one in found.others] == [3, 6]
    assert len(found.left_out) == 4


def test_grants_on_objects_of_extensions_are_told_from_those_on_the_schema_public() -> None:
    entries = [
        Entry(8, 0, 0, "ACL", "- SCHEMA public pg_database_owner", (5,)),
        Entry(9, 0, 0, "ACL", "public FUNCTION of_an_extension() postgres", (6,)),
    ]
    found = select(entries, SOURCE, TARGET, PLAN, owners=True)
    assert [one.dump_id for one in found.others] == [8]
    assert [one.name for one in found.left_out] == ["public.FUNCTION of_an_extension()"]


# -- Roles


def test_roles_are_users_groups_or_stand_ins() -> None:
    assert PLAN.users == ("app", "onlooker")
    assert PLAN.groups == ("auditor", "strange name")
    assert PLAN.stand_ins == ("boss",)
    assert PLAN.unusable == ("postgres",)
    assert PLAN.memberships == (("auditor", "onlooker", False),)


def test_without_roles_each_one_that_the_dump_names_has_a_stand_in() -> None:
    plan = role_plan.plan(SOURCE, replace(TARGET, roles=TARGET.roles | {"app"}), create=False)
    assert (plan.users, plan.groups, plan.kept) == ((), (), ("app",))
    assert plan.stand_ins == ("auditor", "boss")


@pytest.mark.parametrize(
    "name", ["rds_superuser", "azure_pg_admin", "cloudsqlsuperuser", "avnadmin", "_dodb"]
)
def test_roles_of_hosted_services_are_not_created(name: str) -> None:
    source = replace(SOURCE, roles=(Role(name, can_login=True, superuser=False),), grantees=(name,))
    assert role_plan.plan(source, TARGET, create=True).stand_ins == (name,)


def test_policies_of_roles_that_do_not_arrive_are_named() -> None:
    lost = role_plan.lost_policies(SOURCE, PLAN)
    assert lost.keys() == {"for boss on t", "both on t"}
    assert "is dropped" in lost["for boss on t"]
    assert "no longer names boss" in lost["both on t"]


# -- Errors of pg_restore

OUTPUT = """\
pg_restore: creating TABLE "public.t"
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 215; 1259 16390 TABLE t postgres
pg_restore: error: could not execute query: ERROR:  must be member of role "postgres"
Command was: ALTER TABLE public.t OWNER TO postgres;


pg_restore: from TOC entry 300; 0 0 ACL TABLE t postgres
pg_restore: error: could not execute query: ERROR:  permission denied to set session authorization "bob"
Command was: SET SESSION AUTHORIZATION bob;
GRANT SELECT ON TABLE public.t TO x;
pg_restore: processing data for table "public.t"
pg_restore: from TOC entry 400; 1259 1 INDEX by_n app
pg_restore: error: could not execute query: ERROR:  something else
pg_restore: warning: errors ignored on restore: 3
"""


def test_errors_of_a_restore_are_told_apart() -> None:
    entries = {300: entry(300, "ACL", "public TABLE t postgres", 215), 215: entry(215, "TABLE", "t")}
    outcome = restore_errors.judge(restore_errors.parse(OUTPUT), entries, PLAN)
    assert outcome.owners == {"postgres": 1}
    assert outcome.grants == (300,)
    assert [str(error) for error in outcome.errors] == [
        "INDEX by_n app: could not execute query: ERROR:  something else"
    ]


def test_an_owner_that_should_be_there_is_an_error() -> None:
    output = OUTPUT.replace('role "postgres"', 'role "app"')
    assert len(restore_errors.judge(restore_errors.parse(output), {}, PLAN).errors) == 3


def test_errors_that_pg_restore_did_not_show_are_errors() -> None:
    assert restore_errors.parse("pg_restore: warning: errors ignored on restore: 2\n") != []


def test_a_fatal_error_is_an_error() -> None:
    lost = "pg_restore: error: connection to server was lost\n"
    assert restore_errors.parse(lost) == [RestoreError(0, "", "connection to server was lost")]


def test_a_timeout_setting_of_a_newer_pg_restore_is_no_error() -> None:
    output = (
        "pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter"
        ' "transaction_timeout"\nCommand was: SET transaction_timeout = 0;\n'
    )
    assert restore_errors.judge(restore_errors.parse(output), {}, PLAN).errors == ()


# What two workers have written at once.
MIXED = """\
pg_restore: from TOC entry 400; 1259 1 INDEX by_n app
pg_restore:pg_restore: error: finished item 3694 TABLE DATA t
 error: could not execute query: ERROR:  could not create unique index "by_n"
DETAIL:  Key (n)=(1) is duplicated.
pg_restore: error: COPY failed for table "t": ERROR:  invalid input
pg_restore: error: a worker process died unexpectedly
"""


def test_errors_of_several_workers_are_all_found_and_none_is_said_to_be_about_another_entry() -> None:
    found = restore_errors.parse(MIXED, mixed=True)
    assert [(one.entry, one.title) for one in found] == 3 * [(0, "")]
    assert [one.message.split(":")[0] for one in found] == [
        "could not execute query",
        'COPY failed for table "t"',
        "a worker process died unexpectedly",
    ]
    assert "DETAIL:  Key (n)=(1) is duplicated." in found[0].message


def test_grants_of_another_grantor_are_run_as_that_role() -> None:
    sql = (
        "\\restrict abc\nSET SESSION AUTHORIZATION bob;\nGRANT SELECT ON t TO x;\n"
        "RESET SESSION AUTHORIZATION;\n"
    )
    expected = b"\nSET ROLE bob;\nGRANT SELECT ON t TO x;\nRESET ROLE;\n"
    assert steps.without_session_authorization(sql) == expected


# -- Checks


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (replace(SOURCE, pooler=True), TARGET, "through a connection pooler"),
        (replace(SOURCE, unreadable=("public.t",)), TARGET, "cannot read public.t"),
        (replace(SOURCE, row_security=("public.t",)), TARGET, "hides rows of public.t"),
        (SOURCE, replace(TARGET, contents=("table a",)), "is not empty"),
        (SOURCE, replace(TARGET, system_identifier=1, oid=5), "are the same database"),
    ],
)
def test_an_import_does_not_begin(source: Source, target: Target, words: str) -> None:
    found = checks.check(source, target, ROOM, into_non_empty=False, replace=False)
    assert [words in one.text for one in found if one.stops] == [True]


def test_differences_that_stop_nothing_are_said() -> None:
    source = replace(SOURCE, version=170_002, encoding="LATIN1", collation="de_DE", bytes=1 << 40)
    found = checks.check(source, TARGET, checks.Room(5, 6), into_non_empty=False, replace=False)
    assert len(found) == 5
    assert not any(one.stops for one in found)
    assert checks.check(SOURCE, TARGET, ROOM, into_non_empty=False, replace=False) == []


# -- Programs


def installed(*versions: int) -> list[DumpPrograms]:
    return [DumpPrograms(version, Path("pg_dump"), Path("pg_restore")) for version in versions]


@pytest.mark.parametrize(
    ("versions", "source", "target", "chosen"),
    [((13, 15, 17), 13, 15, 15), ((15, 17), 16, 15, 17), ((15,), 15, 17, 15), ((16, 17), 14, 15, 16)],
)
def test_the_oldest_programs_that_suit_both_sides_are_chosen(
    versions: tuple[int, ...], source: int, target: int, chosen: int
) -> None:
    assert dump_programs.choose(installed(*versions), source, target).version == chosen


@pytest.mark.parametrize(("versions", "words"), [((), "not found"), ((15,), "install version 17")])
def test_missing_programs_are_said_with_the_remedy(versions: tuple[int, ...], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        dump_programs.choose(installed(*versions), 17, 15)


def test_the_password_of_the_source_is_in_a_variable_and_not_in_the_arguments() -> None:
    variables, rest = dump_programs.source_environment(
        "postgresql://app:pass%20word@db.example:5433/shop?sslmode=require&keepalives_idle=5"
    )
    assert variables["PGPASSWORD"] == "pass word"
    assert (variables["PGHOST"], variables["PGPORT"], variables["PGDATABASE"]) == (
        "db.example",
        "5433",
        "shop",
    )
    assert rest == "keepalives_idle='5'"
    with pytest.raises(Invalid, match="sslpassword"):
        dump_programs.source_environment("sslpassword=secret")


@pytest.mark.parametrize(
    "uri",
    [
        "postgres//app:secret@db.example/shop",
        "postgres://app:secret%zz@db.example/shop",
        "postgres://app:a secret@db.example/shop",
        "postgres://app:a/b?secret@db.example/shop",
    ],
)
def test_a_source_that_libpq_does_not_understand_is_refused_without_its_password(uri: str) -> None:
    with pytest.raises(Invalid, match=r"^--from: .") as refused:
        dump_programs.source_environment(uri)
    assert "secret" not in str(refused.value)


def test_a_misspelt_option_of_the_source_is_named() -> None:
    with pytest.raises(Invalid, match='invalid connection option "pasword"'):
        dump_programs.source_environment("host=db.example pasword=secret")


def test_variables_of_libpq_are_those_of_the_source_only() -> None:
    mine = {"PGPASSWORD": "x", "PATH": "/bin", "LC_MESSAGES": "de_DE", "LANG": "de_DE"}
    assert dump_programs.plain_environment(mine, keep_libpq=False) == {"PATH": "/bin", "LC_ALL": "C"}
    assert dump_programs.plain_environment(mine, keep_libpq=True)["PGPASSWORD"] == "x"


@pytest.mark.parametrize(("count", "words"), [(0, "0 bytes"), (2048, "2.0 KiB"), (3 << 40, "3.0 TiB")])
def test_sizes_are_for_people(count: int, words: str) -> None:
    assert size(count) == words


def test_a_report_says_what_is_left_out_in_one_line_each() -> None:
    lost = [
        LeftOut("TABLE", "public.a\nb", "needs extension postgis", loses_rows=True),
        LeftOut("not in a dump", "2 subscriptions: only a superuser can create them", ""),
    ]
    report = Report("backend", "shop", "db:5432", "shop", left_out=lost)
    assert list(report.lines())[1:] == [
        "Left out:",
        "  table public.a�b: needs extension postgis (its rows are lost)",
        "  2 subscriptions: only a superuser can create them",
    ]
    assert report.document()["status"] == "imported"


def test_names_that_the_source_chooses_do_not_control_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    evil = "a\x1b[2Jb"
    report = Report("backend", "shop", "db:5432", evil, users=(evil,), groups=(evil,))
    report.findings = report.changed = report.differences = [f"role {evil}"]
    report.left_out = [LeftOut("TABLE", evil, "")]
    report.errors = [RestoreError(0, f"TABLE {evil}", f"relation {evil} exists")]
    assert "\x1b" not in "\n".join(report.lines())
    Progress().step(f"Reading {evil}")
    assert capsys.readouterr().err == "Reading a�[2Jb\n"
    assert checks.some((evil,)) == "a�[2Jb"
