# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway's headers, in every form that nginx gives them."""

from __future__ import annotations

import pytest
from dcta_agent.question import Question

NOW = 1000.0
SOCKET = "unix:/run/dcta/agent.sock"


def ask(now: float = NOW, **headers: str) -> Question:
    return Question.from_headers({name.replace("_", "-"): value for name, value in headers.items()}, now)


@pytest.mark.parametrize(
    ("addresses", "statuses", "expected"),
    [
        ("127.64.0.1:8081", "401", (("127.64.0.1:8081",), 401, 1)),
        ("127.64.0.1:8081, 127.64.0.1:8082", "502, 401", (("127.64.0.1:8081", "127.64.0.1:8082"), 401, 1)),
        (f"127.64.0.1:8081 : {SOCKET} : 127.64.0.2:8082", "401 : 200 : 429", (("127.64.0.2:8082",), 429, 2)),
        (
            f"127.64.0.1:8081, 127.64.0.2:8081 : {SOCKET} : 127.64.0.3:8081, 127.64.0.3:8082",
            "502, 401 : 200 : 502, 502",
            (("127.64.0.3:8081", "127.64.0.3:8082"), 502, 2),
        ),
    ],
)
def test_the_last_pass_counts_whatever_separates_the_tries(
    addresses: str, statuses: str, expected: tuple[tuple[str, ...], int, int]
) -> None:
    question = ask(x_upstream_addr=addresses, x_upstream_status=statuses)
    assert (question.addresses, question.status, question.retry) == expected


def test_an_agent_that_died_in_between_is_one_turn_and_not_two() -> None:
    addresses = f"127.64.0.1:8081 : {SOCKET}, {SOCKET}, {SOCKET} : 127.64.0.2:8081"
    statuses = "401 : 502, 502, 200 : 401"
    question = ask(x_upstream_addr=addresses, x_upstream_status=statuses, x_upstream_time="0.1 : 1.0, 2.0, 3.0 : 0.25")
    assert (question.retry, question.addresses, question.tried_at) == (2, ("127.64.0.2:8081",), NOW - 0.25)


@pytest.mark.parametrize("value", ["", "-", "502, -", "200 : -"])
def test_what_nginx_does_not_know_is_a_lane_of_which_nobody_listened(value: str) -> None:
    question = ask(x_upstream_addr="lanes", x_upstream_status=value, x_upstream_header_time=value and "-")
    assert (question.status, question.answered, question.retry_after) == (502, False, None)


def test_a_question_without_any_header_is_still_a_question() -> None:
    question = ask()
    assert (question.addresses, question.status, question.retry, question.tried_at) == (("",), 502, 1, NOW)


def test_the_last_try_began_when_its_own_time_ago() -> None:
    assert ask(x_now="990.5", x_upstream_time="7.000 : 30.0 : 0.500").tried_at == 990.0


def test_a_question_asked_again_after_a_restart_keeps_the_time_of_its_first_asking() -> None:
    assert ask(now=NOW + 40, x_now="1000.0", x_upstream_time="1.0").tried_at == 999.0


def test_the_gateways_clock_is_never_ahead_of_the_agents() -> None:
    assert ask(x_now="5000.0", x_upstream_time="1.0").tried_at == NOW - 1


@pytest.mark.parametrize(("value", "answered"), [("0.000", True), ("1.5 : 0.1 : 0.2", True), ("0.1 : -", False)])
def test_only_a_header_that_came_makes_an_answer(value: str, answered: bool) -> None:
    assert ask(x_upstream_status="502", x_upstream_header_time=value).answered is answered


@pytest.mark.parametrize(
    ("value", "seconds"), [("30", 30.0), ("0", 0.0), ("-5", None), ("nan", None), ("1e999", None), ("Mon, 1 Jan", None)]
)
def test_only_a_sane_number_of_seconds_is_a_retry_after(value: str, seconds: float | None) -> None:
    assert ask(x_retry_after=value).retry_after == seconds
