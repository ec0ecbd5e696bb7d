# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of ansible-playbook: what reaches the controller's disk is encrypted, whole, and overwrites nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.constants import DEFAULT_VAULT_IDENTITY
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.record import Record
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from identity_fake import me

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[4]
PASSWORDS = [
    "planted {{ lookup('pipe', 'touch CANARY') }}",
    "planted {% if 1 %}",
    "planted {# comment",
    "planted: 'quoted' \"twice\" # no comment",
    "!vault planted",
    "$ANSIBLE_VAULT;1.1;AES256",
    " planted ",
    "planted\nof two lines",
    "- planted\ttab \\ backslash",
    "plänted 🔑 \u0085 \x07",
    "0123",
    "true",
    "null",
    "~",
    "2026-11-23",
    "%planted @planted &planted *planted |planted >planted",
]
Play = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Runs a playbook; nothing secret may show, however much it is asked to tell."""
    (tmp_path / "vault-password").write_text("planted-vault")
    (tmp_path / "local").mkdir()

    def execute(
        playbook: Path, *options: str, vault: bool = True, keep: bool = False, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        known = {"ansible_python_interpreter": sys.executable, **settings}
        password = ["--vault-password-file", "vault-password"] if vault else []
        done = subprocess.run(
            [
                Path(sys.executable).with_name("ansible-playbook"),
                *("-vvv", "--inventory", "localhost,", "--extra-vars", json.dumps(known), *password, *options),
                playbook,
            ],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path / "local"),
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
                "ANSIBLE_KEEP_REMOTE_FILES": str(keep),
                "LANG": "C.UTF-8",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert "planted" not in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return execute


Steps = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def steps(play: Play, tmp_path: Path) -> Steps:
    """Runs tasks one after the other, whatever they answer, and returns what each answered."""

    def execute(*tasks: dict[str, Any], **options: bool) -> list[dict[str, Any]]:
        named = [
            {**task, "register": f"step{number}", "ignore_errors": True, "no_log": True}
            for number, task in enumerate(tasks)
        ]
        answers = "{{ [" + ", ".join(f"step{number}" for number in range(len(tasks))) + "] | to_json }}"
        last = {"ansible.builtin.copy": {"content": answers, "dest": "{{ playbook_dir }}/answers.json", "mode": "0600"}}
        start = {"hosts": "localhost", "connection": "local", "gather_facts": False}
        (tmp_path / "steps.yml").write_text(json.dumps([{**start, "tasks": [*named, last]}]))
        done = play(tmp_path / "steps.yml", **options)
        assert done.returncode == 0, done.stdout
        answers_file = tmp_path / "answers.json"
        found: list[dict[str, Any]] = json.loads(answers_file.read_text())
        answers_file.unlink()
        assert "planted" not in json.dumps(found)
        return found

    return execute


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A run.py with passwords that Ansible or YAML might take for something else."""
    folder = tmp_path / "old"
    folder.mkdir()
    accounts = {f"jane{number}@example.org": password for number, password in enumerate(PASSWORDS)}
    (folder / "run.py").write_text(
        f"open('CANARY', 'w')\naccounts = {accounts!r}\nproxy = '{{{{ planted }}}}:1'\nproxy_type = 'http'\n"
    )
    return folder / "run.py"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_py_becomes_an_inventory_that_ansible_never_evaluates(play: Play, old: Path, tmp_path: Path) -> None:
    done = play(ROOT / "playbooks/import_run_py.yml", run_py=f"old/{old.name}", inventory="inventories/mine")
    assert done.returncode == 0, done.stdout
    assert "custom_API_key is replaced by a fresh key" in done.stdout
    assert sorted(contents(tmp_path / "inventories")) == [
        "mine/group_vars/dcta_nodes/main.yml",
        "mine/group_vars/dcta_nodes/vault.yml",
        "mine/hosts.yml",
    ]
    vault = tmp_path / "inventories/mine/group_vars/dcta_nodes/vault.yml"
    assert vault.read_bytes().startswith(b"$ANSIBLE_VAULT;1.1;AES256\n")
    assert vault.stat().st_mode & 0o777 == 0o600
    look = tmp_path / "look.yml"
    look.write_text(
        "- hosts: dcta_nodes\n  gather_facts: false\n  tasks:\n"
        "    - copy: {content: '{{ [dcta_accounts, dcta_proxy] | to_json }}', dest: seen.json, mode: '0600'}\n"
        "      no_log: true\n"
    )
    done = play(look, "--inventory", "inventories/mine")
    assert done.returncode == 0, done.stdout
    accounts, proxy = json.loads((tmp_path / "seen.json").read_text())
    assert [account["password"] for account in accounts] == PASSWORDS
    assert proxy == "http://{{ planted }}:1"
    assert not list(tmp_path.rglob("CANARY"))


def test_an_import_writes_once_and_overwrites_nothing(steps: Steps, old: Path, tmp_path: Path) -> None:
    task = {"dcta.fleet.run_py_import": {"path": str(old), "inventory": str(tmp_path / "mine")}}
    there = {"ansible.builtin.stat": {"path": str(tmp_path / "mine")}}
    others = [
        {"dcta.fleet.run_py_import": {"path": str(old), "inventory": str(old.parent)}},
        {"dcta.fleet.run_py_import": {"path": str(old.parent / "none.py"), "inventory": str(tmp_path / "other")}},
    ]
    first, between, *again = steps(
        {**task, "check_mode": True}, there, task, {**task, "check_mode": True}, task, *others
    )
    assert (first["changed"], between["stat"]["exists"]) == (True, False)
    assert (again[0]["changed"], again[0]["files"]) == (True, first["files"])
    sentences = [answer["msg"] for answer in again[1:] if answer["failed"]]
    assert ["exists already and nothing is overwritten" in sentence for sentence in sentences] == [True] * 3 + [False]
    assert sentences[3].endswith("none.py cannot be read: No such file or directory.")
    assert not (tmp_path / "other").exists()


def test_without_a_vault_password_nothing_is_written(
    steps: Steps, node: dict[str, str], old: Path, tmp_path: Path
) -> None:
    migration = {"dcta.fleet.run_py_import": {"path": str(old), "inventory": str(tmp_path / "mine")}}
    for answer in steps(migration, {"dcta.fleet.token_backup": node}, vault=False):
        assert "no vault password to encrypt with" in answer["msg"]
    assert not (tmp_path / "mine").exists()
    assert not (tmp_path / "kept").exists()


@pytest.fixture
def node(tmp_path: Path) -> dict[str, str]:
    """A node's store with one account; what a task needs to know of it."""
    (tmp_path / "tokens").mkdir(mode=0o700)
    with Store(str(tmp_path / "tokens"), me()) as store:
        store.salt()
        store.save(Record(name="alice", state="valid", access_token="planted-access", issued_at=1000.0, expires_at=4e9))
    return {"path": str(tmp_path / "kept/node1.bak"), "store": str(tmp_path / "tokens"), "owner": me()}


def kept_token(folder: Path) -> str:
    secret = VaultSecret((folder / "vault-password").read_bytes())
    plain = VaultLib([(DEFAULT_VAULT_IDENTITY, secret)]).decrypt((folder / "kept/node1.bak").read_bytes())
    token: str = json.loads(plain)["records"]["alice"]["access_token"]
    return token


def test_a_backup_is_encrypted_whole_and_comes_back(steps: Steps, node: dict[str, str], tmp_path: Path) -> None:
    backup = {"dcta.fleet.token_backup": node}
    restore = {"dcta.fleet.token_restore": {**node, "accounts": ["alice"]}}
    record = {"path": f"{node['store']}/alice.json"}
    damage = {"ansible.builtin.copy": {"content": "{", "dest": record["path"], "mode": "0600"}}
    remove = {"ansible.builtin.file": {**record, "state": "absent"}}
    checked = [{**backup, "check_mode": True}, backup] * 2
    brought = [{**restore, "check_mode": True}, restore] * 2
    answers = steps(*checked, damage, backup, remove, backup, *brought)
    assert [answer["changed"] for answer in answers[:4]] == [True, True, False, False]
    # What the node can no longer read, and what it no longer has, stays in the backup.
    assert (answers[5]["changed"], answers[5]["unreadable"], answers[5]["accounts"]) == (False, ["alice"], ["alice"])
    assert "no record to keep" in answers[7]["msg"]
    assert [answer["changed"] for answer in answers[8:]] == [True, True, False, False]
    file = tmp_path / "kept/node1.bak"
    assert file.read_bytes().startswith(b"$ANSIBLE_VAULT;1.1;AES256\n")
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [path.name for path in file.parent.iterdir()] == ["node1.bak"]
    assert kept_token(tmp_path) == "planted-access"
    with Store(node["store"], me()) as store:
        brought_back = store.load("alice")
    assert brought_back is not None
    assert brought_back.access_token == "planted-access"


def test_tokens_lie_in_no_file_on_their_way(steps: Steps, node: dict[str, str], tmp_path: Path) -> None:
    restore = {"dcta.fleet.token_restore": {**node, "accounts": ["alice"], "force": True}}
    # What Ansible would lay down, it leaves behind here.
    saved, refused = steps({"dcta.fleet.token_backup": node}, restore, keep=True)
    assert saved["changed"]
    assert "would lie in a temporary file" in refused["msg"]
    assert not [name for name, content in contents(tmp_path / "local").items() if b"planted" in content]


def test_a_backup_under_another_vault_password_is_neither_read_nor_replaced(
    steps: Steps, node: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "kept").mkdir()
    other = VaultSecret(b"planted-other")
    (tmp_path / "kept/node1.bak").write_bytes(VaultLib().encrypt("{}", other))
    before = (tmp_path / "kept/node1.bak").read_bytes()
    backup, restore = {"dcta.fleet.token_backup": node}, {"dcta.fleet.token_restore": {**node, "accounts": ["alice"]}}
    for answer in steps(backup, restore):
        assert "No vault password of this run opens" in answer["msg"]
    assert (tmp_path / "kept/node1.bak").read_bytes() == before
