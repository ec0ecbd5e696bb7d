# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that the agent cannot work with are refused in one sentence, before they land."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from dcta_agent.__main__ import main
from dcta_agent.config import AlertLimits, ConfigError, HealthLimits, HoldLimits, load_config


def check(folder: Path, document: Any) -> None:
    path = folder / "agent.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    load_config(path)


def test_every_built_in_limit_of_the_hold_and_the_watch_is_what_the_documentation_says() -> None:
    assert asdict(HoldLimits()) == {
        "hold_seconds": 60,
        "rest_seconds": 30,
        "retry_after_seconds": 10,
        "requests_per_account": 0,
        "blocked_failures": 5,
        "blocked_seconds": 30,
    }
    assert asdict(AlertLimits()) == {"days": 3}
    assert asdict(HealthLimits()) == {
        "ping_interval": 2,
        "ping_timeout": 2,
        "ping_failures": 3,
        "converge_interval": 30,
        "renewal_timeout": 1800,
    }


def test_settings_are_taken_over_and_the_rest_keeps_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    path.write_text(json.dumps({"hold": {"hold_seconds": 3}, "limits": {"login_gap": 0}, "ca_bundle": "/etc/ca.pem"}))
    config = load_config(path)
    assert config.hold == HoldLimits(hold_seconds=3)
    assert (config.health, config.ca_bundle, config.limits) == (HealthLimits(), "/etc/ca.pem", {"login_gap": 0})


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "cannot be read"),
        ("\0", "cannot be read"),
        ([], "is not a mapping"),
        ({"holds": {}}, "unknown setting holds"),
        ({"hold": {"seconds": 1}}, "hold has the unknown setting seconds: the settings are hold_seconds"),
        ({"hold": []}, "hold is not a mapping"),
        ({"hold": {"hold_seconds": 0}}, "hold.hold_seconds is not a number above 0"),
        ({"hold": {"hold_seconds": "60"}}, "hold.hold_seconds is not a number above 0"),
        ({"hold": {"hold_seconds": True}}, "hold.hold_seconds is not a number above 0"),
        ('{"health": {"ping_timeout": NaN}}', "health.ping_timeout is not a number above 0"),
        ('{"health": {"ping_timeout": Infinity}}', "health.ping_timeout is not a number above 0"),
        ({"limits": {"login_gaps": 1}}, "There is no limit login_gaps"),
        ({"limits": {"login_gap": -1}}, "login_gap"),
        ({"limits": [1]}, "limits is not a mapping"),
        ({"alerts": {"days": 0}}, "alerts.days is not a number above 0"),
        ({"alerts": {"hours": 3}}, "alerts has the unknown setting hours: the settings are days"),
        ({"provider": "https://login.example.test"}, "provider is not a mapping"),
        ({"provider": {"colour": "red"}}, "colour"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path, document: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(tmp_path, document)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run the playbook deploy again"):
        load_config(tmp_path / "none.json")


@pytest.mark.parametrize(("document", "status"), [({}, 0), ({"hold": {"hold_seconds": -1}}, 1)])
def test_check_config_tells_ansible_by_its_status(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    document: dict[str, Any],
    status: int,
) -> None:
    path = tmp_path / "agent.json"
    path.write_text(json.dumps(document))
    monkeypatch.setattr(sys, "argv", ["refresh-agent", "--check-config", str(path)])
    assert main() == status
    assert bool(capsys.readouterr().err) is bool(status)


def test_an_agent_without_its_socket_says_how_to_start_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    monkeypatch.setattr(sys, "argv", ["refresh-agent"])
    assert main() == 1
    assert "systemctl start dcta-agent.service" in capsys.readouterr().err
