# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module tries every proxy once, all at the same time, and its answer holds no secret."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dcta.fleet.plugins.modules import proxy_info
from identity_fake import APPLICATION
from proxy_fakes import http, listening, silent

SECRET = "planted-password"
PROVIDER = {"issuer": "https://login.example.test:8443", **APPLICATION}


def run(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args({"provider": PROVIDER, **arguments}), pytest.raises(SystemExit):
        proxy_info.main()
    text = capsys.readouterr().out
    assert SECRET not in text
    result: dict[str, Any] = json.loads(text)
    return result


@pytest.mark.parametrize("check", [True, False])
def test_accounts_with_one_proxy_cost_one_connection(check: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with listening(http(b"HTTP/1.1 200 OK\r\n\r\n")) as proxy:
        url = f"http://user:{SECRET}@127.0.0.1:{proxy.port}"
        result = run(capsys, proxies={"bob": url, "alice": url}, _ansible_check_mode=check)
    assert result["changed"] is False
    assert result["proxies"] == [{"accounts": ["alice", "bob"], "address": f"127.0.0.1:{proxy.port}", "problem": ""}]
    assert proxy.connections == 1
    assert proxy.asked[0].startswith(b"CONNECT login.example.test:8443 ")


def test_the_built_in_provider_is_the_destination_where_none_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    with listening(http(b"HTTP/1.1 200 OK\r\n\r\n")) as proxy:
        run(capsys, proxies={"alice": f"http://127.0.0.1:{proxy.port}"}, provider={})
    assert proxy.asked[0].startswith(b"CONNECT auth0.openai.com:443 ")


def test_a_refusal_names_accounts_and_address_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with listening(http(b"HTTP/1.1 407 No\r\n\r\n")) as proxy:
        url = f"http://planted-user:{SECRET}@127.0.0.1:{proxy.port}"
        result = run(capsys, proxies={"bob": url, "alice": url, "carol": f"ftp://{SECRET}"})
    both, other = (entry["problem"] for entry in result["proxies"])
    named = f"the proxy 127.0.0.1:{proxy.port} of accounts alice, bob rejects its user and password: correct them"
    assert both.startswith(named)
    assert other.startswith("the proxy of account carol is no URL")
    assert "planted" not in both + other


def test_proxies_that_do_not_answer_are_waited_for_together(capsys: pytest.CaptureFixture[str]) -> None:
    with listening(silent) as one, listening(silent) as other, listening(silent) as third:
        proxies = {f"a{proxy.port}": f"socks5h://127.0.0.1:{proxy.port}" for proxy in (one, other, third)}
        began = time.monotonic()
        result = run(capsys, proxies=proxies, timeout=1)
    assert time.monotonic() - began < 2.5
    assert [("within 1 s" in entry["problem"]) for entry in result["proxies"]] == [True] * 3


def test_a_provider_that_cannot_be_used_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, proxies={}, provider={"isuer": "x"})
    assert result["failed"] is True
    assert result["msg"].startswith("The provider has no setting isuer.")
