# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find secrets where none may be: in output, logs, process lists, files, facts.

A scan knows its secrets by name and answers with names only, so that neither it nor a failed assertion becomes a leak.
"""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# Anything shorter is found by chance.
SHORTEST = 12


def leaves(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield every text inside nested lists and mappings.

    Args:
        value: what a parser of JSON or YAML returned.
        name: what the value is called.

    Yields:
        The path to each text, and the text.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}")
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            label = inner["name"] if isinstance(inner, Mapping) and "name" in inner else str(position)
            yield from leaves(inner, f"{name}.{label}")
    elif isinstance(value, str):
        yield name, value


def key_lines(pem: str, name: str) -> dict[str, str]:
    """Return the lines of a private key's body: a log may hold some of them, or all on one line.

    Args:
        pem: the key in PEM form.
        name: what it is called.

    Returns:
        The lines by name, without those too short to be searched for.
    """
    body = [line.strip() for line in pem.strip().splitlines()[1:-1]]
    return {f"{name}, line {number}": line for number, line in enumerate(body, 1) if len(line) >= SHORTEST}


def disguises(secret: str) -> set[bytes]:
    """Return the forms in which a secret may appear.

    Args:
        secret: the secret.

    Returns:
        Itself; as JSON and in a URL; and what base64 makes of it wherever it stands in an encoded text (RFC 4648,
        section 4: three bytes become four characters, so there are three positions).
    """
    plain = secret.encode()
    forms = {plain, json.dumps(secret)[1:-1].encode(), urllib.parse.quote(secret, safe="").encode()}
    for offset in range(3):
        padded = b"\0" * offset + plain
        # The characters at both ends depend on what stands beside the secret.
        inner = base64.b64encode(padded)[-(-offset * 4 // 3) : len(padded) // 3 * 4]
        forms |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return forms


@dataclass
class SecretScan:
    """A search for known secrets."""

    _forms: dict[bytes, str] = field(default_factory=dict, repr=False)

    def plant(self, secrets: Mapping[str, str]) -> None:
        """Learn secrets.

        Args:
            secrets: the secrets by name.

        Raises:
            ValueError: one is so short that it would be found by chance.
        """
        for name, secret in secrets.items():
            if len(secret) < SHORTEST:
                raise ValueError(f"{name} has fewer than {SHORTEST} characters: a search for it means nothing")
            for form in disguises(secret):
                self._forms.setdefault(form, name)

    def names(self) -> set[str]:
        """Return the names of all that is searched for."""
        return set(self._forms.values())

    def found_in(self, data: bytes) -> set[str]:
        """Return the names of the secrets that some data holds."""
        return {name for form, name in self._forms.items() if form in data}

    def patterns(self) -> bytes:
        """Return all forms, one a line, as ``grep --fixed-strings --file`` reads them."""
        return b"\n".join(sorted(self._forms)) + b"\n"
