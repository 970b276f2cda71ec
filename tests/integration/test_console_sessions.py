"""Signing in to the console, and what keeps a session to whoever has signed in."""

from __future__ import annotations

import re

import pytest

from tests.support.console import Visitor, visitor
from tests.support.service import WITHOUT_LIMITS, Service, service

pytestmark = pytest.mark.service(*WITHOUT_LIMITS)

SESSION = "__Host-cenote"
PAGES = ("/console/clusters", "/console/clusters/new", "/console/tokens", "/console/hosts")


def admin_token(running: Service) -> str:
    return running.environment()["DIGITALOCEAN_TOKEN"]


# -- Signing in


def test_a_browser_is_led_from_the_root_to_signing_in(running: Service) -> None:
    with visitor(running, "") as somebody:
        assert somebody.open("/").path == "/console/sign-in"


def test_whoever_is_no_browser_is_answered_at_the_root_as_before(running: Service) -> None:
    with visitor(running, "") as somebody:
        answer = somebody.http.get("/", headers={"accept": "application/json"})
        assert (answer.status_code, answer.json()["id"]) == (404, "not_found")


def test_a_good_token_leads_to_the_clusters_and_one_can_sign_out_again(running: Service) -> None:
    with visitor(running, "") as somebody:
        assert somebody.sign_in(admin_token(running)).path == "/console/clusters"
        left = somebody.send(somebody.open("/console/clusters"), "Sign out")
        assert left.path == "/console/sign-in"
        assert "You have signed out." in left.text
        assert somebody.open("/console/clusters").path == "/console/sign-in"


@pytest.mark.parametrize(
    "token", ["cenote_v1_" + "0" * 64, "no-such-token", "tökén", "<script>alert(1)</script>", "two words"]
)
def test_a_wrong_token_is_told_in_words_and_not_repeated(running: Service, token: str) -> None:
    with visitor(running, "") as somebody:
        told = somebody.sign_in(token, expected=401)
        assert "Token not accepted" in told.text
        assert token not in told.source
        assert SESSION not in somebody.http.cookies


def test_one_is_brought_to_the_page_that_was_asked_for(running: Service) -> None:
    with visitor(running, "") as somebody:
        asked = somebody.open("/console/hosts")
        assert asked.path == "/console/sign-in"
        assert somebody.send(asked, "Sign in", token=admin_token(running)).path == "/console/hosts"


@pytest.mark.parametrize(
    "elsewhere", ["https://example.com/", "//example.com", "/console/\\example.com", "/v2/databases", "x"]
)
def test_signing_in_leads_nowhere_but_into_the_console(running: Service, elsewhere: str) -> None:
    with visitor(running, "") as somebody:
        asked = somebody.open("/console/sign-in")
        there = somebody.send(asked, "Sign in", token=admin_token(running), next=elsewhere)
        assert there.path == "/console/clusters"


def test_many_wrong_tokens_are_slowed_down_and_others_are_not(running: Service) -> None:
    with service() as alone, visitor(alone, "") as somebody:
        sheet = somebody.open("/console/sign-in")
        for _ in range(10):
            sheet = somebody.send(sheet, "Sign in", 401, token="wrong")
        assert "Too many failed sign-ins" in somebody.send(sheet, "Sign in", 429, token="wrong").text


# -- The session


def test_the_cookie_is_kept_from_scripts_other_sites_and_plain_http(running: Service) -> None:
    with visitor(running, "") as somebody:
        sheet = somebody.open("/console/sign-in")
        sent = somebody.http.post(
            "/console/sign-in",
            data={"form_token": sheet.form("Sign in").fields["form_token"][0], "token": admin_token(running)},
            follow_redirects=False,
        )
        [cookie] = [line for line in sent.headers.get_list("set-cookie") if line.startswith(f"{SESSION}=")]
        flags = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert flags >= {"path=/", "secure", "httponly", "samesite=strict"}
        assert not any(flag.startswith("domain") for flag in flags)
        assert admin_token(running) not in sent.text + str(sent.headers)


def test_the_token_stands_in_no_page_and_in_no_address(running: Service) -> None:
    with visitor(running) as somebody:
        for path in PAGES:
            sheet = somebody.open(path)
            assert admin_token(running) not in sheet.source + str(sheet.answer.url) + str(
                sheet.answer.headers
            )
    assert admin_token(running) not in running.log()


def test_a_revoked_token_ends_the_session_with_the_next_request(running: Service) -> None:
    with visitor(running, "database:read") as somebody:
        assert somebody.open("/console/clusters").path == "/console/clusters"
        running.cenote("token", "revoke", "visitor")
        told = somebody.open("/console/clusters")
        assert told.path == "/console/sign-in"
        assert "You have been signed out" in told.text
        assert SESSION not in somebody.http.cookies


@pytest.mark.parametrize("change", ["cut", "turned", "of another kind", "empty"])
def test_a_cookie_that_was_not_sealed_for_this_opens_nothing(running: Service, change: str) -> None:
    with visitor(running, "") as somebody:
        somebody.open("/console/sign-in")
        other = somebody.http.cookies["__Host-cenote-sign-in"]
    with visitor(running) as somebody:
        value = somebody.http.cookies[SESSION]
        forged = {
            "cut": value[:-4],
            "turned": value[:20] + ("A" if value[20] != "A" else "B") + value[21:],
            "of another kind": other,
            "empty": "",
        }[change]
        somebody.http.cookies.clear()
        somebody.http.cookies.set(SESSION, forged)
        assert somebody.open("/console/clusters").path == "/console/sign-in"


def test_a_session_goes_on_when_the_service_starts_anew() -> None:
    with service() as started, visitor(started) as somebody:
        started.end()
        started.start()
        assert somebody.open("/console/clusters").path == "/console/clusters"


def test_a_link_on_another_site_does_not_end_the_session(running: Service) -> None:
    with visitor(running, "") as somebody:
        answer = somebody.http.get("/console/clusters", headers={"sec-fetch-site": "cross-site"})
        assert 'http-equiv="refresh"' in answer.text
        assert SESSION not in answer.headers.get("set-cookie", "").replace(f"{SESSION}-sign-in", "")


# -- Forms


def post(somebody: Visitor, form_token: str, **headers: str) -> int:
    answer = somebody.http.post(
        "/console/tokens",
        data={"form_token": form_token, "name": "forged", "scopes": "*"},
        headers=headers,
        follow_redirects=False,
    )
    return answer.status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://example.com"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "null"},
    ],
)
def test_a_form_that_comes_from_elsewhere_changes_nothing(running: Service, headers: dict[str, str]) -> None:
    with visitor(running) as somebody:
        good = somebody.open("/console/tokens").form("Create token").fields["form_token"][0]
        assert post(somebody, good, **headers) == 403
        assert "forged" not in somebody.open("/console/tokens").text


def test_a_form_needs_the_token_of_its_own_session(running: Service) -> None:
    with visitor(running) as other, visitor(running) as somebody:
        foreign = other.open("/console/tokens").form("Create token").fields["form_token"][0]
        for wrong in (foreign, "", "x", "0" * 64):
            assert post(somebody, wrong) == 403
        assert "forged" not in somebody.open("/console/tokens").text


def test_signing_in_needs_a_form_of_ours_too(running: Service) -> None:
    with visitor(running, "") as somebody:
        sent = {"token": admin_token(running), "form_token": "0" * 64}
        answer = somebody.http.post("/console/sign-in", data=sent)
        assert answer.status_code == 403
        assert SESSION not in somebody.http.cookies


# -- What a browser is told


def test_every_answer_below_the_console_has_the_policy_that_keeps_others_out(running: Service) -> None:
    with visitor(running) as somebody:
        paths = [*PAGES, "/console", "/console/nothing", "/console/clusters/nothing"]
        answers = [somebody.http.get(path, follow_redirects=False) for path in paths]
        static = re.findall(r'(?:href|src)="(/console/static/[^"]+)"', somebody.open(PAGES[0]).source)
        assert len(static) >= 3
        files = [somebody.http.get(path) for path in static]
        refused = somebody.http.post("/console/tokens", data={"form_token": "x"})
        for answer in [*answers, *files, refused]:
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
            for rule in ("form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
                assert rule in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert {answer.headers["cache-control"] for answer in [*answers, refused]} == {"no-store"}
        assert {file.headers["cache-control"] for file in files} == {"public, max-age=31536000, immutable"}
        assert {file.status_code for file in files} == {200}


def test_no_page_has_a_script_or_a_style_of_its_own(running: Service) -> None:
    with visitor(running) as somebody:
        for path in PAGES:
            for tag, given in somebody.open(path).elements:
                assert tag != "style"
                assert tag != "script" or given.get("src")
                assert not [name for name in given if name == "style" or name.startswith("on")]


def test_what_is_not_there_is_told_on_a_page(running: Service) -> None:
    with visitor(running) as somebody:
        assert "This page does not exist." in somebody.open("/console/nothing", 404).text
        missing = "/console/clusters/00000000-0000-0000-0000-000000000000"
        assert "could not be found" in somebody.open(missing, 404).text


def test_a_spent_rate_limit_is_told_on_a_page_with_how_long_to_wait() -> None:
    with service("--requests-per-hour=0", "--requests-per-minute=8") as slow, visitor(slow) as somebody:
        for _ in range(12):
            answer = somebody.http.get("/console/hosts")
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
        assert "has reached its rate limit" in answer.text
