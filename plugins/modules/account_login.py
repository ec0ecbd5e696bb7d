#!/usr/bin/python

# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that supplies a node's accounts with tokens."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: account_login
short_description: Supply the accounts of a node with tokens
version_added: 0.1.0
author:
  - The dcta.fleet authors (@dcta-fleet)
description:
  - Makes sure that each account that a node owns has a good token in the node's token store.
    Nothing is done while the stored token is fresh; else the refresh token is used; else the account is logged in with
    its e-mail address, password and one-time code, driven by the forms that the provider shows.
  - All accounts of a node are handled by one call, one after the other.
    Starting a module costs a quarter of a second on the node, whatever it does, and logins of one address have to keep
    a distance anyway; a loop over accounts would only add to both.
  - Store, lock and policy are shared with the refresh agent on the node, so that both may work at the same time.
  - A login that fails does not fail the module, since one bad account must not stop the others.
    The result tells for each account what happened and what to do about it.
    Rejected credentials are not tried again before they change, and no token or password is ever returned.
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and predict the result without a request to the provider.
  diff_mode:
    support: none
    description: What changes is secret.
  platform:
    support: full
    platforms: posix
    description: The module needs file locks and runs on the node, usually as root.
requirements:
  - lxml
extends_documentation_fragment:
  - dcta.fleet.accounts
  - dcta.fleet.accounts.connection
options:
  accounts:
    description:
      - Names of the accounts that the node owns.
    type: list
    elements: str
    required: true
  credentials:
    description:
      - >-
        JSON file on the node with the accounts' credentials,
        of the form C({"accounts": [{"name": "alice", "email": "...", "password": "..."}]}).
        Further keys of an account are C(totp_secret), C(refresh_token), C(access_token), C(proxy), and C(login_turn)
        such as C(2/10) when the account's node shares its egress with others.
      - In check mode a login is predicted for every account that is not in the file yet.
    type: path
    required: true
  provider:
    description:
      - What differs from the built-in identity provider.
      - >-
        With V(issuer) set, endpoints that are not set are found by discovery (OpenID Connect Discovery, RFC 8414).
        Others are V(authorization_endpoint), V(token_endpoint), V(revocation_endpoint), V(client_id), V(audience),
        V(scope), V(redirect_uri), V(prompt), V(authorization_parameters), V(identifier_fields), V(password_fields),
        V(code_fields), V(captcha_fields), V(optional_fields), V(error_code_attribute), V(error_codes), V(step_errors),
        V(page_errors), V(allowed_hosts) and V(rotation_leeway).
      - Lists replace the built-in ones. Entries of V(error_codes), V(step_errors) and V(page_errors) are added to the
        built-in ones, and an entry without a value takes a built-in one away.
      - An unknown name is refused.
    type: dict
    default: {}
  limits:
    description:
      - What differs from the built-in renewal policy, by name, in seconds or as counts.
        An unknown name is refused with the list of all names.
      - The module waits V(login_gap) plus at most V(login_gap_random) seconds between two logins, and where several
        nodes leave by one egress, for the times that the clock gives to this node.
    type: dict
    default: {}
  wait:
    description:
      - Seconds in which the module waits for turns to log in.
        Accounts whose turn comes later are left V(waiting), and the refresh agent logs them in one after the other.
      - A login that has its turn is finished, so the module may take a little longer.
    type: float
    default: 900.0
  lift:
    description:
      - End the quarantine or the waiting time of the accounts first, after an operator has repaired something that the
        module cannot see, such as a consent given in a browser. The budget of password submissions stays.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Supply the accounts of this node with tokens
  dcta.fleet.account_login:
    accounts: [alice, bob, carol]
    credentials: /etc/dcta/credentials/accounts.json
  register: login

- name: Use another provider and a private certification authority
  dcta.fleet.account_login:
    accounts: [alice]
    credentials: /etc/dcta/credentials/accounts.json
    ca_bundle: /etc/ssl/certs/ca-certificates.crt
    provider:
      issuer: https://login.example.org/
      client_id: chat
      redirect_uri: https://chat.example.org/callback
      identifier_fields: [customer_number]
      error_codes:
        E-17: bad_credentials
      page_errors:
        passkey:  # not an obstacle there

- name: Try again after the consent was given in a browser
  dcta.fleet.account_login:
    accounts: [alice]
    credentials: /etc/dcta/credentials/accounts.json
    lift: true
"""

RETURN = r"""
accounts:
  description: One entry for each account, in the order of O(accounts). No entry holds a secret or an e-mail address.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The account.
      returned: always
      type: str
      sample: alice
    kind:
      description:
        - How the account gets a new token, one of V(password), V(refresh_token) and V(access_token).
        - V(none) in check mode while the credentials file does not exist.
      returned: always
      type: str
      sample: password
    state:
      description:
        - V(new) if nothing was tried yet, V(valid) after a success, V(waiting) after a failure that passes or until it
          is the account's turn to log in, V(quarantined) until the credentials change, V(needs_operator) until a person
          has acted.
      returned: always
      type: str
      sample: valid
    usable:
      description: Whether the account has a token that a lane may run with.
      returned: always
      type: bool
      sample: true
    action:
      description: What was done, or would be in check mode, one of V(none), V(adopt), V(refresh) and V(login).
      returned: always
      type: str
      sample: login
    changed:
      description: Whether the token or the state changed, or would change.
      returned: always
      type: bool
      sample: true
    expires_at:
      description: When the token runs out, in UTC. V(none) if there is no token or nobody knows.
      returned: always
      type: str
      sample: '2026-11-23T02:00:00Z'
    next_renewal:
      description: When the next renewal is due, in UTC. V(none) if only the operator can change something.
      returned: always
      type: str
      sample: '2026-11-22T18:00:00Z'
    error_class:
      description:
        - Class of the failure, V(none) if all is well.
        - One of V(bad_credentials), V(mfa_required), V(mfa_invalid), V(captcha_required), V(consent_required),
          V(account_blocked), V(rate_limited), V(ip_blocked), V(provider_error), V(network_error), V(unknown_page),
          V(token_expired), V(token_rejected) and V(store_error).
      returned: always
      type: str
      sample: bad_credentials
    message:
      description: One sentence on the state.
      returned: always
      type: str
      sample: The token is good.
    cure:
      description: What to do, empty if there is nothing to do.
      returned: always
      type: str
      sample: ''
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.dcta.fleet.plugins.module_utils.account_results import result_of
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import Credentials, load_credentials
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import ConfigurationError, StoreError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.html_events import LXML_IMPORT_ERROR
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.limits import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.outcome import Outcome, forecast
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.provider import Provider
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.renewer import Renewer
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.runtime import Runtime
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.situation import Situation
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from ansible_collections.dcta.fleet.plugins.module_utils.http_session import REQUESTS_IMPORT_ERROR, HttpSession


def unknown_yet(name: str) -> Outcome:
    """Return what check mode expects for an account whose credentials are not on the node yet."""
    return Outcome(
        name=name,
        kind=None,
        state="new",
        usable=False,
        action="login",
        changed=True,
        message="The credentials are not on the node yet; the account would be logged in.",
    )


def credentials_of(path: str, names: list[str]) -> dict[str, Credentials]:
    """Read the credentials of the node's accounts.

    Args:
        path: the credentials file.
        names: the accounts.

    Returns:
        Their credentials by name.

    Raises:
        ConfigurationError: the file cannot be used, or lacks an account.
    """
    known = load_credentials(path)
    missing = [name for name in names if name not in known]
    if missing:
        raise ConfigurationError(
            f"The credentials file {path} lacks {', '.join(missing)}.", cure="Add them, or leave them out of accounts."
        )
    return {name: known[name] for name in names}


def forecasts(params: Mapping[str, Any], limits: Limits, provider: Provider) -> list[Outcome]:
    """Tell what a real run would do, on a node that may not have been touched yet.

    Args:
        params: the module's parameters.
        limits: the policy.
        provider: the identity provider.

    Returns:
        One outcome for each account.

    Raises:
        ConfigurationError: an existing credentials file cannot be used.
        StoreError: an existing store cannot be read.
    """
    names = list(dict.fromkeys(params["accounts"]))
    if not Path(params["credentials"]).exists():
        return [unknown_yet(name) for name in names]
    # A real run would have written them just before.
    credentials = load_credentials(params["credentials"])
    known = [name for name in names if name in credentials]
    if not Path(params["store"]).exists():
        now = time.time()
        told = {
            name: forecast(
                None, Situation(credentials=credentials[name], provider=provider, salt=b"", now=now, limits=limits)
            )
            for name in known
        }
    else:
        with Store(params["store"], params["owner"]) as store:
            renewer = renewer_of(params, store, credentials, limits, provider)
            told = {name: renewer.forecast(name, lift=params["lift"]) for name in known}
    return [told.get(name) or unknown_yet(name) for name in names]


def supply(params: Mapping[str, Any], limits: Limits, provider: Provider) -> list[Outcome]:
    """Renew what is due.

    Args:
        params: the module's parameters.
        limits: the policy.
        provider: the identity provider.

    Returns:
        One outcome for each account.

    Raises:
        ConfigurationError: the credentials file cannot be used.
        StoreError: the store cannot be used at all.
    """
    names = list(dict.fromkeys(params["accounts"]))
    credentials = credentials_of(params["credentials"], names)
    if params["ca_bundle"] and not Path(params["ca_bundle"]).is_file():
        raise ConfigurationError(f"There is no CA bundle {params['ca_bundle']} on the node.", cure="Correct ca_bundle.")
    with Store(params["store"], params["owner"]) as store:
        renewer = renewer_of(params, store, credentials, limits, provider)
        return [renewer.renew(name, lift=params["lift"]) for name in names]


def renewer_of(
    params: Mapping[str, Any],
    store: Store,
    credentials: dict[str, Credentials],
    limits: Limits,
    provider: Provider,
) -> Renewer:
    """Build the library's entry from the module's parameters."""

    def session(account: Credentials) -> HttpSession:
        return HttpSession(proxy=account.proxy, ca_bundle=params["ca_bundle"] or None, timeout=params["timeout"])

    return Renewer(
        store=store,
        provider=provider,
        credentials=credentials,
        runtime=Runtime(session=session),
        limits=limits,
        login_wait=params["wait"],
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "accounts": {"type": "list", "elements": "str", "required": True},
            "credentials": {"type": "path", "required": True, "no_log": False},
            "store": {"type": "path", "default": "/var/lib/dcta/tokens"},
            "owner": {"type": "str", "default": "dcta-agent"},
            "provider": {"type": "dict", "default": {}},
            "limits": {"type": "dict", "default": {}},
            "wait": {"type": "float", "default": 900.0},
            "ca_bundle": {"type": "path", "default": ""},
            "timeout": {"type": "float", "default": 30.0},
            "lift": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    # A forecast sends nothing, and on a new host the package is not there yet.
    if REQUESTS_IMPORT_ERROR is not None and not module.check_mode:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    if LXML_IMPORT_ERROR is not None and not module.check_mode:
        module.fail_json(msg=missing_required_lib("lxml"), exception=LXML_IMPORT_ERROR)
    try:
        limits = Limits.from_mapping(module.params["limits"])
        provider = Provider.from_mapping(module.params["provider"])
        run = forecasts if module.check_mode else supply
        outcomes = run(module.params, limits, provider)
    except (ConfigurationError, StoreError) as error:
        module.fail_json(msg=f"{error.sentence} {error.cure}")
    for outcome in outcomes:
        for warning in outcome.warnings:
            module.warn(warning)
    module.exit_json(
        changed=any(outcome.changed for outcome in outcomes), accounts=[result_of(outcome) for outcome in outcomes]
    )


if __name__ == "__main__":
    main()
