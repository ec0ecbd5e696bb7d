# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tags and texts of an HTML page, in one pass that no input makes longer.

It follows the tokenization of the HTML standard (section 13.2.5), since a login depends on what browsers see. Each
character is looked at a bounded number of times: what has no end is searched for once and then ends the page. No parser
that Debian packages does that: libxml2 compares each attribute of a tag with all before it, and stops at 256 open tags;
html5lib and gumbo take sixteen times as long for four times the open tags; Python's own raises on some declarations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.entities import html5

_NAME = re.compile(r"[^\t\n\f />]+")
_BEFORE_ATTRIBUTE = re.compile(r"[\t\n\f /]*")
_ATTRIBUTE_NAME = re.compile(r"=?[^\t\n\f />=]*")
_EQUALS = re.compile(r"[\t\n\f ]*=[\t\n\f ]*")
_UNQUOTED = re.compile(r"[^\t\n\f >]*")
_COMMENT_END = re.compile(r"--!?>")
_SCRIPT_MARK = re.compile(r"<!--|-->|<(/?)script(?=[\t\n\f />])", re.IGNORECASE | re.ASCII)
_SURROGATE = re.compile(r"[\0\ud800-\udfff]")

# Their content is text up to their end tag; scripts do not run here, so noscript is not among them.
_RAW = frozenset({"script", "style", "xmp", "iframe", "noembed", "noframes", "textarea", "title"})
_RAW_END = {
    name: re.compile(rf"</{name}(?=[\t\n\f />])", re.IGNORECASE | re.ASCII) for name in sorted(_RAW - {"script"})
}

# Inside of these, tags are not HTML until one of the next sets (section 13.2.6.5).
_FOREIGN = frozenset({"svg", "math"})
_HTML_AGAIN = {
    "svg": frozenset({"foreignobject", "desc", "title"}),
    "math": frozenset({"mi", "mo", "mn", "ms", "mtext", "annotation-xml"}),
}
_BREAKERS = (
    "b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li listing menu meta "
    "nobr ol p pre ruby s small span strike strong sub sup table tt u ul var"
)
_BREAKS_OUT = frozenset(_BREAKERS.split())
_CLOSES_OUT = _BREAKS_OUT | {"a", "button", "fieldset", "form", "html", "label", "main", "section", "td"}

_REFERENCE = re.compile(r"&(?:#(?:[xX]([0-9A-Fa-f]+)|([0-9]+));?|([A-Za-z][A-Za-z0-9]{0,40});?)", re.ASCII)
_LONGEST_WITHOUT_SEMICOLON = max(len(name) for name in html5 if not name.endswith(";"))
# Numbers 0x80 to 0x9f mean windows-1252 (section 13.2.5.80).
_WINDOWS = {number: bytes([number]).decode("cp1252", errors="replace") for number in range(0x80, 0xA0)}


@dataclass(frozen=True, slots=True)
class Tag:
    """A start or end tag.

    Attributes:
        name: in lower case.
        attributes: those that were asked for, with decoded values; of two with one name the first counts.
        closing: whether it is an end tag.
    """

    name: str
    attributes: dict[str, str]
    closing: bool = False


class Tokens:
    """The tokens of a page.

    Args:
        html: the page.
        wanted: names of the attributes to keep, in lower case.
    """

    def __init__(self, html: str, wanted: frozenset[str]) -> None:
        self._html = _SURROGATE.sub("\ufffd", html.replace("\r\n", "\n").replace("\r", "\n"))
        self._wanted = wanted
        self._place = 0
        self._foreign: list[str] = []
        self._foreign_open: dict[str, int] = {}

    def __iter__(self) -> Iterator[Tag | str]:
        """Yield tags, and the texts between them as they stand. What is left unfinished at the end is no token."""
        html = self._html
        while 0 <= self._place < len(html):
            start = html.find("<", self._place)
            if start < 0:
                start = len(html)
            if start > self._place:
                yield html[self._place : start]
            if start == len(html):
                return
            following = html[start + 1 : start + 2]
            if _is_letter(following):
                yield from self._opened(self._tag(start + 1))
            elif following == "/" and _is_letter(html[start + 2 : start + 3]):
                if (tag := self._tag(start + 2)) is not None and self._closes(tag[0]):
                    yield Tag(tag[0], {}, closing=True)
            elif following in {"!", "/", "?"}:
                self._place = self._after_comment(start)
            else:
                yield "<"
                self._place = start + 1

    def _tag(self, place: int) -> tuple[str, dict[str, str], bool] | None:
        """Read name and attributes, go behind the tag, and tell whether it closes itself; None for one without end."""
        html = self._html
        name_end = _end(_NAME, html, place)
        name, place = _lower(html[place:name_end]), name_end
        attributes: dict[str, str] = {}
        while True:
            begin = place
            place = _end(_BEFORE_ATTRIBUTE, html, place)
            if place == len(html):
                self._place = -1
                return None
            if html[place] == ">":
                self._place = place + 1
                return name, attributes, place > begin and html[place - 1] == "/"
            begin, place = place, _end(_ATTRIBUTE_NAME, html, place)
            attribute, value = _lower(html[begin:place]), ""
            if (equals := _EQUALS.match(html, place)) is not None:
                place = equals.end()
                quote = html[place : place + 1]
                if quote in {'"', "'"}:
                    begin, place = place + 1, html.find(quote, place + 1)
                    if place < 0:
                        self._place = -1
                        return None
                    value, place = html[begin:place], place + 1
                else:
                    begin, place = place, _end(_UNQUOTED, html, place)
                    value = html[begin:place]
            if attribute in self._wanted and attribute not in attributes:
                attributes[attribute] = unescape(value, in_attribute=True)

    def _opened(self, tag: tuple[str, dict[str, str], bool] | None) -> Iterator[Tag | str]:
        """Yield a start tag, and with it the content that is nothing but text."""
        if tag is None:
            return
        name, attributes, closes_itself = tag
        if self._in_foreign and name in _BREAKS_OUT:
            while self._in_foreign:
                self._leave_foreign()
        if self._in_foreign or name in _FOREIGN:
            if (name in _FOREIGN or name in _HTML_AGAIN[self._foreign[-1]]) and not closes_itself:
                self._foreign.append(name)
                self._foreign_open[name] = self._foreign_open.get(name, 0) + 1
            return
        yield Tag(name, attributes)
        if name == "plaintext":
            self._place = -1
        elif name in _RAW:
            begin = self._place
            self._place = self._end_of_script(begin) if name == "script" else self._find(_RAW_END[name], begin)
            yield self._html[begin : self._place]

    def _closes(self, name: str) -> bool:
        """Follow an end tag out of foreign content; tell whether it is one of HTML."""
        if self._foreign_open.get(name):
            while self._leave_foreign() != name:
                pass
            return False
        if self._in_foreign:
            if name not in _CLOSES_OUT:
                return False
            while self._in_foreign:
                self._leave_foreign()
        return True

    @property
    def _in_foreign(self) -> bool:
        return bool(self._foreign) and self._foreign[-1] in _FOREIGN

    def _leave_foreign(self) -> str:
        name = self._foreign.pop()
        self._foreign_open[name] -= 1
        return name

    def _after_comment(self, start: int) -> int:
        html = self._html
        if not html.startswith("<!--", start):
            if self._in_foreign and html.startswith("<![CDATA[", start):
                end = html.find("]]>", start)
                return end + 3 if end >= 0 else -1
            # A doctype, a declaration of another language, or no markup at all: ignored up to the next ">".
            end = html.find(">", start)
            return end + 1 if end >= 0 else -1
        for short in ("<!-->", "<!--->"):
            if html.startswith(short, start):
                return start + len(short)
        found = _COMMENT_END.search(html, start + 4)
        return found.end() if found is not None else -1

    def _find(self, pattern: re.Pattern[str], place: int) -> int:
        found = pattern.search(self._html, place)
        return found.start() if found is not None else len(self._html)

    def _end_of_script(self, place: int) -> int:
        """Find the end tag that ends a script: one behind ``<!--`` and ``<script`` does not."""
        commented = nested = False
        while (mark := _SCRIPT_MARK.search(self._html, place)) is not None:
            text, place = mark[0], mark.end()
            if text == "<!--":
                commented = True
                # The hyphens that begin a comment may end it.
                place -= 2
            elif text == "-->":
                commented = nested = False
            elif text.startswith("</"):
                if not nested:
                    return mark.start()
                nested = False
            elif commented:
                nested = True
        return len(self._html)


def unescape(text: str, *, in_attribute: bool = False) -> str:
    """Decode character references (HTML standard, section 13.2.5.72).

    Args:
        text: a text or the value of an attribute.
        in_attribute: whether a name without semicolon before a letter, digit or ``=`` is left alone, as in the
            address ``?a=1&copy=2``.

    Returns:
        The text; what is no reference stays as it is.
    """
    if "&" not in text:
        return text

    def decode(match: re.Match[str]) -> str:
        hexadecimal, decimal, name = match.groups()
        if name is None:
            return _character(hexadecimal or decimal, 16 if hexadecimal else 10)
        if match[0].endswith(";") and (known := html5.get(f"{name};")) is not None:
            return known
        for length in range(min(len(name), _LONGEST_WITHOUT_SEMICOLON), 1, -1):
            if (known := html5.get(name[:length])) is not None:
                rest = match[0][length + 1 :]
                follows = rest[:1] or text[match.end() : match.end() + 1]
                if in_attribute and (follows == "=" or (follows.isascii() and follows.isalnum())):
                    return match[0]
                return known + rest
        return match[0]

    return _REFERENCE.sub(decode, text)


def _character(digits: str, base: int) -> str:
    digits = digits.lstrip("0")
    number = int(digits, base) if 0 < len(digits) <= 7 else 0
    if number in _WINDOWS:
        return _WINDOWS[number]
    if not 0 < number <= 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        return "\ufffd"
    return chr(number)


def _end(pattern: re.Pattern[str], text: str, place: int) -> int:
    found = pattern.match(text, place)
    return found.end() if found is not None else place


def _is_letter(text: str) -> bool:
    return text.isascii() and text.isalpha()


def _lower(name: str) -> str:
    # Other alphabets have letters whose lower case is an ASCII letter.
    return name.lower() if name.isascii() else "".join(item.lower() if item.isascii() else item for item in name)
