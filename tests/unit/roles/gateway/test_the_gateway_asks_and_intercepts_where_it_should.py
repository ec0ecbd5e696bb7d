# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway's configuration with and without a bound on the requests of an account, as its template writes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

ROLE = Path(__file__).resolve().parents[4] / "roles/gateway"
LANES = {
    "alice": {"address": "127.64.0.1", "ports": {"a": 8081, "b": 8082}},
    "bob": {"address": "127.64.0.2", "ports": {"a": 8081, "b": 8082}},
}
ENTRIES = ("/v1/", "@closing")


def render(bound: int, lanes: dict[str, Any] | None = None) -> str:
    """Return the configuration."""
    documents = [yaml.safe_load((ROLE / name).read_text()) for name in ("defaults/main.yml", "vars/main.yml")]
    settings: dict[str, Any] = documents[0] | documents[1]
    settings |= {"gateway_tls": True, "gateway_require_api_key": True, "gateway_listen": "0.0.0.0:8443"}
    settings |= {"gateway_lanes": LANES if lanes is None else lanes, "gateway_requests_per_account": bound}
    # As Ansible's template module reads it.
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
    template = environment.from_string((ROLE / "templates/nginx.conf.j2").read_text())
    return template.render(**settings, ansible_managed="managed")


def location(text: str, name: str) -> str:
    """Return the body of a location."""
    [body] = re.findall(rf"^    location {re.escape(name)} {{\n(.*?)^    }}$", text, re.DOTALL | re.MULTILINE)
    return str(body)


def upstream(text: str, name: str) -> str:
    """Return the body of an upstream block."""
    [body] = re.findall(rf"^  upstream {name} {{\n(.*?)^  }}$", text, re.DOTALL | re.MULTILINE)
    return str(body)


def intercepted(body: str) -> set[str]:
    """Return the statuses that a location hands to the agent."""
    assert "proxy_intercept_errors on;" in body
    [codes] = re.findall(r"error_page ([0-9 ]+) = @recover;", body)
    return set(codes.split())


@pytest.mark.parametrize("bound", [0, 3])
def test_whoever_speaks_to_a_lane_hands_the_same_failures_to_the_agent_and_no_others(bound: int) -> None:
    text = render(bound)
    names = ("@retry", "@unasked") if bound else ("@retry", *ENTRIES)
    for name in names:
        assert intercepted(location(text, name)) == {"401", "429", "500", "502"}, name


@pytest.mark.parametrize("entry", ENTRIES)
def test_without_a_bound_no_request_asks_before_its_first_try(entry: str) -> None:
    body = location(render(0), entry)
    assert "proxy_pass http://lanes;" in body
    assert "http://agent" not in body


@pytest.mark.parametrize("entry", ENTRIES)
def test_with_a_bound_every_request_asks_first_and_goes_without_only_where_nobody_answers(entry: str) -> None:
    text = render(3)
    body = location(text, entry)
    assert "proxy_pass http://agent;" in body
    assert "http://lanes" not in body
    assert "error_page 502 504 = @unasked;" in body
    assert "error_page 502 504 = @no_agent;" in location(text, "@recover")


@pytest.mark.parametrize("entry", [*ENTRIES, "@recover"])
def test_no_question_carries_a_clients_body_or_headers(entry: str) -> None:
    body = location(render(3), entry)
    assert "proxy_pass_request_body off;" in body
    assert "proxy_pass_request_headers off;" in body


@pytest.mark.parametrize(("bound", "half"), [(1, 1), (2, 1), (3, 2), (8, 4)])
def test_without_the_agent_each_replica_answers_half_of_the_bound_rounded_up(bound: int, half: int) -> None:
    servers = re.findall(r"server .*", upstream(render(bound), "lanes"))
    assert len(servers) == 4
    assert all(f" max_conns={half};" in server for server in servers)
    assert "max_conns" not in render(0)


@pytest.mark.parametrize("name", ["lanes", "lane_alice", "lane_bob"])
def test_with_a_bound_no_connection_to_a_lane_idles_so_that_each_is_a_request(name: str) -> None:
    assert "keepalive" not in upstream(render(3), name)
    assert "keepalive" in upstream(render(0), name)


@pytest.mark.parametrize("bound", [0, 3])
def test_the_agent_is_told_of_every_request_that_reached_a_lane(bound: int) -> None:
    text = render(bound)
    assert """log_format ended '$request_id "$upstream_addr" "$upstream_status"';""" in text
    assert "access_log syslog:server=unix:/run/dcta/log.sock,nohostname ended if=$upstream_addr;" in text


@pytest.mark.parametrize("bound", [0, 3])
def test_a_413_of_the_program_behind_a_named_lane_is_no_limit_of_the_gateway(bound: int) -> None:
    text = render(bound)
    assert "413" not in location(text, "@retry")
    assert all("error_page 413 /__error/413;" in location(text, entry) for entry in ENTRIES)


def test_a_node_without_lanes_asks_nobody() -> None:
    text = render(3, {})
    assert "http://agent" not in text
    assert "log.sock" not in text
    assert text.count("{") == text.count("}")
