# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes share a login pace, and in which order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dcta.fleet.plugins.filter.login_turns import FilterModule
from ansible_collections.dcta.fleet.plugins.module_utils.login_turns import egress_of, login_turns

ROOT = Path(__file__).resolve().parents[4]
OWNERS = {"node2": ["bob"], "node1": ["alice", "carol"], "node3": ["dave"]}
PROXY = "socks5h://user:planted@proxy.example.test:1080"


def _account(name: str, **more: str) -> dict[str, Any]:
    return {"name": name, "email": f"{name}@example.test", "password": "planted", **more}


def _accounts(**proxies: str) -> list[dict[str, Any]]:
    return [
        _account(name, **({"proxy": proxies[name]} if name in proxies else {})) for name in ("alice", "bob", "dave")
    ]


def test_nodes_with_addresses_of_their_own_share_nothing() -> None:
    assert login_turns(_accounts(), OWNERS, {}, {}) == {}


def test_nodes_with_one_label_take_turns_in_the_order_of_their_names() -> None:
    labels = {"node1": "office", "node2": "office", "node3": "home"}
    assert login_turns(_accounts(), OWNERS, {}, labels) == {"alice": "1/2", "bob": "2/2"}


def test_nodes_with_one_proxy_take_turns_whatever_its_scheme_and_user() -> None:
    proxies = {"node1": PROXY, "node2": "http://PROXY.example.test:1080", "node3": "http://proxy.example.test:3128"}
    assert login_turns(_accounts(), OWNERS, proxies, {}) == {"alice": "1/2", "bob": "2/2"}


def test_an_accounts_own_proxy_counts_before_that_of_its_node_and_a_proxy_before_a_label() -> None:
    labels = dict.fromkeys(OWNERS, "office")
    turns = login_turns(_accounts(alice=PROXY, dave=PROXY), OWNERS, {"node1": "http://other.test:1"}, labels)
    assert turns == {"alice": "1/2", "dave": "2/2"}


def test_only_nodes_that_log_in_by_an_egress_count() -> None:
    labels = dict.fromkeys([*OWNERS, "node4"], "office")
    accounts = [_account("alice"), _account("bob"), {"name": "dave", "access_token": "planted"}]
    assert login_turns(accounts, {**OWNERS, "node4": []}, {}, labels) == {"alice": "1/2", "bob": "2/2"}


def test_all_accounts_of_a_node_have_its_turn() -> None:
    labels = dict.fromkeys(OWNERS, "office")
    turns = login_turns([*_accounts(), _account("carol")], OWNERS, {}, labels)
    assert turns["carol"] == turns["alice"] == "1/3"


@pytest.mark.parametrize("url", [PROXY, "http://user:planted@[x:1", "http://user:pl@nted@h.test:port"])
def test_an_egress_holds_no_user_and_no_password(url: str) -> None:
    shown = repr(egress_of(_account("alice", proxy=url), "node1"))
    assert all(word not in shown for word in ("planted", "user", "nted"))


def test_the_filter_adds_the_turns_and_leaves_everything_else_alone() -> None:
    filtered = FilterModule().filters()["login_turns"]
    accounts = _accounts(dave=PROXY)
    assert filtered(accounts, accounts, OWNERS) == accounts
    assert filtered(accounts[1:], accounts, OWNERS, None, dict.fromkeys(OWNERS, "office")) == [
        {**accounts[1], "login_turn": "2/2"},
        accounts[2],
    ]


@pytest.mark.slow
def test_a_run_counts_all_nodes_of_the_inventory_also_those_outside_its_limit(tmp_path: Path) -> None:
    accounts = [{**_account(name), "node": node} for node, names in OWNERS.items() for name in names]
    hosts = {
        "node1": {"dcta_egress": "office"},
        "node2": {"dcta_egress": "office"},
        "node3": {"dcta_proxy": PROXY},
    }
    settings = {"dcta_accounts": accounts, "ansible_python_interpreter": sys.executable}
    answer = {
        "ansible.builtin.copy": {
            "content": "{{ dict(__deploy_accounts | map(attribute='name')"
            " | zip(__deploy_accounts | map(attribute='login_turn', default='none'))) | to_json }}",
            "dest": str(tmp_path) + "/{{ inventory_hostname }}.json",
            "mode": "0600",
        }
    }
    play = {
        "hosts": "dcta_nodes",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [str(ROOT / "playbooks/vars/lanes.yml")],
        "tasks": [answer],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    (tmp_path / "hosts.json").write_text(json.dumps({"dcta_nodes": {"hosts": hosts, "vars": settings}}))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.json", "--limit", "node1,node3", "play.yml"],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "LANG": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("node*.json")}
    assert found == {"node1": {"alice": "1/2", "carol": "1/2"}, "node3": {"dave": "none"}}
