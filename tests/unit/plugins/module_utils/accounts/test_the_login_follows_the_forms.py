# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The login knows no order of pages: it follows what the provider shows."""

from __future__ import annotations

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import ConfigurationError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.forms import parse
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.provider import Provider, metadata_addresses
from identity_fake import (
    APPLICATION,
    CODE,
    EMAIL,
    HOST,
    IDENTIFIER,
    PASSWORD,
    PASSWORD_FIELD,
    TOTP_SECRET,
    Reply,
    World,
    document,
    example_provider,
    form,
    page,
    redirect,
)


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("one_page", [False, True])
@pytest.mark.parametrize("mfa", ["none", "after resume", "before resume"])
def test_any_order_of_pages_ends_in_tokens(world: World, *, absolute: bool, one_page: bool, mfa: str) -> None:
    world.provider.absolute, world.provider.one_page = absolute, one_page
    world.provider.mfa, world.provider.mfa_before_resume = mfa != "none", mfa == "before resume"
    world.give(email=EMAIL, password=PASSWORD, totp_secret=TOTP_SECRET)
    outcome = world.renew()
    assert (outcome.state, outcome.action, outcome.usable, outcome.changed) == ("valid", "login", True, True)
    assert world.provider.passwords_seen == [PASSWORD]
    assert len(world.provider.codes_seen) == (mfa != "none")


def test_all_three_fields_may_stand_on_one_page(world: World) -> None:
    def check(fields: dict[str, str]) -> Reply:
        assert (fields["username"], fields["password"], len(fields["code"])) == (EMAIL, PASSWORD, 6)
        return redirect("/authorize/resume")

    world.give(email=EMAIL, password=PASSWORD, totp_secret=TOTP_SECRET)
    world.provider.answers["GET /authorize"] = world.provider.handle_then_show(
        page(form(IDENTIFIER, PASSWORD_FIELD, CODE))
    )
    world.provider.answers["POST /authorize"] = check
    assert world.renew().usable


def test_hidden_fields_defaults_and_the_first_button_go_along(world: World) -> None:
    seen: list[dict[str, str]] = []

    def take(fields: dict[str, str]) -> Reply:
        seen.append(fields)
        return redirect("/authorize/resume")

    shown = form(
        IDENTIFIER,
        PASSWORD_FIELD,
        '<input type="hidden" name="js-available" value="false">',
        '<input type="checkbox" name="remember" checked><input type="checkbox" name="news" value="1">',
        '<input name="gone" value="1" disabled>',
        '<select name="realm"><option value="a">A<option value="b" selected>B</select>',
        button='<button name="action" value="default">Go</button><button name="action" value="back">Back</button>',
        action="check?x=1",
    )
    world.provider.answers["GET /authorize"] = world.provider.handle_then_show(page(shown))
    world.provider.answers["POST /check"] = take
    assert world.renew().usable
    assert seen == [
        {
            "state": "TX",
            "username": EMAIL,
            "password": PASSWORD,
            "js-available": "false",
            "remember": "on",
            "realm": "b",
            "action": "default",
        }
    ]


SENT_BY_SCRIPT = [
    (
        "button for browsers without scripts",
        "<form method=post action=/go-on>HIDDEN<noscript><button>Go</button></noscript></form>",
    ),
    (
        "form for browsers without scripts",
        "<noscript><form method=post action=/go-on>HIDDEN<input type=submit></form></noscript>",
    ),
    ("sent on load", '<body onload="document.forms[0].submit()"><form method=post action=/go-on>HIDDEN</form>'),
    ("sent by a script", "<form method=post action=/go-on>HIDDEN</form><script>document.forms[0].submit()</script>"),
    (
        "sent by a script in another way",
        "<form method=post action=/go-on>HIDDEN</form><script>f.requestSubmit()</script>",
    ),
    ("sent by another file", "<form method=post action=/go-on>HIDDEN</form><script src=/send.js></script>"),
    (
        "with a button out of sight",
        "<form method=post action=/go-on>HIDDEN<button hidden>Go</button></form><script>f.submit()</script>",
    ),
]


@pytest.mark.parametrize("shown", [row[1] for row in SENT_BY_SCRIPT], ids=[row[0] for row in SENT_BY_SCRIPT])
def test_a_page_that_a_browser_sends_by_itself_is_passed_on(world: World, shown: str) -> None:
    seen: list[dict[str, str]] = []

    def go_on(fields: dict[str, str]) -> Reply:
        seen.append(fields)
        return world.provider.callback(code="CODE")

    hidden = '<input type="hidden" name="ticket" value="T1">'
    world.provider.answers["GET /authorize/resume"] = page(shown.replace("HIDDEN", hidden))
    world.provider.answers["POST /go-on"] = go_on
    assert world.renew().usable
    assert seen == [{"ticket": "T1"}]


def test_a_form_is_sent_on_twice_at_most(world: World) -> None:
    world.provider.answers["POST /u/login/password"] = redirect("/u/login/password", 307)
    outcome = world.renew()
    assert outcome.error_class == "provider_error"
    assert sum("password" in fields for _method, _path, fields in world.provider.requests) == 3


def test_a_redirect_that_keeps_the_method_sends_the_form_again(world: World) -> None:
    world.provider.answers["POST /u/login/identifier"] = redirect("/elsewhere", 307)
    world.provider.answers["POST /elsewhere"] = lambda fields: (
        redirect("/u/login/password") if fields["username"] == EMAIL else Reply(400)
    )
    assert world.renew().usable


def test_error_codes_on_a_page_that_goes_on_are_no_error(world: World) -> None:
    hidden = '<ul class="hidden"><li data-error-code="wrong-credentials"></ul>'
    world.provider.answers["GET /u/login/password"] = page(form(PASSWORD_FIELD), before=hidden)
    assert world.renew().usable


@pytest.mark.parametrize(
    "parameters", [{"state": "foreign", "code": "CODE"}, {"code": "CODE", "iss": "https://other.example.test"}, {}]
)
def test_a_callback_of_somebody_else_is_refused(world: World, parameters: dict[str, str]) -> None:
    world.renewer.provider = example_provider(issuer=HOST)
    world.provider.answers["GET /authorize/resume"] = lambda _fields: world.provider.callback(**parameters)
    outcome = world.renew()
    assert outcome.error_class == "provider_error"
    assert not any(path == "/oauth/token" for _method, path, _fields in world.provider.requests)


def test_a_callback_with_blanks_in_it_is_read(world: World) -> None:
    def deny(_fields: dict[str, str]) -> Reply:
        told = world.provider.callback(error="access_denied")
        return redirect(f"{told.headers['Location']}&error_description=The owner said no")

    world.provider.answers["GET /authorize/resume"] = deny
    assert world.renew().error_class == "account_blocked"


def test_a_callback_of_the_right_issuer_is_taken(world: World) -> None:
    world.renewer.provider = example_provider(issuer=HOST)
    world.provider.answers["GET /authorize/resume"] = lambda _fields: world.provider.callback(code="CODE", iss=HOST)
    assert world.renew().usable


def test_verifier_and_state_are_fresh_for_every_login(world: World) -> None:
    world.limit(login_interval=0, login_gap=0, login_gap_random=0)
    world.renew()
    world.provider.live.clear()
    world.past_point()
    world.renew()
    starts = [fields for method, path, fields in world.provider.requests if (method, path) == ("GET", "/authorize")]
    assert len(starts) == 2
    assert starts[0]["state"] != starts[1]["state"]
    assert starts[0]["code_challenge"] != starts[1]["code_challenge"]
    assert {start["code_challenge_method"] for start in starts} == {"S256"}


def test_the_first_request_carries_what_the_provider_is_configured_with(world: World) -> None:
    world.renewer.provider = example_provider(prompt="login consent", audience="", authorization_parameters={"ui": "x"})
    world.renew()
    fields = world.provider.requests[0][2]
    assert fields["prompt"] == "login consent"
    assert "audience" not in fields
    assert fields["ui"] == "x"
    assert fields["response_type"] == "code"


def test_another_host_can_be_allowed(world: World) -> None:
    world.renewer.provider = example_provider(allowed_hosts=["pages.example.test"])
    world.provider.answers["POST /u/login/identifier"] = redirect("https://pages.example.test/u/login/password")
    assert world.renew().usable


def test_other_names_of_fields_and_codes_are_configuration(world: World) -> None:
    world.renewer.provider = example_provider(
        identifier_fields=["kennung"], error_code_attribute="data-fault", error_codes={"E17": "account_blocked"}
    )
    world.provider.answers["GET /u/login/identifier"] = page(form('<input name="kennung">'))
    world.provider.answers["POST /u/login/identifier"] = redirect("/u/login/password")
    world.provider.answers["POST /u/login/password"] = page(form(PASSWORD_FIELD), 400, before='<b data-fault="E17">')
    assert world.renew().error_class == "account_blocked"


@pytest.mark.parametrize(
    "path", ["/tenant/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/tenant"]
)
def test_endpoints_are_discovered(world: World, path: str) -> None:
    issuer = f"{HOST}/tenant"
    world.renewer.provider = Provider.from_mapping({"issuer": issuer, **APPLICATION})
    world.provider.answers[f"GET {path}"] = document(
        {"issuer": issuer, "authorization_endpoint": f"{HOST}/authorize", "token_endpoint": f"{HOST}/oauth/token"}
    )
    assert world.renew().usable
    assert world.provider.requests[-1][:2] == ("POST", "/oauth/token")


@pytest.mark.parametrize(
    "metadata", [{"issuer": "https://other.example.test"}, {"issuer": HOST}, {"issuer": HOST, "x": 1}]
)
def test_metadata_of_another_issuer_or_without_endpoints_is_refused(world: World, metadata: dict[str, object]) -> None:
    world.renewer.provider = Provider.from_mapping({"issuer": HOST, **APPLICATION})
    world.provider.answers["GET /.well-known/openid-configuration"] = document(metadata)
    assert world.renew().error_class == "provider_error"


def test_no_metadata_at_all_is_named(world: World) -> None:
    world.renewer.provider = Provider.from_mapping({"issuer": HOST, **APPLICATION})
    outcome = world.renew()
    assert outcome.error_class == "provider_error"
    assert "authorization_endpoint" in outcome.cure


def test_metadata_addresses_follow_both_standards() -> None:
    assert metadata_addresses("https://h.test/a/") == (
        "https://h.test/a/.well-known/openid-configuration",
        "https://h.test/.well-known/oauth-authorization-server/a",
    )


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"tokenendpoint": "x"}, "tokenendpoint"),
        ({"token_endpoint": "http://h.test/token"}, "token_endpoint"),
        ({"token_endpoint": 5}, "token_endpoint"),
        ({"token_endpoint": ""}, "endpoints"),
        ({"client_id": ""}, "client_id"),
        ({"allowed_hosts": "h.test"}, "allowed_hosts"),
        ({"error_codes": {"a": "no_such_class"}}, "error_codes"),
        ({"error_codes": ["a"]}, "error_codes"),
        ({"error_codes": {"": "bad_credentials"}}, "error_codes"),
        ({"page_errors": {"": "consent_required"}}, "page_errors"),
        ({"page_errors": {"pass-key": None}}, "pass-key"),
        ({"error_codes": {"wrong-credentials": 5}}, "error_codes"),
        ({"step_errors": {"pasword": "bad_credentials"}}, "pasword"),
        ({"authorization_parameters": {"ui": None}}, "authorization_parameters"),
        ({"redirect_uri": "https://[x"}, "redirect_uri"),
        ({"rotation_leeway": "soon"}, "rotation_leeway"),
        ({"rotation_leeway": -1}, "rotation_leeway"),
        ({"issuer": "https://[x"}, "issuer"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(settings: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word) as caught:
        Provider.from_mapping(settings)
    assert caught.value.cure


ANOTHER = {"authorization_endpoint": f"{HOST}/authorize", "token_endpoint": f"{HOST}/oauth/token", **APPLICATION}


@pytest.mark.parametrize("missing", ["authorization_endpoint", "token_endpoint", "client_id", "redirect_uri", "scope"])
def test_another_provider_is_complete_or_refused(missing: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Provider.from_mapping({name: value for name, value in ANOTHER.items() if name != missing})
    assert missing in f"{caught.value.sentence} {caught.value.cure}"


def test_nothing_of_the_built_in_provider_is_used_for_another_one() -> None:
    provider = Provider.from_mapping({name: value for name, value in ANOTHER.items() if name != "audience"})
    assert (provider.revocation_endpoint, provider.audience, provider.issuer) == ("", "", "")
    built_in = "openai"
    assert built_in not in repr(provider)
    # What concerns no place leaves the built-in one as it is.
    assert Provider.from_mapping({"prompt": "login consent"}).token_endpoint == Provider().token_endpoint


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_default_is_taken_away_by_an_entry_without_a_value(nothing: str | None) -> None:
    provider = Provider.from_mapping(
        {
            "page_errors": {"consent": nothing, "news": "unknown_page"},
            "error_codes": {"no-email": nothing, "E17": "account_blocked"},
            "step_errors": {"identifier": nothing},
        }
    )
    assert "consent" not in provider.page_errors
    assert (provider.page_errors["news"], provider.page_errors["passkey"]) == ("unknown_page", "unknown_page")
    assert "no-email" not in provider.error_codes
    assert (provider.error_codes["E17"], provider.error_codes["user-blocked"]) == ("account_blocked", "account_blocked")
    assert provider.step_errors == {"password": "bad_credentials", "code": "mfa_invalid"}


def test_a_path_that_is_no_obstacle_here_can_be_said_to_be_none(world: World) -> None:
    world.provider.answers["POST /u/login/identifier"] = redirect("/u/consent-and-password")
    world.provider.answers["GET /u/consent-and-password"] = page(form(PASSWORD_FIELD, action="/u/login/password"))
    assert world.renew().error_class == "consent_required"
    world.renewer.provider = example_provider(page_errors={"consent": None})
    assert world.renew(lift=True).usable


def test_a_step_without_a_class_ends_as_an_unknown_page(world: World) -> None:
    world.renewer.provider = example_provider(step_errors={"password": ""})
    world.give(email=EMAIL, password="something else")
    world.provider.wrong_code = ""
    assert world.renew().error_class == "unknown_page"


def test_a_list_is_replaced(world: World) -> None:
    world.renewer.provider = example_provider(identifier_fields=["kennung"])
    world.provider.answers["GET /u/login/identifier"] = page(form('<input name="username">'))
    assert world.renew().error_class == "unknown_page"


def test_the_default_provider_is_the_original_one() -> None:
    provider = Provider()
    assert provider.authorization_endpoint == "https://auth0.openai.com/authorize"
    assert provider.client_id == "pdlLIX2Y72MIl2rhLhTE9VV9bN905kBh"
    assert provider.audience == "https://api.openai.com/v1"
    assert provider.redirect_uri == "com.openai.chat://auth0.openai.com/ios/com.openai.chat/callback"
    assert provider.scope.split()[:4] == ["openid", "email", "profile", "offline_access"]
    assert provider.allows("https://AUTH0.openai.com:443/u/login")
    assert not provider.allows("https://auth0.openai.com:8443/")
    assert not provider.allows("http://auth0.openai.com/")
    assert not provider.allows("https://openai.com/")


def test_broken_markup_is_read_as_far_as_it_goes() -> None:
    shown = parse(
        '<form id=a><input name=x value="&amp;"><form><p><input form=a name=y></form><input name=z><select name=s>', "e"
    )
    assert [(item.name, item.value) for item in shown.forms[0].fields] == [("x", "&"), ("y", "")]
    assert len(shown.forms) == 1
