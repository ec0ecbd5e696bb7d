# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the settings of the identity provider can be used, judged by the library that will use them."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import ConfigurationError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.provider import Provider


def provider_problems(provider: object) -> list[str]:
    """Return what is wrong with ``dcta_provider``.

    Args:
        provider: the value of the variable.

    Returns:
        One sentence a problem; a value never stands in it.
    """
    if not isinstance(provider, Mapping):
        return ["dcta_provider is no mapping of settings: write it as name: value"]
    try:
        Provider.from_mapping(provider)
    except ConfigurationError as error:
        sentence, cure = error.sentence.rstrip("."), error.cure.rstrip(".")
        return [f"dcta_provider cannot be used. {sentence}: {cure[:1].lower()}{cure[1:]}"]
    return []
