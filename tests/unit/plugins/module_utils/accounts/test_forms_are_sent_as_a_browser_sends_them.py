# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A form sends what a browser without scripts would send, to where it would send it."""

from __future__ import annotations

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.forms import Button, Field, HtmlForm, Page, parse
from identity_fake import IDENTIFIER, PASSWORD_FIELD, Reply, World, form, page, redirect


def sent(inner: str, *, button: Button | None = None) -> list[tuple[str, str]]:
    """Return what a form with this inside sends when nobody fills anything in."""
    return the_form(f"<form method=post>{inner}</form>").entries(button, lambda item: item.value)


def the_form(html: str) -> HtmlForm:
    (only,) = read(html).forms
    return only


def read(html: str) -> Page:
    return parse(html, "data-error-code")


FIELDS = [
    ("disabled input", "<input name=a value=1 disabled>", []),
    ("disabled textarea", "<textarea name=a disabled>x</textarea>", []),
    ("disabled select", "<select name=a disabled><option>x</select>", []),
    (
        "disabled fieldset",
        "<fieldset disabled><input name=a><select name=b><option>x</select></fieldset><input name=c>",
        [("c", "")],
    ),
    (
        "first legend of a disabled fieldset",
        "<fieldset disabled><legend><input name=a></legend><legend><input name=b></legend><input name=c></fieldset>",
        [("a", "")],
    ),
    (
        "legend of a fieldset inside a disabled one",
        "<fieldset disabled><fieldset disabled><legend><input name=a></legend></fieldset></fieldset>",
        [],
    ),
    ("legend inside a div", "<fieldset disabled><div><legend><input name=a></legend></div></fieldset>", []),
    ("fieldset that is not closed", "<div><fieldset disabled><input name=a></div><input name=b>", [("b", "")]),
    ("text of a textarea", "<textarea name=a>\n one &amp; <b>two</b>\n</textarea>", [("a", " one & <b>two</b>\r\n")]),
    ("textarea without end", "<textarea name=a>x<input name=b>", [("a", "x<input name=b></form>")]),
    ("option without value", "<select name=a><option> one \n two </select>", [("a", "one two")]),
    ("option with an empty value", "<select name=a><option value=''>one</select>", [("a", "")]),
    ("first option", "<select name=a><option value=1>one<option value=2>two</select>", [("a", "1")]),
    ("first option that can be chosen", "<select name=a><option disabled>x<option>y</select>", [("a", "y")]),
    (
        "option of a disabled group",
        "<select name=a><optgroup disabled><option>x</optgroup><option>y</select>",
        [("a", "y")],
    ),
    ("chosen option", "<select name=a><option>x<option selected>y<option>z</select>", [("a", "y")]),
    ("last of two chosen options", "<select name=a><option selected>x<option selected>y</select>", [("a", "y")]),
    ("chosen option that is disabled", "<select name=a><option selected disabled>x<option>y</select>", []),
    (
        "select with several",
        "<select name=a multiple><option selected>x<option>y<option selected>z</select>",
        [("a", "x"), ("a", "z")],
    ),
    ("select with several and none", "<select name=a multiple><option>x</select>", []),
    ("list without a choice", "<select name=a size=3><option>x</select>", []),
    ("empty select", "<select name=a></select>", []),
    ("select that is not closed", "<select name=a><option>x<input name=b>", [("a", "x"), ("b", "")]),
    ("end of the form inside a select", "<select name=a><option>x</form><input name=b>", [("a", "x"), ("b", "")]),
    ("radio buttons", "<input type=radio name=a value=1><input type=radio name=a value=2 checked>", [("a", "2")]),
    (
        "two set radio buttons",
        "<input type=radio name=a value=1 checked><input type=radio name=a checked>",
        [("a", "on")],
    ),
    (
        "checkboxes",
        "<input type=checkbox name=a checked><input type=checkbox name=b><input type=CHECKBOX name=a value=2 checked>",
        [("a", "on"), ("a", "2")],
    ),
    ("no name", "<input value=1><input name='' value=2><select><option>x</select>", []),
    ("one name twice", "<input name=a value=1><input name=a value=2>", [("a", "1"), ("a", "2")]),
    (
        "name of the charset",
        "<input type=hidden name=_charset_ value=x><input name=_charset_>",
        [("_charset_", "UTF-8"), ("_charset_", "")],
    ),
    ("hidden field", "<input type=hidden name=a value='1&quot;2'>", [("a", '1"2')]),
    ("line breaks", "<input type=hidden name=a value='1\n2\r3\r\n4'>", [("a", "1\r\n2\r\n3\r\n4")]),
    ("line breaks in a text", "<input name=a value='1\n2'>", [("a", "12")]),
    ("blanks around an address", "<input type=email name=a value=' x '>", [("a", "x")]),
    ("unknown type", "<input type=frobnicate name=a value=1>", [("a", "1")]),
    (
        "number that is none",
        "<input type=number name=a value=x><input type=number name=b value=-1.5e3>",
        [("a", ""), ("b", "-1.5e3")],
    ),
    ("slider", "<input type=range name=a><input type=range name=b min=10 max=20>", [("a", "50"), ("b", "15")]),
    ("color", "<input type=color name=a>", [("a", "#000000")]),
    ("file", "<input type=file name=a value=x>", [("a", "")]),
    (
        "buttons that were not chosen",
        "<input type=submit name=a><input type=image name=b><button name=c>x</button>",
        [],
    ),
    (
        "inside a template",
        "<template><input name=a><template></template><input name=b></template><input name=c>",
        [("c", "")],
    ),
    ("inside noscript", "<noscript><input type=hidden name=a value=1></noscript>", [("a", "1")]),
    ("inside a datalist", "<datalist><option>x<input name=a></datalist><input name=b>", [("b", "")]),
    (
        "inside a script",
        "<script>'<input name=a>'</script><style><input name=b></style><iframe><input name=c></iframe>",
        [],
    ),
    ("behind a nested script", "<script><!--<script></script><input name=a>--></script><input name=b>", [("b", "")]),
    ("inside a comment", "<!-- <input name=a> --!><input name=b><!--><input name=c>", [("b", ""), ("c", "")]),
    ("inside a declaration", "<![ endif]><![CDATA[<input name=a>]]><?x y?><!x><input name=b>", [("b", "")]),
    ("inside a picture", "<svg><input name=a><style/><title/></svg><input name=b>", [("b", "")]),
    ("behind a picture without end", "<svg><path><p><input name=a>", [("a", "")]),
    ("HTML in a picture", "<svg><foreignObject><input name=a></foreignObject><input name=b></svg>", [("a", "")]),
    ("form inside a form", "<form action=/evil><input name=a></form><input name=b>", [("a", "")]),
    ("first of two attributes", "<input name=a name=b value=1 VALUE=2>", [("a", "1")]),
    ("attributes without blanks", "<input name=\"a\"value='1'/>", [("a", "1")]),
    ("tag without end", "<input name=a><input name='b", [("a", "")]),
]


@pytest.mark.parametrize(("inner", "entries"), [row[1:] for row in FIELDS], ids=[row[0] for row in FIELDS])
def test_a_form_sends_what_a_browser_sends(inner: str, entries: list[tuple[str, str]]) -> None:
    assert sent(inner) == entries


@pytest.mark.parametrize(
    ("button", "entries"),
    [
        ("<button name=b value=1>x</button>", [("a", ""), ("b", "1"), ("c", "")]),
        ("<button name=b>x</button>", [("a", ""), ("b", ""), ("c", "")]),
        ("<input type=submit name=b>", [("a", ""), ("b", "Submit"), ("c", "")]),
        ("<input type=submit value=1>", [("a", ""), ("c", "")]),
        ("<input type=image name=b value=1>", [("a", ""), ("b.x", "0"), ("b.y", "0"), ("c", "")]),
        ("<input type=image>", [("a", ""), ("x", "0"), ("y", "0"), ("c", "")]),
        ("<button name=b disabled>x</button><button name=d>y</button>", [("a", ""), ("d", ""), ("c", "")]),
        ("<button type=button name=b>x</button><button type=reset name=d>y</button>", [("a", ""), ("c", "")]),
        ("<button type=nonsense name=b>x</button>", [("a", ""), ("b", ""), ("c", "")]),
        ("<fieldset disabled><button name=b>x</button></fieldset>", [("a", ""), ("c", "")]),
    ],
)
def test_the_chosen_button_goes_along_in_its_place(button: str, entries: list[tuple[str, str]]) -> None:
    shown = the_form(f"<form><input name=a>{button}<input name=c></form>")
    assert shown.entries(shown.default_button, lambda item: item.value) == entries


def test_what_names_its_form_belongs_to_it_in_the_order_of_the_page() -> None:
    first, second = read(
        "<input form=b name=1><form id=a><input name=2><input name=3 form=b><input name=4 form=nowhere>"
        "<input name=5 form=''></form><form id=b><input name=6></form><form id=a></form>"
        "<button form=a name=7>x</button>"
    ).forms[:2]
    assert [item.name for item in first.controls] == ["2", "7"]
    assert [item.name for item in second.controls] == ["1", "3", "6"]


def test_a_field_says_whether_it_must_be_filled_in_and_by_whom() -> None:
    shown = the_form(
        "<form><input name=a required><input name=b required readonly><input name=c type=hidden required>"
        "<input name=d type=checkbox required><select name=e required><option value=''>choose</select>"
        "<textarea name=f required></textarea><input name=g style='display: none'><div hidden><input name=h></div>"
    )
    controls: dict[str, Field] = {item.name: item for item in shown.controls if isinstance(item, Field)}
    assert {name for name, item in controls.items() if item.required} == {"a", "d", "e", "f"}
    assert {name for name, item in controls.items() if item.fillable} == {"a", "f", "g", "h"}
    assert {name for name, item in controls.items() if not item.seen} == {"c", "g", "h"}
    assert [item.name for item in shown.unset] == ["d"]


@pytest.mark.parametrize("value", ["\ud800", "&#xD800;", "\0", "&#0;"])
def test_what_is_no_character_can_be_sent_all_the_same(value: str) -> None:
    assert sent(f"<input name=a value='{value}'>") == [("a", "\ufffd")]


GOES_TO = [
    ("the page itself", "", "", "POST /u/login/identifier"),
    ("action", 'action="next"', "", "POST /u/login/next"),
    ("action from the root", "action=/next", "", "POST /next"),
    ("action with blanks around", "action=' /next '", "", "POST /next"),
    ("base", "action=next", "<base href=/other/>", "POST /other/next"),
    ("first base", "action=next", "<base href=/other/><base href=/third/>", "POST /other/next"),
    ("base without action", "", "<base href=/other/>", "POST /u/login/identifier"),
    ("base that is none", "action=next", "<base href=data:x>", "POST /u/login/next"),
    ("base in a template", "action=next", "<template><base href=/other/></template>", "POST /u/login/next"),
]


@pytest.mark.parametrize(
    ("attributes", "before", "asked"), [row[1:] for row in GOES_TO], ids=[row[0] for row in GOES_TO]
)
def test_a_form_goes_where_it_says(world: World, attributes: str, before: str, asked: str) -> None:
    shown = f"{before}<form method=post {attributes}>{IDENTIFIER}<button>Go</button></form>"
    world.provider.answers["GET /u/login/identifier"] = page(shown)
    world.provider.answers[asked] = redirect("/u/login/password")
    assert world.renew().usable
    assert asked in [f"{method} {path}" for method, path, _fields in world.provider.requests]


def test_a_button_says_where_and_how_its_form_goes(world: World) -> None:
    button = "<button formaction=/next formmethod=POST formenctype=application/x-www-form-urlencoded>Go</button>"
    shown = f"<form method=get action=/evil enctype=text/plain>{IDENTIFIER}{button}</form>"
    world.provider.answers["GET /u/login/identifier"] = page(shown)
    world.provider.answers["POST /next"] = redirect("/u/login/password")
    assert world.renew().usable


@pytest.mark.parametrize(
    ("attributes", "button", "word"),
    [
        ("enctype=multipart/form-data", "<button>Go</button>", "multipart/form-data"),
        ("enctype=TEXT/plain", "<button>Go</button>", "text/plain"),
        ("", "<button formenctype=multipart/form-data>Go</button>", "multipart/form-data"),
        ("accept-charset=iso-8859-1", "<button>Go</button>", "iso-8859-1"),
        ("", "<button formmethod=get>Go</button>", "address"),
        ("", "<button formmethod=dialog>Go</button>", "script"),
    ],
)
def test_a_form_that_cannot_be_sent_as_it_asks_is_not_sent(
    world: World, attributes: str, button: str, word: str
) -> None:
    shown = f"<form method=post {attributes}>{PASSWORD_FIELD}{button}</form>"
    world.provider.answers["GET /u/login/password"] = page(shown)
    outcome = world.renew()
    assert outcome.error_class == "unknown_page"
    assert word in outcome.message
    assert world.provider.passwords_seen == []


@pytest.mark.parametrize(
    "attributes", ["enctype=nonsense", "accept-charset=UTF-8", "accept-charset='utf-8, iso-8859-1'"]
)
def test_what_a_browser_ignores_is_ignored(world: World, attributes: str) -> None:
    shown = f"<form method=post {attributes}>{PASSWORD_FIELD}<button>Go</button></form>"
    world.provider.answers["GET /u/login/password"] = page(shown)
    assert world.renew().usable


def test_a_field_out_of_sight_is_no_place_for_the_account_if_another_is_seen(world: World) -> None:
    trap = '<div style="display:none"><input name="email"></div>'
    seen: list[dict[str, str]] = []

    def take(fields: dict[str, str]) -> Reply:
        seen.append(fields)
        return world.provider.handle("POST", "/u/login/password", fields)

    world.provider.answers["GET /u/login/password"] = page(form(trap, IDENTIFIER, PASSWORD_FIELD))
    world.provider.answers["POST /u/login/password"] = take
    assert world.renew().usable
    assert seen[0]["email"] == ""
