# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter plugin inventory_problems."""

from __future__ import annotations

DOCUMENTATION = r"""
name: inventory_problems
short_description: Say what is wrong with the settings of a fleet
version_added: 0.1.0
author: the dcta.fleet authors (@dcta)
description:
  - Checks what crosses roles - accounts, API keys, certificate pair, listen address, proxy, names of settings - and
    answers with
    sentences that name the cure and never hold a secret. The role C(dcta.fleet.preflight) refuses a run with them.
options:
  _input:
    type: dict
    required: true
    description:
      - The settings, with the keys C(accounts), C(nodes), C(api_keys), C(require_api_key), C(tls), C(tls_certificate),
        C(tls_private_key), C(listen), C(mode), C(proxy), C(alert_webhook), C(settings), C(known_settings),
        C(renamed_settings), C(provider), and, where the program knows less than all, C(proxy_schemes) and
        C(token_pattern).
"""

EXAMPLES = r"""
- name: Show what is wrong
  ansible.builtin.debug:
    msg: "{{ preflight_settings | dcta.fleet.inventory_problems }}"
"""

RETURN = r"""
_value:
  type: list
  elements: str
  description: One sentence a problem.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.dcta.fleet.plugins.plugin_utils import inventory_rules
from ansible_collections.dcta.fleet.plugins.plugin_utils.provider_rules import provider_problems


def inventory_problems(settings: Mapping[str, Any]) -> list[str]:
    """Return one sentence a problem; see DOCUMENTATION."""
    problems = inventory_rules.setting_problems(
        settings["settings"], settings["known_settings"], settings["renamed_settings"]
    )
    schemes = list(settings.get("proxy_schemes", inventory_rules.PROXY_SCHEMES))
    problems += inventory_rules.mode_problems(str(settings["mode"]))
    problems += inventory_rules.account_problems(
        settings["accounts"], list(settings["nodes"]), schemes, str(settings.get("token_pattern", ""))
    )
    if settings["require_api_key"]:
        problems += inventory_rules.api_key_problems(settings["api_keys"])
    if settings["tls"]:
        problems += inventory_rules.certificate_problems(
            str(settings["tls_certificate"]), str(settings["tls_private_key"])
        )
    problems += inventory_rules.listen_problems(str(settings["listen"]))
    if settings["proxy"]:
        problems += inventory_rules.proxy_problems(str(settings["proxy"]), "dcta_proxy", schemes)
    problems += inventory_rules.build_proxy_problems(str(settings.get("build_proxy", "")))
    problems += provider_problems(settings.get("provider") or {})
    return problems + inventory_rules.webhook_problems(settings["alert_webhook"])


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name to function."""
        return {"inventory_problems": inventory_problems}
