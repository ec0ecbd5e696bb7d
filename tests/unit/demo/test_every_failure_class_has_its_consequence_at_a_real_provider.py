# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The library against the stand-in provider, over HTTP: each class of failure with all that follows from it."""

from __future__ import annotations

import random
import time
import typing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import Credentials
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import ACCOUNT_ERRORS
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.limits import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.outcome import Outcome
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.provider import Provider
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.renewer import Renewer
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.runtime import Runtime
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from ansible_collections.dcta.fleet.plugins.module_utils.http_session import HttpSession
from identity_fake import me

from .standins import ALICE, AUDIENCE, BOB, CLIENT_ID, REDIRECT_URI, TOTP_SECRET, StandIns

OTHER_SECRET = "NBSWY3DPEB3W64TMMQQGC3THEBZXI4TB"
GOOD = {
    "alice": {"email": ALICE, "password": "alice's & password"},
    "bob": {"email": BOB, "password": "bob's", "totp_secret": TOTP_SECRET},
}
SECRETS = (ALICE, BOB, "alice's", "bob's", TOTP_SECRET, OTHER_SECRET, "wrong-one")
LIMITS = Limits(login_gap=0, login_gap_random=0)
DAY = 86_400.0


class Node:
    """A node with one account; its clock runs, and tests turn it and the provider's forward."""

    def __init__(self, standins: StandIns, folder: Path, name: str, **changes: str) -> None:
        self.standins, self.folder, self.name = standins, folder, name
        self.ahead = 0.0
        self.entry = {**GOOD[name], **changes}
        folder.mkdir(mode=0o700)

    def now(self) -> float:
        """Return the node's time."""
        return time.time() + self.ahead

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.ahead += seconds
        self.standins.control("/clock", ahead=self.ahead)

    def end_of_trouble(self) -> None:
        """Bring the provider back to its beginnings, but not to another time."""
        self.standins.control("/reset")
        self.wait(0)

    def renew(self, **how: typing.Any) -> Outcome:
        """Renew with nothing but what is on the disk."""
        provider = {
            "issuer": self.standins.issuer,
            "client_id": CLIENT_ID,
            "audience": AUDIENCE,
            "redirect_uri": REDIRECT_URI,
            "scope": "openid offline_access",
        }
        with Store(str(self.folder), me()) as store:
            return Renewer(
                store=store,
                provider=Provider.from_mapping(provider),
                credentials={self.name: Credentials(name=self.name, **{k: v for k, v in self.entry.items() if v})},
                runtime=Runtime(
                    session=lambda account: HttpSession(proxy=account.proxy),
                    clock=self.now,
                    sleep=self.wait,
                    rng=random.Random(7),  # noqa: S311 - a test has to repeat itself
                ),
                limits=LIMITS,
            ).renew(self.name, **how)

    def submissions(self) -> int:
        """Return how many passwords of the account reached the provider."""
        return self.standins.count(self.entry["email"], "password_submissions")

    def events(self) -> int:
        """Return how much the provider saw at all."""
        return len(self.standins.statistics()["events"])


def _changed(**values: str) -> typing.Callable[[Node], Outcome]:
    """Lift by the operator's word in the vault."""

    def lift(node: Node) -> Outcome:
        node.entry.update(values)
        node.wait(LIMITS.login_interval)
        return node.renew()

    return lift


def _token_by_hand(node: Node) -> Outcome:
    node.entry["access_token"] = node.standins.control("/issue", email=node.entry["email"])["access_token"]
    outcome = node.renew()
    assert outcome.action == "adopt"
    return outcome


def _command(node: Node) -> Outcome:
    """Lift by command, after the trouble was ended with a browser."""
    node.end_of_trouble()
    node.wait(LIMITS.login_interval)
    assert node.renew().state == "needs_operator"
    return node.renew(lift=True)


def _time(node: Node) -> Outcome:
    """Let it return by itself."""
    node.end_of_trouble()
    outcome = node.renew()
    for _ignored in range(3):
        if outcome.usable:
            break
        assert outcome.next_renewal is not None
        node.wait(max(0.0, outcome.next_renewal - node.now() - 6))
        assert not node.renew().changed
        node.wait(6)
        outcome = node.renew()
    return outcome


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        trouble: what is the matter.
        error_class: the class.
        state: where the account ends.
        lifted: how it comes back.
        switches: of the provider.
        account: whose login it is.
        entry: what differs in the vault.
        submissions: passwords that are sent.
        waits: seconds until the next attempt, the least and the most; None for none at all.
    """

    trouble: str
    error_class: str
    state: str
    lifted: typing.Callable[[Node], Outcome]
    switches: dict[str, object] = field(default_factory=dict)
    account: str = "alice"
    entry: dict[str, str] = field(default_factory=dict)
    submissions: int = 0
    waits: tuple[float, float] | None = None


BACKOFF = (7.5, 12.5)


def _asked(seconds: int) -> tuple[float, float]:
    return seconds - 1, seconds + 1  # the headers know whole seconds only


TABLE = [
    Row(
        trouble="wrong password",
        error_class="bad_credentials",
        state="quarantined",
        entry={"password": "wrong-one"},
        submissions=1,
        lifted=_changed(**GOOD["alice"]),
    ),
    Row(
        trouble="wrong password, the same page with 200",
        error_class="bad_credentials",
        state="quarantined",
        entry={"password": "wrong-one"},
        switches={"wrong_password_status": 200},
        submissions=1,
        lifted=_changed(**GOOD["alice"]),
    ),
    Row(
        trouble="a code is asked and there is no secret",
        error_class="mfa_required",
        state="needs_operator",
        account="bob",
        entry={"totp_secret": ""},
        submissions=1,
        lifted=_changed(**GOOD["bob"]),
    ),
    Row(
        trouble="a second factor for a person",
        error_class="mfa_required",
        state="needs_operator",
        switches={"mfa_page": "mfa-push-challenge"},
        submissions=1,
        lifted=_token_by_hand,
    ),
    Row(
        trouble="the secret of another account",
        error_class="mfa_invalid",
        state="quarantined",
        account="bob",
        entry={"totp_secret": OTHER_SECRET},
        submissions=1,
        lifted=_changed(**GOOD["bob"]),
    ),
    Row(
        trouble="captcha beside the password",
        error_class="captcha_required",
        state="needs_operator",
        switches={"captcha": "password"},
        lifted=_token_by_hand,
    ),
    Row(
        trouble="captcha after the password",
        error_class="captcha_required",
        state="needs_operator",
        switches={"password_error": "invalid-captcha"},
        submissions=1,
        lifted=_command,
    ),
    Row(
        trouble="consent page",
        error_class="consent_required",
        state="needs_operator",
        switches={"consent": True},
        submissions=1,
        lifted=_command,
    ),
    Row(
        trouble="blocked account",
        error_class="account_blocked",
        state="needs_operator",
        switches={"password_error": "user-blocked"},
        submissions=1,
        lifted=_command,
    ),
    Row(
        trouble="429 with Retry-After before anything was sent",
        error_class="rate_limited",
        state="waiting",
        switches={"authorize_answer": {"kind": "rate_limit", "retry_after": 7200}},
        waits=_asked(7200),
        lifted=_time,
    ),
    Row(
        trouble="429 with Retry-After at the token endpoint",
        error_class="rate_limited",
        state="waiting",
        switches={"code_answer": {"kind": "rate_limit", "retry_after": 300}},
        submissions=1,
        waits=_asked(300),
        lifted=_time,
    ),
    Row(
        trouble="too many logins of this user",
        error_class="rate_limited",
        state="waiting",
        switches={"password_error": "same-user-login"},
        submissions=1,
        waits=BACKOFF,
        lifted=_time,
    ),
    Row(
        trouble="bot wall",
        error_class="ip_blocked",
        state="waiting",
        switches={"authorize_answer": "bot_wall"},
        waits=BACKOFF,
        lifted=_time,
    ),
    Row(
        trouble="address blocked on the password page",
        error_class="ip_blocked",
        state="waiting",
        switches={"password_error": "ip-blocked"},
        submissions=1,
        waits=BACKOFF,
        lifted=_time,
    ),
    Row(
        trouble="503 with Retry-After",
        error_class="provider_error",
        state="waiting",
        switches={"authorize_answer": {"kind": "unavailable", "retry_after": 600}},
        waits=_asked(600),
        lifted=_time,
    ),
    Row(
        trouble="500 after the password",
        error_class="provider_error",
        state="waiting",
        switches={"password_answer": "server_error"},
        submissions=1,
        waits=BACKOFF,
        lifted=_time,
    ),
    Row(
        trouble="no connection",
        error_class="network_error",
        state="waiting",
        switches={"identity_down": True},
        waits=BACKOFF,
        lifted=_time,
    ),
    Row(
        trouble="connection lost after the password",
        error_class="network_error",
        state="waiting",
        switches={"password_answer": "lost"},
        submissions=1,
        waits=BACKOFF,
        lifted=_time,
    ),
    Row(
        trouble="a page nobody knows",
        error_class="unknown_page",
        state="needs_operator",
        switches={"password_answer": "unknown_page"},
        submissions=1,
        lifted=_token_by_hand,
    ),
]
BY_HAND = {"token_expired", "token_rejected"}
"""Classes that no page of a login leads to."""


@pytest.mark.slow
@pytest.mark.parametrize("row", TABLE, ids=[row.trouble for row in TABLE])
def test_a_failure_has_its_class_its_consequence_and_its_way_back(row: Row, standins: StandIns, tmp_path: Path) -> None:
    node = Node(standins, tmp_path / "tokens", row.account, **row.entry)
    standins.switch(**row.switches)
    begun = node.now()
    outcome = node.renew()
    ended = node.now()
    assert (outcome.error_class, outcome.state, outcome.usable) == (row.error_class, row.state, False)
    assert outcome.message.endswith(".")
    assert outcome.cure.endswith(".")
    assert not any(secret in repr(outcome) for secret in SECRETS)
    assert node.submissions() == row.submissions

    seen = node.events()
    again = node.renew()
    assert again == replace(outcome, action="none", changed=False, warnings=again.warnings)
    if row.waits is None:
        assert outcome.next_renewal is None
        node.wait(10 * DAY)
        assert node.renew().state == row.state
        node.wait(-10 * DAY)
    else:
        assert outcome.next_renewal is not None
        assert begun + row.waits[0] <= outcome.next_renewal <= ended + row.waits[1]
    assert node.events() == seen

    lifted = row.lifted(node)
    assert (lifted.state, lifted.usable, lifted.error_class) == ("valid", True, None)
    budget = LIMITS.login_interval if row.submissions and lifted.action == "login" else 0.0
    assert node.now() - begun >= budget


def test_the_table_has_every_class_that_a_login_can_end_in() -> None:
    assert {row.error_class for row in TABLE} == set(ACCOUNT_ERRORS) - BY_HAND


def test_ten_days_with_a_wrong_password_and_a_restart_every_hour_cost_one_submission(
    standins: StandIns, tmp_path: Path
) -> None:
    node = Node(standins, tmp_path / "tokens", "alice", password="wrong-one")
    for hour in range(240):
        outcome = node.renew(reason="rejected" if hour % 7 == 0 else "expiry")
        assert (outcome.state, outcome.error_class) == ("quarantined", "bad_credentials")
        node.wait(3600)
    assert node.submissions() == 1


@pytest.mark.parametrize("path", ["two pages", "one page"])
@pytest.mark.parametrize("redirects", ["relative", "absolute"])
@pytest.mark.parametrize("code", ["no code", "code after resume", "code before resume"])
def test_a_login_follows_whatever_pages_are_shown(
    standins: StandIns, tmp_path: Path, path: str, redirects: str, code: str
) -> None:
    standins.switch(
        one_page=path == "one page",
        absolute_redirects=redirects == "absolute",
        mfa_before_resume=code == "code before resume",
    )
    node = Node(standins, tmp_path / "tokens", "alice" if code == "no code" else "bob")
    outcome = node.renew()
    assert (outcome.state, outcome.action, outcome.usable) == ("valid", "login", True)
    assert node.submissions() == 1


@dataclass(frozen=True, kw_only=True)
class Refresh:
    """What happens when a token is due: its refresh at the provider, and how the account gets its next token."""

    case: str
    action: str
    switches: dict[str, object] = field(default_factory=dict)
    revoked: bool = False
    logins: int = 1


REFRESHES = [
    Refresh(case="rotated", action="refresh"),
    Refresh(case="not rotated", action="refresh", switches={"rotate": False}),
    Refresh(case="refused with 403", action="login", revoked=True, logins=2),
    Refresh(case="refused with 400", action="login", revoked=True, logins=2, switches={"invalid_grant_status": 400}),
    Refresh(
        case="answer lost after the rotation",
        action="login",
        logins=2,
        switches={"refresh_answer": {"kind": "lost", "times": 1}},
    ),
]


@pytest.mark.parametrize("row", REFRESHES, ids=[row.case for row in REFRESHES])
def test_a_due_token_is_replaced_and_no_refresh_token_is_sent_twice(
    row: Refresh, standins: StandIns, tmp_path: Path
) -> None:
    node = Node(standins, tmp_path / "tokens", "alice")
    first = node.renew()
    standins.switch(**row.switches)
    if row.revoked:
        standins.control("/revoke", email=ALICE, kind="refresh")
    node.wait((first.next_renewal or 0) - node.now() + 1)
    outcome = node.renew()
    assert (outcome.action, outcome.state, outcome.usable) == (row.action, "valid", True)
    assert outcome.token_fingerprint != first.token_fingerprint
    assert (node.submissions(), standins.count(ALICE, "reuse_detections")) == (row.logins, 0)
    node.end_of_trouble()
    node.wait((outcome.next_renewal or 0) - node.now() + 1)
    assert node.renew().action == "refresh"
