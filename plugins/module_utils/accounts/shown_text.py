# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a provider wrote, made fit for an operator's message: short, printable, without secrets and e-mail addresses."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from .credentials import Credentials
from .web_address import plain_path

LONGEST_TEXT = 60
"""Characters of one text of a page."""
_MOST_TEXTS = 8
_EMAIL = re.compile(r"[^\s\"'<>(),;:]*@[^\s\"'<>(),;:]*")


class Shown:
    """Cleans texts of a provider that may know, and show, what an account logs in with.

    Args:
        credentials: the account; nothing of its secrets is left in a text.
    """

    def __init__(self, credentials: Credentials) -> None:
        email = credentials.email or ""
        whole = {_plain(word) for word in (email, credentials.password or "", credentials.totp_secret or "")}
        parts = [re.escape(word) for word in sorted(whole, key=len, reverse=True) if len(word) > 3]
        # The part before the @ names a person as well, but may be an ordinary word.
        if len(person := _plain(email.partition("@")[0])) > 3:
            parts.append(rf"(?<!\w){re.escape(person)}(?!\w)")
        self._secret = re.compile("|".join(parts) or r"(?!)", re.IGNORECASE)

    def text(self, text: str) -> str:
        """Return at most `LONGEST_TEXT` characters of a text; empty if nothing can be shown."""
        words = _EMAIL.sub("...", self._secret.sub("...", _plain(text)))
        return words if len(words) <= LONGEST_TEXT else words[: LONGEST_TEXT - 3].rstrip() + "..."

    def texts(self, texts: Iterable[str]) -> str:
        """Return some texts of a page in quotation marks, with commas between them."""
        return _listed(f'"{clean}"' for text in texts if (clean := self.text(text)))

    def name(self, name: str) -> str:
        """Return the name of a field or an error code."""
        clean = self.text(name)
        return clean if re.fullmatch(r"[\w.:\[\]\-]+", clean, re.ASCII) else f"'{clean or 'unreadable'}'"

    def names(self, names: Iterable[str]) -> str:
        """Return some names of fields, with commas between them."""
        return _listed(self.name(name) if name else "one without a name" for name in names)

    def path(self, path: str) -> str:
        """Return the path of a page."""
        return plain_path(self._secret.sub("...", path))


def _listed(items: Iterator[str]) -> str:
    listed: dict[str, None] = {}
    for item in items:
        if len(listed) == _MOST_TEXTS:
            return ", ".join(listed) + " and more"
        listed[item] = None
    return ", ".join(listed)


def _plain(text: str) -> str:
    # Full-width letters and signs read like the plain ones; letters that cannot be seen hide what they stand between.
    plain = unicodedata.normalize("NFKC", " ".join(text[: 20 * LONGEST_TEXT].split()))
    return "".join(letter for letter in plain if letter.isprintable()).replace('"', "'")
