#!/usr/bin/python

# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that tries the proxies of accounts."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: proxy_info
short_description: Tell whether the proxies of accounts let through to the identity provider
version_added: 0.1.0
author:
  - The dcta.fleet authors (@dcta-fleet)
description:
  - Lets each proxy connect to the host of the identity provider, with its user and password, and closes the connection
    again. Nothing is sent to the provider.
  - Each proxy is tried once, however many accounts have it, and all of them at the same time.
  - Needs nothing on the node but Python.
attributes:
  check_mode:
    support: full
    description: The module changes nothing, and tries the proxies in check mode too.
  diff_mode:
    support: none
    description: The module changes nothing.
  platform:
    support: full
    platforms: posix
    description: The proxies are tried from the node.
options:
  proxies:
    description:
      - The URL of each account's proxy, by the account's name.
      - The schemes are V(http), V(https), V(socks5) and V(socks5h). User and password are percent-encoded.
    type: dict
    required: true
  provider:
    description:
      - What differs from the built-in identity provider, as for M(dcta.fleet.account_login).
    type: dict
    default: {}
  ca_certificates:
    description:
      - Certificates in PEM to trust for V(https) proxies. Left out, those of the node.
    type: str
    default: ''
  timeout:
    description:
      - Seconds for each proxy.
    type: float
    default: 10
seealso:
  - module: dcta.fleet.account_login
"""

EXAMPLES = r"""
- name: Try a proxy
  dcta.fleet.proxy_info:
    proxies:
      alice: socks5h://user:p%40ss@proxy.example.org:1080
  register: result
"""

RETURN = r"""
proxies:
  description: One entry for each proxy, sorted by the names of its accounts. No entry holds a user or a password.
  returned: success
  type: list
  elements: dict
  contains:
    accounts:
      description: The accounts that have the proxy.
      returned: always
      type: list
      elements: str
      sample: [alice, bob]
    address:
      description: Host and port of the proxy, empty if its URL cannot be read.
      returned: always
      type: str
      sample: proxy.example.org:1080
    problem:
      description: What is wrong and what to do, empty if the proxy lets through.
      returned: always
      type: str
      sample: 'the proxy proxy.example.org:1080 of account alice rejects its user and password: correct them'
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import ConfigurationError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.provider import Provider
from ansible_collections.dcta.fleet.plugins.module_utils.proxy_handshake import Proxy, ProxyRefusal, reach

MOST_AT_ONCE = 32
HTTPS_PORT = 443


def destination(provider: Provider) -> tuple[str, int]:
    """Return host and port of the place where a login begins."""
    parts = urlsplit(provider.authorization_endpoint or provider.issuer)
    return str(parts.hostname), parts.port or HTTPS_PORT


def by_proxy(proxies: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Return each proxy's URL once, with the names of its accounts."""
    accounts: dict[str, list[str]] = {}
    for name in sorted(proxies):
        accounts.setdefault(str(proxies[name]), []).append(name)
    return list(accounts.items())


def attempt(
    url: str, accounts: Sequence[str], where: tuple[str, int], timeout: float, ca_certificates: str
) -> dict[str, Any]:
    """Try one proxy and describe it."""
    label = f"account{'s' if len(accounts) > 1 else ''} {', '.join(accounts)}"
    address = problem = ""
    try:
        proxy = Proxy.from_url(url)
        address = proxy.address
        reach(proxy, *where, timeout=timeout, ca_certificates=ca_certificates)
    except ProxyRefusal as refusal:
        named = f"the proxy {address} of {label}" if address else f"the proxy of {label}"
        problem = f"{named} {refusal}"
    return {"accounts": list(accounts), "address": address, "problem": problem}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "proxies": {"type": "dict", "required": True, "no_log": True},
            "provider": {"type": "dict", "default": {}},
            "ca_certificates": {"type": "str", "default": ""},
            "timeout": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        where = destination(Provider.from_mapping(params["provider"]))
    except ConfigurationError as error:
        module.fail_json(msg=f"{error.sentence} {error.cure}")
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        tries = [
            pool.submit(attempt, url, accounts, where, params["timeout"], params["ca_certificates"])
            for url, accounts in by_proxy(params["proxies"])
        ]
        proxies = [one.result() for one in tries]
    module.exit_json(changed=False, proxies=proxies)


if __name__ == "__main__":
    main()
