# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's settings: /etc/dcta/agent.json, written by the role refresh_agent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dcta_library.accounts.errors import AccountsError
from dcta_library.accounts.limits import Limits
from dcta_library.accounts.provider import Provider


class ConfigError(Exception):
    """One sentence that names what was wrong and the cure."""


@dataclass(frozen=True)
class HoldLimits:
    """How long a request may wait.

    Attributes:
        hold_seconds: for a lane to become good.
        rest_seconds: how long an account rests after a 429 that names no time.
        retry_after_seconds: what a refused client is told when nothing better is known.
        requests_per_account: how many requests an account answers at a time; 0 leaves that to ChatGPT.
        blocked_failures: answers with status 500 in a row after which an account's address counts as blocked.
        blocked_seconds: after which one request finds out whether it still is.
    """

    hold_seconds: float = 60.0
    rest_seconds: float = 30.0
    retry_after_seconds: float = 10.0
    requests_per_account: int = 0
    blocked_failures: int = 5
    blocked_seconds: float = 30.0


@dataclass(frozen=True)
class HealthLimits:
    """How replicas are watched.

    Attributes:
        ping_interval: seconds between two looks at a replica.
        ping_timeout: seconds that an answer may take.
        ping_failures: failed looks in a row after which a running replica is ended and started again.
        converge_interval: seconds between two looks at which lanes run.
        renewal_timeout: seconds after which a renewal is given up; above what it may wait for its turn to log in.
    """

    ping_interval: float = 2.0
    ping_timeout: float = 2.0
    ping_failures: int = 3
    converge_interval: float = 30.0
    renewal_timeout: float = 1800.0


@dataclass(frozen=True)
class AlertLimits:
    """When the operator is told.

    Attributes:
        days: how early the end of a token that was supplied by hand is told.
    """

    days: float = 3.0


@dataclass(frozen=True)
class Config:
    """All settings of the agent."""

    provider: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    ca_bundle: str = ""
    node: str = ""
    alerts: AlertLimits = field(default_factory=AlertLimits)
    hold: HoldLimits = field(default_factory=HoldLimits)
    health: HealthLimits = field(default_factory=HealthLimits)


def _section(kind: type[Any], values: Any, label: str) -> Any:
    if not isinstance(values, dict):
        raise ConfigError(f"{label} is not a mapping of settings: write it as name: value")
    known = {item.name: item for item in fields(kind)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(f"{label} has the unknown setting {', '.join(unknown)}: the settings are {', '.join(known)}")
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
            raise ConfigError(f"{label}.{name} is not a number above 0: correct it")
    return kind(**values)


def load_config(path: Path) -> Config:
    """Read and check the settings.

    Args:
        path: the file.

    Raises:
        ConfigError: the file cannot be read, or a setting cannot be used.
    """
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({type(error).__name__}): run the playbook deploy again") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path} is not a mapping: run the playbook deploy again")
    unknown = sorted(set(document) - {item.name for item in fields(Config)})
    if unknown:
        raise ConfigError(f"{path} has the unknown setting {', '.join(unknown)}: run the playbook deploy again")
    for name in ("provider", "limits"):
        if not isinstance(document.get(name, {}), dict):
            raise ConfigError(f"{name} is not a mapping of settings: write it as name: value")
    try:
        Provider.from_mapping(document.get("provider", {}))
        Limits.from_mapping(document.get("limits", {}))
    except AccountsError as error:
        raise ConfigError(f"{error.sentence} {error.cure}") from None
    return Config(
        provider=document.get("provider", {}),
        limits=document.get("limits", {}),
        ca_bundle=str(document.get("ca_bundle", "")),
        node=str(document.get("node", "")),
        alerts=_section(AlertLimits, document.get("alerts", {}), "alerts"),
        hold=_section(HoldLimits, document.get("hold", {}), "hold"),
        health=_section(HealthLimits, document.get("health", {}), "health"),
    )
