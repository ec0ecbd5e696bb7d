# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller refuses a provider that is not complete, before anything changes."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.dcta.fleet.plugins.plugin_utils.provider_rules import provider_problems
from identity_fake import APPLICATION, HOST


@pytest.mark.parametrize("provider", [{}, {"prompt": "login consent"}, {"issuer": HOST, **APPLICATION}])
def test_what_can_be_used_has_no_problem(provider: dict[str, Any]) -> None:
    assert provider_problems(provider) == []


@pytest.mark.parametrize(
    ("provider", "named"),
    [
        ("https://login.example.test", "no mapping"),
        ({"isuer": HOST}, "isuer"),
        ({"issuer": HOST}, "client_id and redirect_uri and scope"),
        ({"token_endpoint": f"{HOST}/oauth/token", **APPLICATION}, "authorization_endpoint"),
        ({"issuer": HOST, **APPLICATION, "error_codes": {"planted": "planted"}}, "error_codes"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_with_its_cure(provider: object, named: str) -> None:
    (problem,) = provider_problems(provider)
    assert problem.startswith("dcta_provider ")
    assert named in problem
    assert ": " in problem
