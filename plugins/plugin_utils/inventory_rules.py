# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory must fulfil before a run may change anything. Rules answer with sentences, never with a value."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from ansible_collections.dcta.fleet.plugins.module_utils.accounts.node_paths import ACCOUNT_NAME
from ansible_collections.dcta.fleet.plugins.module_utils.lane_address import lane_address

CRYPTOGRAPHY_IMPORT_ERROR: Exception | None = None
try:  # ansible-core brings it along, but a controller may have been put together by hand
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
except ImportError as error:
    CRYPTOGRAPHY_IMPORT_ERROR = error

ACCOUNT_KEYS = ("name", "email", "password", "totp_secret", "refresh_token", "access_token", "node", "proxy")
API_KEY_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}\Z")
API_KEY = re.compile(r"[A-Za-z0-9._~+/=-]{32,}\Z")
MODES = ("native", "docker")
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
# RFC 3986, section 3.2.1; a program that cannot parse the URL would go around the proxy without a word.
USERINFO = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})+\Z")
# RFC 1929, section 2.
LONGEST_PROXY_CREDENTIAL = 255


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _account_problems(
    account: Mapping[str, Any], label: str, nodes: Sequence[str], schemes: Sequence[str], token_pattern: str
) -> Iterator[str]:
    unknown = sorted(str(key) for key in account if key not in ACCOUNT_KEYS)
    if unknown:
        yield f"{label} has the unknown key {', '.join(unknown)}: the keys are {', '.join(ACCOUNT_KEYS)}"
    empty = [key for key in ACCOUNT_KEYS if key != "name" and key in account and not _is_text(account[key])]
    for key in empty:
        if key not in ("node", "proxy"):
            yield f"{label} has an empty {key}: give its value in the vault, or leave the key out"
    has = {key for key in ACCOUNT_KEYS if key in account}
    if not has & {"email", "password", "refresh_token", "access_token"}:
        yield f"{label} has nothing to log in with: give email and password, or access_token, in the vault"
    if ("email" in has) != ("password" in has):
        missing = "password" if "email" in has else "email"
        yield f"{label} has no {missing}: email and password belong together"
    if "totp_secret" in has and _is_text(account["totp_secret"]) and not _is_base32(account["totp_secret"]):
        yield f"{label} has a totp_secret that is not base32: copy the text that the provider shows beside the QR code"
    if _is_text(account.get("node")) and account["node"] not in nodes:
        yield f"{label} is pinned to {account['node']}, which is no host of the group dcta_nodes: correct its node"
    if _is_text(account.get("proxy")):
        yield from proxy_problems(account["proxy"], f"the proxy of {label}", schemes)
    token = account.get("access_token")
    if token_pattern and isinstance(token, str) and token and not re.fullmatch(token_pattern, token):
        yield (
            f"{label} has an access_token that the program of this profile cannot bear, it takes {token_pattern}: "
            "give another one, or choose another api_profile"
        )


def _is_base32(secret: str) -> bool:
    compact = secret.replace(" ", "").replace("-", "").rstrip("=").upper()
    try:
        return bool(base64.b32decode(compact + "=" * (-len(compact) % 8)))
    except (binascii.Error, ValueError):
        return False


def proxy_problems(url: str, label: str, schemes: Sequence[str] = PROXY_SCHEMES) -> list[str]:
    """Return what is wrong with a proxy's URL.

    Args:
        url: the URL, which may hold a password.
        label: how a sentence names the proxy.
        schemes: the schemes that the program's profile knows.
    """
    try:
        parts = urlsplit(url)
        complete = parts.scheme in PROXY_SCHEMES and bool(parts.hostname) and parts.port is not None
    except ValueError:
        complete = False
    if not complete:
        return [f"{label} is not a URL with scheme, host and port: write {'|'.join(schemes)}://host:port"]
    if parts.scheme not in schemes:
        known = ", ".join(schemes)
        return [f"{label} is {parts.scheme}, which the program of this api_profile does not know: use one of {known}"]
    if "@" in parts.netloc and not _is_sendable(parts):
        cure = "write user:password@, both in printable ASCII, with every special character percent-encoded"
        return [f"{label} has a user and a password that not every program can send: {cure}"]
    return []


def _is_sendable(parts: SplitResult) -> bool:
    """Say whether agent and program would send the same user and password, by HTTP Basic (RFC 7617) and by SOCKS5."""
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return (
        bool(USERINFO.match(parts.netloc.rpartition("@")[0]))
        and all(text and text.isascii() and text.isprintable() for text in (user, password))
        and max(len(user), len(password)) <= LONGEST_PROXY_CREDENTIAL
        and ":" not in user
    )


def webhook_problems(webhook: object) -> list[str]:
    """Return what is wrong with ``dcta_alert_webhook``.

    Args:
        webhook: the value of the variable; its path and query may hold a secret.
    """
    if isinstance(webhook, Mapping) and "undefined" in webhook:
        return [f"dcta_alert_webhook cannot be read, because {webhook['undefined']}: define it in the vault"]
    try:
        parts = urlsplit(str(webhook))
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    # A request line holds neither blanks nor anything beside ASCII (RFC 3986, section 2).
    if webhook == "" or (usable and re.fullmatch(r"[!-~]+", str(webhook))):
        return []
    return [
        "dcta_alert_webhook is no usable URL: write it like https://host/path, with everything else percent-encoded"
    ]


def build_proxy_problems(url: str) -> list[str]:
    """Return what is wrong with ``dcta_build_proxy``.

    Args:
        url: the value of the variable, or nothing.
    """
    if "@" in url:
        shown = "which the process list of the build host would show to all of its users"
        return [f"dcta_build_proxy holds a user or a password, {shown}: give a proxy that needs none"]
    return proxy_problems(url, "dcta_build_proxy") if url else []


def account_problems(
    accounts: object, nodes: Sequence[str], schemes: Sequence[str] = PROXY_SCHEMES, token_pattern: str = ""
) -> list[str]:
    """Return what is wrong with ``dcta_accounts``.

    Args:
        accounts: the value of the variable.
        nodes: all hosts of the group dcta_nodes.
        schemes: the schemes of proxies that the program's profile knows.
        token_pattern: the regular expression of the tokens that it takes; empty takes all.

    Returns:
        One sentence a problem; accounts are named by name or position.
    """
    if isinstance(accounts, Mapping) and "undefined" in accounts:
        return [f"dcta_accounts cannot be read, because {accounts['undefined']}: define it in the vault"]
    if not isinstance(accounts, Sequence) or isinstance(accounts, str) or not accounts:
        return ["dcta_accounts is not a list with at least one account: define it in the vault"]
    problems: list[str] = []
    names: list[str] = []
    for position, account in enumerate(accounts, 1):
        if not isinstance(account, Mapping):
            problems.append(
                f"entry {position} of dcta_accounts is not an account: write it as name: ..., email: ..., password: ..."
            )
            continue
        name = account.get("name")
        if not isinstance(name, str) or not ACCOUNT_NAME.fullmatch(name):
            problems.append(
                f"entry {position} of dcta_accounts has no valid name: a letter, then letters, digits or dashes, "
                "lower case, at most 20"
            )
            continue
        names.append(name)
        problems.extend(_account_problems(account, f"account {name}", nodes, schemes, token_pattern))
    problems += [
        f"two accounts are named {name}: give each its own name" for name, n in sorted(Counter(names).items()) if n > 1
    ]
    addresses: dict[str, str] = {}
    for name in sorted(set(names)):
        other = addresses.setdefault(lane_address(name), name)
        if other != name:
            problems.append(
                f"accounts {other} and {name} would share the address {lane_address(name)}: rename one of them"
            )
    return problems


def api_key_problems(keys: object) -> list[str]:
    """Return what is wrong with ``dcta_api_keys``.

    Args:
        keys: the value of the variable.

    Returns:
        One sentence a problem; keys are named by name or position.
    """
    if isinstance(keys, Mapping) and "undefined" in keys:
        return [f"dcta_api_keys cannot be read, because {keys['undefined']}: define it in the vault"]
    if not isinstance(keys, Sequence) or isinstance(keys, str) or not keys:
        return ["dcta_api_keys holds no key: define at least one in the vault, or set dcta_require_api_key to false"]
    problems = []
    for position, entry in enumerate(keys, 1):
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if not isinstance(name, str) or not API_KEY_NAME.match(name):
            problems.append(
                f"entry {position} of dcta_api_keys has no valid name: a letter, then letters, digits, dots or dashes"
            )
        elif not isinstance(entry.get("key"), str) or not API_KEY.match(entry["key"]):
            problems.append(
                f"API key {name} is not at least 32 letters, digits or ._~+/=-: make one with openssl rand -hex 24"
            )
    entries = [entry for entry in keys if isinstance(entry, Mapping)]
    for field, sentence in (("name", "two API keys are named {}"), ("key", "API keys {} are the same key")):
        groups: dict[str, list[str]] = {}
        for entry in entries:
            groups.setdefault(str(entry.get(field)), []).append(str(entry.get("name")))
        problems += [
            f"{sentence.format(' and '.join(sorted(set(g))))}: each needs its own"
            for g in groups.values()
            if len(g) > 1
        ]
    return problems


def certificate_problems(certificate: str, private_key: str, now: datetime | None = None) -> list[str]:
    """Return what is wrong with the certificate pair.

    Args:
        certificate: the chain in PEM, the server's own certificate first.
        private_key: the private key in PEM, unencrypted.
        now: the time to check the validity against.
    """
    if CRYPTOGRAPHY_IMPORT_ERROR is not None:
        return ["the controller lacks the Python package cryptography: install ansible-core with its dependencies"]
    now = now or datetime.now(UTC)
    try:
        chain = x509.load_pem_x509_certificates(certificate.encode())
    except ValueError:
        return [
            "dcta_tls_certificate holds no certificate in PEM: give the full chain, the server's own certificate first"
        ]
    try:
        key = load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError):
        return ["dcta_tls_private_key holds no unencrypted private key in PEM: put it into the vault"]
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if chain[0].public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        return ["dcta_tls_private_key does not belong to dcta_tls_certificate: give the matching pair"]
    end = getattr(chain[0], "not_valid_after_utc", None) or chain[0].not_valid_after.replace(tzinfo=UTC)
    if end <= now:
        return [f"dcta_tls_certificate expired on {end:%Y-%m-%d}: give a certificate that is valid"]
    return []


def listen_problems(listen: str) -> list[str]:
    """Return what is wrong with ``dcta_listen``.

    Args:
        listen: address and port, IPv6 addresses in brackets.
    """
    match = re.fullmatch(r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):(\d{1,5})", listen)
    if match and 0 < int(match[1]) < 65536:
        return []
    return ["dcta_listen is not an IP address and a port: write it like 0.0.0.0:8443 or [::]:8443"]


def mode_problems(mode: str) -> list[str]:
    """Return what is wrong with ``dcta_mode``.

    Args:
        mode: how the program shall run.
    """
    return [] if mode in MODES else [f"dcta_mode is none of {', '.join(MODES)}: choose one"]


def setting_problems(names: Iterable[str], known: Iterable[str], renamed: Mapping[str, str]) -> list[str]:
    """Return which fleet-wide settings do not exist.

    Args:
        names: the names of all defined variables that begin with ``dcta_``.
        known: the names that exist.
        renamed: old names to new ones.
    """
    known = set(known)
    return [
        f"the setting {name} does not exist: "
        + (f"it is called {renamed[name]} now" if name in renamed else f"the settings are {', '.join(sorted(known))}")
        for name in sorted(set(names) - known)
    ]
