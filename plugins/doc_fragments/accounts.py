# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that the modules of a node's accounts share."""

from __future__ import annotations


class ModuleDocFragment:
    """The store and the policy; ``CONNECTION`` holds those of a module that speaks to the provider."""

    DOCUMENTATION = r"""
options:
  store:
    description:
      - Folder on the node that holds one file per account. It is made by the role C(node).
    type: path
    default: /var/lib/dcta/tokens
  owner:
    description:
      - User that owns the store. A store of somebody else is refused, and root works in it only as this user.
    type: str
    default: dcta-agent
  provider:
    description:
      - What differs from the built-in identity provider, as for M(dcta.fleet.account_login).
    type: dict
    default: {}
  limits:
    description:
      - What differs from the built-in renewal policy, as for M(dcta.fleet.account_login).
    type: dict
    default: {}
"""

    CONNECTION = r"""
requirements:
  - requests
  - PySocks (for accounts with a SOCKS proxy)
options:
  ca_bundle:
    description:
      - File on the node with the CA certificates that the provider's certificate is checked against.
        Empty for those of the Python package requests.
    type: path
    default: ''
  timeout:
    description:
      - Seconds to wait for an answer of the provider.
    type: float
    default: 30.0
"""
