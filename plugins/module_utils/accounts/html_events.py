# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tags and texts of an HTML page, as lxml's parser (libxml2) tells them; no tree is made.

This is the only file of the library that needs more than Python itself, and only a renewal imports it.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from typing import Any, Protocol, cast

from .errors import ProviderError

LXML_IMPORT_ERROR: str | None = None
try:
    from lxml import etree
except ImportError:
    LXML_IMPORT_ERROR = traceback.format_exc()

MOST_ATTRIBUTES = 5_000
"""Of one tag. Older versions of libxml2 compare each attribute with all before it."""

FORM, END_OF_FORM = "x-form", "x-end-of-form"
"""Names under which forms begin and end. A browser ends a form by its end tag alone, whatever stands around it, and
ignores a form in a form; a parser of elements does neither, so both tags are told as elements of their own."""

_OWN_NAMES = {
    "<form": f"<{FORM}",
    "</form": f"<{END_OF_FORM}",
    "<body": "<x-body",
}  # a second body is told by no parser
_OWN_TAG = re.compile(r"(?:</?form|<body)(?=[\s/>])", re.IGNORECASE)
_UNREADABLE = re.compile(r"[\0\ud800-\udfff]")
# Older versions of libxml2 keep something for each, or look for the end of each up to the end of the page.
_COSTLY = re.compile(r"&{2,}|<\?")
_TAG = re.compile(r"<[A-Za-z][^<>]*")


class Listener(Protocol):
    """Whoever is told."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Hear of a start tag; names are in lower case, values are decoded."""

    def end(self, name: str) -> None:
        """Hear of an end tag, or of an element that ends because one around it does."""

    def text(self, text: str) -> None:
        """Hear of text, decoded; a long one comes in pieces."""


class TooMuchError(Exception):
    """No page of a login has that much of something."""


def tell(html: str, listener: Listener) -> None:
    """Read a page.

    Args:
        html: the page's text; broken markup is read as far as it goes.
        listener: is told of everything in the order of the page; what it raises ends the reading and comes out here.

    Raises:
        TooMuchError: one tag has more attributes than any page of a login has.
        ProviderError: the package lxml is not installed.
    """
    if LXML_IMPORT_ERROR is not None:
        raise ProviderError(
            "The node has no parser for the provider's pages.", cure="Run site.yml: it installs python3-lxml."
        )
    if any(_is_crowded(match[0]) for match in _TAG.finditer(html)):
        raise TooMuchError
    # The parser hands over texts only, whatever its type says.
    target = cast(Any, _Target(listener))
    parser = etree.HTMLParser(target=target, encoding="utf-8", no_network=True, recover=True)
    html = _OWN_TAG.sub(lambda tag: _OWN_NAMES[tag[0].lower()], _UNREADABLE.sub("\ufffd", html))
    try:
        parser.feed(_COSTLY.sub(lambda found: "&" if found[0][0] == "&" else "&lt;?", html).encode())
        parser.close()
    except etree.LxmlError:
        # What could be read was told; a page without any element is an error there.
        return


def _is_crowded(tag: str) -> bool:
    return len(tag) > MOST_ATTRIBUTES and tag.count("=") + len(tag.split()) > MOST_ATTRIBUTES


class _Target:
    """Passes on what lxml's parser says, under its names (lxml, "The target parser interface")."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.start = listener.start
        self.end = listener.end

    def data(self, text: str) -> None:
        """Pass a text on; what only looks like a tag in it gets its name back."""
        if "<x-" in text:
            for name, own in _OWN_NAMES.items():
                text = text.replace(own, name)
        self._listener.text(text)

    def comment(self, _text: str) -> None:
        """Leave comments out."""

    def pi(self, _target: str, _data: str | None = None) -> None:
        """Leave processing instructions out."""

    def close(self) -> None:
        """Nothing is made."""
