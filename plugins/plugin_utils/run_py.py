# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a ``run.py`` of Deploy-ChatGPT-to-API says, read without executing it, as the settings of a fleet.

Only plain values are read: literals that are assigned to one of the known names. No note holds a secret or an e-mail
address.
"""

from __future__ import annotations

import ast
import ipaddress
import itertools
import re
import secrets
import time
import unicodedata
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.oauth import jwt_expiry
from ansible_collections.dcta.fleet.plugins.module_utils.lane_address import lane_address
from ansible_collections.dcta.fleet.plugins.plugin_utils import inventory_rules

LARGEST = 1 << 20
"""Bytes of a run.py or a certificate; the original is a hundredth of it."""

NODE = "node1"
PORT = 8443
LOCAL = "localhost"

_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "accounts": ((dict,), "a dictionary of e-mail addresses and passwords"),
    "access_tokens": ((list, tuple), "a list of texts"),
    "proxy": ((str,), "a text"),
    "proxy_type": ((str,), "a text"),
    "custom_API_key": ((str,), "a text"),
    "server_host": ((str,), "a text"),
    "server_port": ((str, int), "a number"),
    "cert_filename": ((str,), "a text"),
    "key_filename": ((str,), "a text"),
}
_HARMLESS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


class RunPyError(Exception):
    """The file cannot be migrated; one sentence without a value."""


@dataclass(frozen=True, kw_only=True)
class Migration:
    """An inventory in the making.

    Attributes:
        hosts: the content of ``hosts.yml``.
        settings: the content of ``main.yml``, nothing of it secret.
        vault: the content of ``vault.yml``.
        accounts: the names of the accounts.
        notes: what was not carried over or needs attention, one sentence each.
    """

    hosts: dict[str, Any]
    settings: dict[str, Any]
    vault: dict[str, Any] = field(repr=False)
    accounts: tuple[str, ...]
    notes: tuple[str, ...]


def migrate(source: bytes, folder: Path, address: str = LOCAL) -> Migration:
    """Turn a ``run.py`` into the settings of a fleet with one node.

    Args:
        source: the content of the file.
        folder: where it lies; its ``certifications`` holds the certificate pair.
        address: of the host that shall become the node; ``localhost`` is the machine that Ansible runs on.

    Returns:
        Settings that the role preflight accepts, and notes on what they leave out.

    Raises:
        RunPyError: it is no Python program, or it has no account that can be used.
    """
    notes: list[str] = []
    values = _values(source, notes.append)
    accounts = _accounts(values, notes.append)
    if not accounts:
        raise RunPyError(" ".join(["run.py has no account that can be carried over.", *notes]))
    settings: dict[str, Any] = {"dcta_mode": "native", "dcta_listen": _listen(values, notes.append)}
    vault: dict[str, Any] = {"dcta_accounts": accounts, "dcta_api_keys": [_api_key(values, notes.append)]}
    proxy = _proxy(values, address, notes.append)
    # A user name in an URL comes with a password.
    (vault if "@" in proxy else settings)["dcta_proxy"] = proxy
    pair = _certificate_pair(values, folder, notes.append)
    if pair:
        settings["dcta_tls_certificate"], vault["dcta_tls_private_key"] = pair
    else:
        settings["dcta_tls"] = False
    if (folder / "cache").exists():
        notes.append("cache/ is not read, because reading it could execute code: each account logs in once.")
    host = {"ansible_connection": "local"} if address == LOCAL else {"ansible_host": address}
    return Migration(
        hosts={"dcta_nodes": {"hosts": {NODE: host}}},
        settings=settings,
        vault=vault,
        accounts=tuple(account["name"] for account in accounts),
        notes=tuple(notes),
    )


def yaml_text(document: Mapping[str, Any], comment: str) -> str:
    """Write variables as Ansible reads them; what looks like a template is data.

    Args:
        document: the variables.
        comment: one line for the head of the file.

    Returns:
        The text of a YAML file.
    """
    text: str = yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=LARGEST)
    return f"---\n# {comment}\n{text}"


class _Dumper(yaml.SafeDumper):
    """Writes texts so that Ansible never evaluates them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    template = any(mark in text for mark in ("{{", "{%", "{#"))
    style = "|" if "\n" in text else '"' if template else None
    return dumper.represent_scalar("!unsafe" if template else "tag:yaml.org,2002:str", str(text), style=style)


_Dumper.add_representer(str, _represent_text)
# Ansible hands over texts of classes of its own.
_Dumper.add_multi_representer(str, _represent_text)


def _values(source: bytes, note: Callable[[str], None]) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise RunPyError(
            "run.py is no Python program that can be parsed: correct it, or check that it is the right file."
        ) from None
    values: dict[str, Any] = {}
    for statement in statements:
        names, value = _assignment(statement)
        for name in names:
            values.pop(name, None)
            try:
                values[name] = _checked(name, ast.literal_eval(value))
            except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                note(
                    f"{name} of line {statement.lineno} is not carried over, because it is not {_KINDS[name][1]} "
                    "written out: nothing of the file is executed."
                )
        if not names:
            for name in sorted(_worked_on(statement)):
                note(f"What line {statement.lineno} does with {name} is not carried over: only plain values are.")
    return values


def _assignment(statement: ast.stmt) -> tuple[list[str], ast.expr]:
    """Return the known names that a statement sets, and to what."""
    if isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets, value = [statement.target], statement.value
    else:
        return [], ast.Constant(None)
    return [target.id for target in targets if isinstance(target, ast.Name) and target.id in _KINDS], value


def _worked_on(statement: ast.stmt) -> set[str]:
    """Return the known names that a statement may change in a way that nobody can tell without executing it."""
    main = isinstance(statement, ast.If) and any(
        isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(statement.test)
    )
    plain = isinstance(statement, ast.Assign) and all(isinstance(target, ast.Name) for target in statement.targets)
    if main or plain or isinstance(statement, _HARMLESS):
        return set()
    return {part.id for part in ast.walk(statement) if isinstance(part, ast.Name)} & set(_KINDS)


def _checked(name: str, value: Any) -> Any:
    if isinstance(value, _KINDS[name][0]) and not isinstance(value, bool):
        return value
    raise TypeError(name)


def _is_text(value: object) -> bool:
    """Say whether a value is a text that can be written down."""
    return isinstance(value, str) and value.strip() != "" and not re.search("[\ud800-\udfff]", value)


class _Names:
    """Makes names of accounts that preflight accepts, each only once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, label: str) -> str:
        ascii_label = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode()
        stem = re.sub(r"[^a-z0-9]+", "-", ascii_label.lower()).strip("-") or "account"
        stem = stem if stem[0].isalpha() else f"a-{stem}"
        for number in itertools.count(1):
            end = "" if number == 1 else f"-{number}"
            name = stem[: 20 - len(end)].rstrip("-") + end
            # Lanes of the same address could not live on one node.
            if not {name, lane_address(name)} & self._taken:
                break
        self._taken |= {name, lane_address(name)}
        return name


def _accounts(values: Mapping[str, Any], note: Callable[[str], None]) -> list[dict[str, str]]:
    names = _Names()
    accounts: list[dict[str, str]] = []
    for position, (email, password) in enumerate(values.get("accounts", {}).items(), 1):
        where = f"Entry {position} of accounts is not carried over, because it has"
        if not _is_text(email) or not email.strip().partition("@")[0] or "@" not in email:
            note(f"{where} no e-mail address.")
        elif not _is_text(password):
            note(f"{where} no password that is a text.")
        else:
            accounts.append(
                {"name": names.take(email.strip().rpartition("@")[0]), "email": email.strip(), "password": password}
            )
    known: set[str] = set()
    for position, token in enumerate(values.get("access_tokens", ()), 1):
        where = f"Entry {position} of access_tokens"
        if not _is_text(token):
            note(f"{where} is not carried over, because it is no text.")
        elif token.strip() in known:
            note(f"{where} is not carried over, because it stands there twice.")
        else:
            known.add(token.strip())
            accounts.append({"name": names.take("token"), "access_token": token.strip()})
            expiry = jwt_expiry(token.strip())
            if expiry is not None and expiry < time.time():
                note(f"{where} has expired: give account {accounts[-1]['name']} a new access_token in the vault.")
    return accounts


def _listen(values: Mapping[str, Any], note: Callable[[str], None]) -> str:
    host = str(values.get("server_host", "0.0.0.0")).strip()  # noqa: S104 - the original's own default
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == LOCAL else host)
    except ValueError:
        note("server_host is not carried over, because it is no IP address: the gateway listens on all addresses.")
        address = ipaddress.IPv4Address(0)
    text = str(values.get("server_port", PORT)).strip()
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        note(f"server_port is not carried over, because it is no port: the gateway listens on {PORT}.")
        text = str(PORT)
    return f"[{address}]:{int(text)}" if address.version == 6 else f"{address}:{int(text)}"


def _api_key(values: Mapping[str, Any], note: Callable[[str], None]) -> dict[str, str]:
    entry = {"name": "original", "key": str(values.get("custom_API_key", "")).strip()}
    if not inventory_rules.api_key_problems([entry]):
        return entry
    reason = (
        "is shorter than 32 characters or has others than letters, digits and ._~+/=-" if entry["key"] else "is not set"
    )
    note(f"custom_API_key is replaced by a fresh key, because it {reason}: give the one in the vault to your clients.")
    return {"name": "fresh", "key": secrets.token_hex(24)}


def _proxy(values: Mapping[str, Any], address: str, note: Callable[[str], None]) -> str:
    proxy = str(values.get("proxy", "")).strip()
    if not proxy:
        return ""
    url = f"{values.get('proxy_type', '')}://{proxy}"
    if not _is_text(url) or inventory_rules.proxy_problems(url, "proxy"):
        note(
            "proxy is not carried over, because proxy_type and proxy make no URL with scheme, host and port: set "
            "dcta_proxy before you deploy, or the accounts leave by the node's own address."
        )
        return ""
    if address != LOCAL and urlsplit(url).hostname in (LOCAL, "127.0.0.1", "::1"):
        note("proxy is a program on the machine itself: the node needs one too, or another dcta_proxy.")
    return url


def _certificate_pair(values: Mapping[str, Any], folder: Path, note: Callable[[str], None]) -> tuple[str, str] | None:
    names = [str(values.get(name, "")).strip() for name in ("cert_filename", "key_filename")]
    certificate, private_key = (_text_file(folder / "certifications", name) for name in names)
    if not all(names):
        problems = ["cert_filename and key_filename are not both set"]
    elif not certificate or not private_key:
        problems = ["certifications/ beside run.py lacks a text file that cert_filename or key_filename names"]
    else:
        problems = inventory_rules.certificate_problems(certificate, private_key)
    if not problems:
        return certificate, private_key
    note(
        f"The certificate is not carried over, because {'; '.join(problems)}. Until you set dcta_tls_certificate and "
        "dcta_tls_private_key and remove dcta_tls, keys and chats travel in the clear."
    )
    return None


def _text_file(folder: Path, name: str) -> str:
    """Return the text of a file right in a folder; nothing where there is none that can be used."""
    try:
        path = folder / name
        plain = name == path.name and path.is_file() and path.stat().st_size <= LARGEST
        return path.read_text(encoding="utf-8") if plain else ""
    except (OSError, ValueError):
        return ""
