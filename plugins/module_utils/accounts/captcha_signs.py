# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By what a page shows that it has a captcha; nothing ever answers one."""

from __future__ import annotations

from collections.abc import Mapping

_CLASSES = frozenset({"g-recaptcha", "h-captcha", "cf-turnstile", "frc-captcha"})
_KEYS = frozenset({"data-sitekey", "data-captcha-sitekey", "data-captcha-provider"})
_FRAMES = ("recaptcha", "hcaptcha", "turnstile", "arkoselabs", "challenges.cloudflare.com")

ATTRIBUTES = _KEYS | {"alt", "class", "id", "src"}
"""The attributes that are looked at here."""


def is_captcha(tag: str, attributes: Mapping[str, str]) -> bool:
    """Tell whether an element is a captcha, or the place of one.

    Args:
        tag: its name, in lower case.
        attributes: those of `ATTRIBUTES` that it has.
    """
    if not _KEYS.isdisjoint(attributes) or "captcha" in tag:
        return True
    if tag == "img":
        return any("captcha" in attributes.get(name, "").lower() for name in ("alt", "class", "id", "src"))
    if tag == "iframe":
        return any(word in attributes.get("src", "").lower() for word in _FRAMES)
    return not _CLASSES.isdisjoint(attributes.get("class", "").split())
