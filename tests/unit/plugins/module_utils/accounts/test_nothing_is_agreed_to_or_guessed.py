# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A login agrees to nothing for a person, leaves no field empty, and takes nothing for a rejection without a sign."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from identity_fake import (
    CODE,
    EMAIL,
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

AFTER = "GET /authorize/resume"
HIDDEN = '<input type="hidden" name="ticket" value="T1">'
TERMS = f'<h1>Terms</h1><form method="post" action="/agree">{HIDDEN}'
YES = "<button>I agree</button>"


def posted(world: World, *but: str) -> list[str]:
    """Return the forms that were sent, but those of an ordinary login."""
    usual = {"/u/login/identifier", "/u/login/password", "/oauth/token", *but}
    return [path for method, path, _fields in world.provider.requests if method == "POST" and path not in usual]


PERSON = [
    (
        "one button without a name",
        f'<h1>Terms of service</h1><form method="post" action="/agree">{HIDDEN}{YES}</form>',
    ),
    (
        "one input button",
        f'{TERMS}<input type=submit value="I agree"></form>',
    ),
    (
        "one picture",
        f'{TERMS}<input type=image alt="I agree"></form>',
    ),
    (
        "a button with a name",
        f"{TERMS}<button name=ok value=1>I agree</button></form>",
    ),
    (
        "a button that is disabled until a script sees something",
        f"{TERMS}<button disabled>I agree</button></form>",
    ),
    (
        "a button for a script",
        f'{TERMS}<button type=button onclick="f.submit()">I agree</button></form>',
    ),
    (
        "a button beside the form",
        f'{TERMS}</form><button onclick="f.submit()">I agree</button>',
    ),
    (
        "something that looks like a button",
        f"{TERMS}</form><div role=button>I agree</div>",
    ),
    (
        "a checkbox that must be ticked",
        f"{TERMS}<input type=checkbox name=terms required>{YES}</form>",
    ),
    (
        "a checkbox that is ticked already",
        f"{TERMS}<input type=checkbox name=terms checked>{YES}</form>",
    ),
    (
        "a form without a button but a checkbox",
        f"{TERMS.replace('Terms', 'I agree')}<input type=checkbox name=t checked></form><script>f.submit()</script>",
    ),
    (
        "radio buttons",
        f"{TERMS}<input type=radio name=r value=1 checked><input type=radio name=r value=2>{YES}</form>",
    ),
    (
        "a list",
        f"{TERMS}<select name=s><option>x</select>{YES}</form>",
    ),
    (
        "two forms",
        f"{TERMS}{YES}</form><form method=post action=/no><button>No</button></form>",
    ),
    (
        "beside a form that a script may send",
        f"<form method=post action=/logout>{HIDDEN}</form>{TERMS}{YES}</form><script>f.submit()</script>",
    ),
    ("by GET", f'<h1>Terms</h1><form action="/agree">{HIDDEN}{YES}</form>'),
    (
        "title instead of a heading",
        f'<title>Terms</title><form method="post" action="/agree">{HIDDEN}{YES}</form>',
    ),
]


@pytest.mark.parametrize("shown", [row[1] for row in PERSON], ids=[row[0] for row in PERSON])
def test_a_page_that_waits_for_a_person_is_left_to_a_person(world: World, shown: str) -> None:
    world.provider.answers[AFTER] = page(shown)
    outcome = world.renew()
    assert (outcome.error_class, outcome.state) == ("consent_required", "needs_operator")
    assert posted(world) == []
    assert ("GET", "/agree") not in {(method, path) for method, path, _fields in world.provider.requests}
    assert '"I agree"' in outcome.message


def test_the_sentence_holds_heading_and_buttons(world: World) -> None:
    world.provider.answers[AFTER] = page(
        "<h2>no</h2><h1>Authorize <b>the</b>\n application</h1>"
        + form(button="<button name=a value=1> Yes,\n  <i>go on</i></button><button name=a value=0>No</button>")
    )
    assert world.renew().message == (
        "The page /authorize/resume asks the owner of the account for a decision: it shows the heading "
        '"Authorize the application" and the buttons "Yes, go on", "No".'
    )


def test_the_sentence_holds_nothing_personal_and_nothing_long(world: World) -> None:
    heading = (
        f"Welcome {EMAIL.upper()} &#64; alice.secretmail {PASSWORD} other.person@example.net \u202e\u200b\x07 "
        + "word " * 50
    )
    world.provider.answers[AFTER] = page(
        f"<h1>{heading}</h1>" + form(button=f"<button>{'long ' * 99}{EMAIL}</button>" * 20)
    )
    message = world.renew().message
    assert "Welcome" in message
    for word in ("secretmail", "planted", "other.person", "example.net", "@", "\u202e", "\u200b", "\x07"):
        assert word not in message.lower()
    assert message.isprintable()
    assert len(message) < 400


def test_a_form_that_nothing_sends_by_itself_is_not_sent(world: World) -> None:
    for shown in (
        f"<form method=post action=/logout>{HIDDEN}</form>",
        f"<form method=post action=/a>{HIDDEN}</form>" * 2 + "<script>f.submit()</script>",
    ):
        world.provider.answers["GET /authorize"] = page(shown)
        outcome = world.renew(lift=True)
        assert outcome.error_class == "unknown_page"
        assert posted(world) == []


MUST_BE_TICKED = [
    '<input type="checkbox" name="terms" required>',
    '<input type="checkbox" name="terms" required checked>',
]


@pytest.mark.parametrize("box", MUST_BE_TICKED)
def test_no_password_is_sent_with_an_agreement(world: World, box: str) -> None:
    world.provider.answers["GET /u/login/password"] = page("<h1>Log in</h1>" + form(PASSWORD_FIELD, box))
    outcome = world.renew()
    assert outcome.error_class == "consent_required"
    assert '"Log in"' in outcome.message
    assert "terms" in outcome.message
    assert world.provider.passwords_seen == []


UNKNOWN = [
    ("user name with another name", ['<input name="kennung">', PASSWORD_FIELD], "kennung"),
    ("user name with another name, required", ['<input name="kennung" required>', PASSWORD_FIELD], "kennung"),
    ("user name without a name", ["<input>", PASSWORD_FIELD], "without a name"),
    (
        "number of a customer beside the user name",
        [IDENTIFIER, '<input type="number" name="customer">', PASSWORD_FIELD],
        "customer",
    ),
    ("answer to a question", [PASSWORD_FIELD, '<textarea name="pet"></textarea>'], "pet"),
    (
        "list to choose from",
        [PASSWORD_FIELD, '<select name="realm" required><option value="">choose</select>'],
        "realm",
    ),
    ("required by its script", [PASSWORD_FIELD, '<input name="realm" aria-required="true" hidden>'], "realm"),
    ("one of two", [PASSWORD_FIELD, '<input type="radio" name="kind" value="1" required>'], "kind"),
    ("file", [PASSWORD_FIELD, '<input type="file" name="key" required>'], "key"),
    ("date", [PASSWORD_FIELD, '<input type="date" name="born" required>'], "born"),
    ("password without a name", [IDENTIFIER, '<input type="password">'], "without a name"),
    ("required and out of sight", [PASSWORD_FIELD, '<input name="where" required hidden>'], "where"),
]


@pytest.mark.parametrize(("fields", "name"), [row[1:] for row in UNKNOWN], ids=[row[0] for row in UNKNOWN])
@pytest.mark.parametrize("code", [None, 400])
def test_no_password_is_sent_with_a_field_that_nothing_fills(
    world: World, fields: list[str], name: str, code: int | None
) -> None:
    world.provider.answers["GET /u/login/password"] = page(form(*fields), code or 200)
    outcome = world.renew()
    assert (outcome.error_class, outcome.state) == ("unknown_page", "needs_operator")
    assert name in outcome.message
    assert "identifier_fields" in outcome.cure
    assert world.provider.passwords_seen == []
    assert all("password" not in fields for _method, _path, fields in world.provider.requests)


def test_a_required_field_beside_the_e_mail_is_named(world: World) -> None:
    world.provider.answers["GET /u/login/identifier"] = page(form(IDENTIFIER, '<input name="tenant" required>'))
    outcome = world.renew()
    assert outcome.error_class == "unknown_page"
    assert "tenant" in outcome.message
    assert "username" in outcome.message
    assert posted(world) == []
    assert world.provider.requests[-1][0] == "GET"


FILLED_ALREADY = [
    '<input name="realm" value="staff" required>',
    '<select name="realm" required><option value="1">one</select>',
    '<input name="realm" required disabled>',
    '<input name="realm" required readonly>',
    '<input type="radio" name="r" value="1" required><input type="radio" name="r" value="2" checked>',
    '<input type="hidden" name="realm" required>',
    '<input type="checkbox" name="remember" checked>',
    '<div style="display:none"><input name="website"></div>',
    '<input name="website" hidden>',
]


@pytest.mark.parametrize("field", FILLED_ALREADY)
def test_a_field_that_needs_nobody_is_in_nobodys_way(world: World, field: str) -> None:
    world.provider.answers["GET /u/login/password"] = page(form(PASSWORD_FIELD, field))
    assert world.renew().usable


def test_a_field_that_may_stay_empty_is_a_setting(world: World) -> None:
    world.renewer.provider = example_provider(optional_fields=["Realm"])
    world.provider.answers["GET /u/login/password"] = page(form(PASSWORD_FIELD, '<input name="realm">'))
    assert world.renew().usable


def test_names_of_fields_have_no_case(world: World) -> None:
    world.provider.answers["GET /u/login/identifier"] = page(form('<input name="UserName">'))
    world.provider.answers["POST /u/login/identifier"] = lambda fields: (
        redirect("/u/login/password") if fields["UserName"] == EMAIL else Reply(400)
    )
    assert world.renew().usable


CAPTCHAS = [
    '<div class="g-recaptcha" data-sitekey="x"></div>',
    '<div class="h-captcha"></div>',
    '<div class="cf-turnstile"></div>',
    '<noscript><iframe src="https://www.google.com/recaptcha/api/fallback?k=x"></iframe></noscript>',
    '<img src="/captcha/image/17" alt="">',
    "<captcha-widget></captcha-widget>",
]


@pytest.mark.parametrize("captcha", CAPTCHAS)
@pytest.mark.parametrize("place", ["inside", "before"])
@pytest.mark.parametrize("when", ["first", "after a rejection with 400", "after a rejection with 200", "after a 401"])
def test_a_captcha_beside_the_form_is_no_wrong_password(world: World, captcha: str, place: str, when: str) -> None:
    inside = [captcha] if place == "inside" else []
    shown = form(PASSWORD_FIELD, *inside)
    before = "" if inside else captcha
    if when == "first":
        world.provider.answers["GET /u/login/password"] = page(shown, before=before)
    else:
        status = {"after a rejection with 400": 400, "after a rejection with 200": 200, "after a 401": 401}[when]
        world.provider.answers["POST /u/login/password"] = page(shown, status, before=before)
    outcome = world.renew()
    assert (outcome.error_class, outcome.state) == ("captcha_required", "needs_operator")
    assert len(world.provider.passwords_seen) == 0


@pytest.mark.parametrize("name", ["captcha_1", "txtCaptcha", "h-captcha-response"])
def test_a_field_for_a_captcha_is_known_by_its_name(world: World, name: str) -> None:
    world.provider.answers["GET /u/login/password"] = page(form(PASSWORD_FIELD, f'<input name="{name}" required>'))
    assert world.renew().error_class == "captcha_required"


def test_a_captcha_of_another_form_is_in_nobodys_way(world: World) -> None:
    other = '<form action="/news"><input name="mail"><div class="g-recaptcha"></div></form>'
    world.provider.answers["GET /u/login/password"] = page(form(PASSWORD_FIELD), before=other)
    assert world.renew().usable


def answer_to_password(reply: Reply) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        world.provider.answers["POST /u/login/password"] = reply

    return arrange


def coded(code: str, status: int = 400, fields: str = PASSWORD_FIELD) -> Reply:
    return page(form(fields), status, before=f'<p data-error-code="{code}">no</p>')


REJECTIONS: list[tuple[str, str, Any]] = [
    ("known code", "bad_credentials", coded("wrong-credentials")),
    ("known code with 200", "bad_credentials", coded("wrong-credentials", 200)),
    ("the same page", "bad_credentials", page(form(PASSWORD_FIELD))),
    ("the same page with 422", "bad_credentials", page(form(PASSWORD_FIELD), 422)),
    ("the same page with 401", "bad_credentials", page(form(PASSWORD_FIELD), 401)),
    ("401 without a form", "bad_credentials", page("<h1>Unauthorized</h1>", 401)),
    ("401 without a body", "bad_credentials", Reply(401)),
    ("401 as JSON", "bad_credentials", document({"message": "no"}, 401)),
    ("401 as JSON with words", "bad_credentials", document({"error": "Unauthorized", "statusCode": 401}, 401)),
    ("401 as JSON with a sentence", "bad_credentials", document({"error": "Wrong email or password."}, 401)),
    ("401 with a button back", "bad_credentials", page('<form action="/"><button>Back</button></form>', 401)),
    ("known code as JSON with 401", "account_blocked", document({"error": "user-blocked"}, 401)),
    ("known code as JSON with 400", "bad_credentials", document({"code": "wrong-credentials"}, 400)),
    ("known code as JSON with 403", "bad_credentials", document({"error": {"code": "wrong-credentials"}}, 403)),
    ("known code in a list as JSON", "account_blocked", document({"errors": [{"errorCode": "user-blocked"}]}, 400)),
    ("known code as JSON with 200", "bad_credentials", document({"error_code": "wrong-credentials"})),
    ("unknown code", "unknown_page", coded("E-99")),
    ("unknown code with 200", "unknown_page", coded("E-99", 200)),
    ("unknown code with 401", "unknown_page", coded("E-99", 401)),
    ("unknown code without a form", "unknown_page", page('<p data-error-code="E-99">no</p>', 401)),
    ("unknown code as JSON", "unknown_page", document({"error": "E-99"}, 401)),
    ("unknown code as JSON with 403", "unknown_page", document({"error": "E-99"}, 403)),
    ("400 without a form", "unknown_page", page("<h1>Bad request</h1>", 400)),
    ("422 as JSON", "unknown_page", document({"message": "no"}, 422)),
    ("403 as JSON", "unknown_page", document({"message": "no"}, 403)),
    ("403 of a guard", "ip_blocked", page("<h1>no</h1>", 403)),
    ("429 as JSON with a code", "rate_limited", document({"error": "E-99"}, 429)),
    ("503 as JSON with a code", "provider_error", document({"error": "E-99"}, 503)),
    ("other fields", "unknown_page", page(form('<input type="password" name="pin">'))),
    ("other fields with 400", "unknown_page", page(form(PASSWORD_FIELD, '<input name="company" value="x">'), 400)),
    ("one more required field", "unknown_page", page(form(PASSWORD_FIELD, '<input name="company" required>'), 400)),
    (
        "one more required field with 401",
        "unknown_page",
        page(form(PASSWORD_FIELD, '<input name="company" required>'), 401),
    ),
    (
        "an agreement",
        "consent_required",
        page(form(PASSWORD_FIELD, '<input type="checkbox" name="terms" required>'), 400),
    ),
    (
        "a page of two buttons with 400",
        "consent_required",
        page(form(button="<button>Yes</button><button>No</button>"), 400),
    ),
]


@pytest.mark.parametrize(("error_class", "reply"), [row[1:] for row in REJECTIONS], ids=[row[0] for row in REJECTIONS])
def test_a_rejection_needs_a_sign(world: World, error_class: str, reply: Reply) -> None:
    answer_to_password(reply)(world)
    outcome = world.renew()
    assert outcome.error_class == error_class
    sent = [
        fields for method, path, fields in world.provider.requests if (method, path) == ("POST", "/u/login/password")
    ]
    assert len(sent) == 1
    if error_class == "unknown_page" and "E-99" in reply.text:
        assert "E-99" in outcome.message
        assert "error_codes" in outcome.cure


@pytest.mark.parametrize("reply", [Reply(401), document({"message": "no"}, 401), page("<h1>no</h1>", 401)])
@pytest.mark.parametrize("where", ["GET /authorize", "GET /u/login/password", AFTER, "POST /u/login/identifier"])
def test_a_401_elsewhere_is_the_providers(world: World, reply: Reply, where: str) -> None:
    world.provider.answers[where] = reply
    assert world.renew().error_class == "provider_error"


def test_a_password_that_is_asked_for_in_another_way_is_not_sent_again(world: World) -> None:
    names = iter(range(1000))
    world.provider.answers["POST /u/login/password"] = lambda _fields: page(
        form(f'<input type="password" name="p{next(names)}">')
    )
    assert world.renew().error_class == "unknown_page"
    assert next(names) == 1


def test_an_identifier_may_be_asked_for_by_two_places(world: World) -> None:
    world.provider.answers["POST /u/login/identifier"] = page(form('<input name="loginfmt">', action="/second"))
    world.provider.answers["POST /second"] = redirect("/u/login/password")
    assert world.renew().usable


def test_identifiers_are_not_sent_without_end(world: World) -> None:
    names = iter(range(1000))

    def shown(_fields: dict[str, str]) -> Reply:
        return page(form(f'<input type="email" name="e{next(names)}">'))

    world.provider.answers["POST /u/login/identifier"] = shown
    assert world.renew().error_class == "unknown_page"
    assert next(names) <= 3


def test_a_page_that_comes_back_for_a_field_that_nobody_filled_is_no_rejection(world: World) -> None:
    shown = page(form(IDENTIFIER, '<input name="company">'))
    world.provider.answers["GET /u/login/identifier"] = world.provider.answers["POST /u/login/identifier"] = shown
    outcome = world.renew()
    assert outcome.error_class == "unknown_page"
    assert "company" in outcome.message


def test_a_code_page_with_an_unknown_code_is_no_wrong_code(world: World) -> None:
    world.provider.mfa = True
    world.give(email=EMAIL, password=PASSWORD, totp_secret=TOTP_SECRET)
    world.provider.answers["POST /u/mfa-otp-challenge"] = coded("E-99", 400, CODE)
    outcome = world.renew()
    assert outcome.error_class == "unknown_page"
    assert "E-99" in outcome.message


@pytest.mark.parametrize("code", ["wrong-credentials", "invalid-code"])
def test_nothing_is_rejected_before_it_was_given(world: World, code: str) -> None:
    world.provider.answers["GET /authorize"] = coded(code)
    outcome = world.renew()
    assert outcome.error_class == "unknown_page"
    assert code in outcome.message
    world.provider.answers = {"POST /u/login/password": coded("invalid-code")}
    assert world.renew(lift=True).error_class == "unknown_page"


@pytest.mark.parametrize("code", ["x" * 500, f"{EMAIL}", "bad\ncode \u202e", PASSWORD, "ü"])
def test_an_unknown_code_is_cleaned(world: World, code: str) -> None:
    world.provider.answers["POST /u/login/password"] = coded(code)
    outcome = world.renew()
    assert outcome.error_class == "unknown_page"
    assert outcome.message.isprintable()
    assert len(outcome.message) < 200
    assert all(word not in outcome.message for word in ("secretmail", "planted", "\u202e"))


def test_a_page_without_a_form_says_what_it_shows(world: World) -> None:
    for status, error_class in ((200, "unknown_page"), (400, "provider_error")):
        world.provider.answers["GET /authorize"] = page("<h1>Unknown client</h1><button>Back</button>", status)
        outcome = world.renew(lift=True)
        assert outcome.error_class == error_class
        assert '"Unknown client"' in outcome.message
        assert '"Back"' in outcome.message


def test_a_page_that_asks_for_something_else_says_for_what(world: World) -> None:
    for status in (200, 400):
        world.provider.answers["GET /authorize"] = page(form('<input name="birthday">', '<input name="pet">'), status)
        outcome = world.renew(lift=True)
        assert outcome.error_class == "unknown_page"
        assert "birthday, pet" in outcome.message


@pytest.mark.parametrize("issuer", ["https://other.example.test/tenant", "nonsense"])
def test_another_issuer_is_named(world: World, issuer: str) -> None:
    world.renewer.provider = example_provider(issuer="https://login.example.test/")
    world.provider.answers[AFTER] = lambda _fields: world.provider.callback(code="CODE", iss=issuer)
    message = world.renew().message
    assert "https://login.example.test/" in message
    assert ("other.example.test/tenant" if issuer.startswith("https") else "unreadable") in message
