# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages that were written to make a parser slow, and pages that were written by nobody."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial


def _numbered(pattern: str, size: int) -> str:
    return "".join(pattern.format(number) for number in range(size // len(pattern)))


def _again(unit: str, size: int) -> str:
    return unit * (size // len(unit))


REPEATED = [
    "<a b='", '<a b="', "<", "</", "<a", "<a ", "< ", "<!--", "<!---->", "<!--->", "--!", "<![ endif]>", "<![]>",
    "<![", "<!", "<!DOCTYPE ", "<?", "<![CDATA[", "&", "&amp", "&amp;", "&#x10FFFF;", "\0", "<a\0b>", "\ud800",
    "x\n", "\r", "é", "=", "/", "<div>", "<b>", "<a>", "<p>", "<b><i><p>", "<form>", "<form></form>",
    "<form><input name=a></form>", "<table><tr><td>", "<table>x<tr>", "<select name=s><option>x",
    "<select><optgroup><option>x", "<ul><li>", "<script>", "<script></script>", "<style></style>",
    "<textarea name=t>", "<textarea name=t></textarea>", "<title>", "<noscript>", "<template>", "</template>",
    "<svg>", "<svg><desc>", "<math><mi><svg><foreignObject>", "<svg></p>", "<label><input name=a>",
    "<button name=b>", "<h1>x", "<button>x</button>", "<fieldset disabled>", "<fieldset><legend>",
    "<div hidden></div>", "</div>", "</form>", "<iframe>", "<meta charset=utf-16>", "<base href=x>",
    "<a data-error-code=x>", "<div role=button>x", "<b><div></b>", "<datalist>", "<script><!--<script></script>-->",
    "<plaintext>", "<a style='display : none", "<input type=radio name=a checked>", "<dialog>", "<legend>",
    "&notit;", "<option>", "<input name=a form=b>",
]  # fmt: skip
"""What fills a page when it is written again and again."""

SHAPES: dict[str, Callable[[int], str]] = {
    **{f"again and again {unit!a}": partial(_again, unit) for unit in REPEATED},
    "many attributes": lambda size: f"<input{_numbered(' a{}', size)}>",
    "many attributes without end": lambda size: "<input" + _numbered(' a{}="x"', size),
    "one attribute many times": lambda size: f"<input{' name=1' * (size // 7)}>",
    "many references in a value": lambda size: f"<form><input name=a value='{'&amp;' * (size // 5)}'>",
    "many elements": lambda size: _numbered("<x{0}></x{0}>", size),
    "many ids": lambda size: _numbered("<form id=f{0}><input form=f{0} name=a></form>", size),
    "a value without end": lambda size: "<a b='" + "x" * size,
    "a comment without end": lambda size: "<!--" + "-" * size,
    "a comment without end, often": lambda size: "<!--" + "--!" * (size // 3),
    "a doctype without end": lambda size: "<!DOCTYPE html PUBLIC '" + "x" * size,
    "a script without end": lambda size: "<script>" + "</scrip" * (size // 7),
    "a script of marks": lambda size: "<script>" + "<!--<script>-->" * (size // 15),
    "a textarea without end": lambda size: "<form><textarea name=a>" + "</textare" * (size // 9),
    "a long name": lambda size: "<" + "a" * size + ">",
    "a long attribute": lambda size: "<a " + "b" * size + ">",
    "blanks in a tag": lambda size: "<a " + " " * size,
    "blanks around an equals sign": lambda size: "<a " + ("b" + " " * 50 + "= ") * (size // 53),
    "a long number": lambda size: "&#" + "1" * size + ";",
    "a long reference": lambda size: "&" + "a" * size,
    "half open, half closed": lambda size: "<span>" * (size // 12) + "</div>" * (size // 12),
    "fieldsets and other ends": lambda size: (
        "<fieldset disabled>" * (size // 40) + "</div>" * (size // 40) + "</fieldset>" * (size // 40)
    ),
    "pictures and other ends": lambda size: "<svg>" * (size // 10) + "</mi>" * (size // 10),
    "a select of many": lambda size: "<form><select name=a>" + "<option>x" * (size // 9) + "</select>",
    "an option of many texts": lambda size: "<form><select name=a><option>" + "<b>&x" * (size // 5),
    "CDATA in a picture": lambda size: "<svg>" + "<![CDATA[x]]>" * (size // 13),
    "a deep table": lambda size: "<table><tr><td>" * (size // 40) + "</td></tr></table>" * (size // 40),
}  # fmt: skip

PIECES = [
    "<form method=post>", "<form method=post action=/u/login/password>", "<form action='https://evil.test/'>",
    "<form>", "</form>", "<input name=username>", "<input type=email name=x>", "<input type=password name=password>",
    "<input type=password name=p>", "<input name=code autocomplete=one-time-code>", "<input name=unknown>",
    "<input name=required required>", "<input>", "<input type=hidden name=state value=TX>",
    "<input type=checkbox name=t required>", "<input type=checkbox name=r checked>",
    "<input type=radio name=q value=1 checked>", "<select name=s><option>", "</select>", "<textarea name=t>",
    "</textarea>", "<button>", "<button name=action value=default>", "</button>", "<input type=submit>",
    "<input type=image name=i>", "<h1>", "</h1>", "<title>", "</title>", "<script>", "f.submit()", "</script>",
    "<noscript>", "</noscript>", "<template>", "</template>", "<svg>", "</svg>", "<fieldset disabled>", "<legend>",
    "</legend>", "</fieldset>", "<base href='//evil.test/'>", "<base href=/x/>", "<div hidden>", "</div>",
    "<div class=g-recaptcha>", "<p data-error-code=wrong-credentials>", "<p data-error-code=E-99>",
    "<p data-error-code=invalid-code>", "<![ endif]>", "<![]>", "<!--", "-->", "<![CDATA[", "]]>", "<?", "<!", "</",
    "<", ">", "'", '"', "=", "/", "&", "&#0;", "&#xd800;", "&amp", "\0", "\ud800", "\u202e", "\U0010ffff", " ", "\n",
    "\r", "text", "ü", "for alice.secretmail@example.test only", "your planted-password is", "{", "}", "[",
    "<input name='", "<input value=", "<a b='", "<input type=password",
    "<form enctype=multipart/form-data method=post>", "&#" + "9" * 5000,
]  # fmt: skip
"""What pages of a login consist of, and what they should not."""


def soup(rng: random.Random) -> str:
    """Return a page that nobody wrote."""
    return "".join(rng.choice(PIECES) for _ignored in range(rng.randrange(1, 30)))


def json_soup(rng: random.Random) -> str:
    """Return an answer that says it is JSON."""
    codes: list[object] = [
        "wrong-credentials",
        "E-99",
        "user-blocked",
        "",
        "x" * 999,
        "\ud800",
        "Unauthorized",
        "planted-password",
        None,
        7,
        [],
        {},
    ]
    code = rng.choice(codes)
    return rng.choice(
        [
            "[" * rng.choice([1, 10_000, 100_000]),
            '{"a":' * 10_000,
            '{"error": ' + "9" * 5_000 + "}",
            f'{{"error": {_json(code)}, "code": {_json(rng.choice(codes))}}}',
            f'{{"error": {{"code": {_json(code)}}}}}',
            f'{{"access_token": {_json(code)}, "expires_in": 1e999}}',
            "null",
            "",
            "\0",
            '{"error": "wrong-credentials"',
        ]
    )


def _json(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return "null" if value is None else str(value)
