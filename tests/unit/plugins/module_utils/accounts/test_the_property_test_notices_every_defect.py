# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each defect that once cost an account is put back in, and the sequences of failures find it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import pytest
import simulated_provider
from ansible_collections.dcta.fleet.plugins.module_utils.accounts import (
    atomic_file,
    attempt,
    breaker,
    consequence,
    decide,
    entry,
    grant,
    oauth,
    record,
    store,
    transport,
)
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import NetworkError
from fuzz_renewals import run_sequences

SEQUENCES = 4000
Patch = pytest.MonkeyPatch


def _lost_counts_as_unsent(patch: Patch) -> None:
    patch.setattr(simulated_provider, "NetworkError", lambda sentence, **_sent: NetworkError(sentence))


def _a_later_answer_closes_an_earlier_send(patch: Patch) -> None:
    real = consequence.after_answer
    patch.setattr(
        attempt,
        "after_answer",
        lambda known, answer, sent: real(known, answer, None if sent is None else grant.Grant(token=sent.token)),
    )


def _a_front_ends_error_closes_a_send(patch: Patch) -> None:
    patch.setattr(oauth, "_is_oauth_error", lambda _response, _answer: True)


def _what_comes_with_an_error_is_dropped(patch: Patch) -> None:
    real = oauth._delivered

    def delivered(*arguments: Any) -> oauth.TokenAnswer:
        answer = real(*arguments)
        if answer.error is None:
            return answer
        return oauth.TokenAnswer(issued_at=answer.issued_at, error=answer.error, definite=answer.definite)

    patch.setattr(oauth, "_delivered", delivered)


def _what_was_cut_is_dropped(patch: Patch) -> None:
    patch.setattr(oauth, "_pieces", lambda _text: {})


def _bookkeeping_comes_before_storing(patch: Patch) -> None:
    real = attempt.Attempt._receive

    def receive(self: attempt.Attempt, answer: oauth.TokenAnswer, sent: grant.Grant | None) -> None:
        self._gate.learn("refresh", None)
        real(self, answer, sent)

    patch.setattr(attempt.Attempt, "_receive", receive)


def _two_files_share_a_draft(patch: Patch) -> None:
    def draft_of(path: str) -> str:
        pure = PurePath(path)
        return str(pure.with_name(f".{pure.name.removeprefix('.')}.tmp"))

    patch.setattr(atomic_file, "draft_of", draft_of)


def _what_is_written_is_not_read(patch: Patch) -> None:
    real = record.Record.from_json

    def read(name: str, document: Any) -> record.Record:
        if (document.get("expires_at") or 0) >= 1e11:
            raise ValueError("not a time")
        return real(name, document)

    def save(self: store.Store, known: record.Record, *, reserved: bool = False) -> record.Record:
        self._folder.write(f"{known.name}.json", json.dumps(known.to_json()), reserved=reserved)
        return known

    patch.setattr(oauth, "LIFETIME_LONGEST", 1e300)
    patch.setattr(oauth, "finite", float)
    patch.setattr(record.Record, "from_json", read)
    patch.setattr(store.Store, "save", save)


def _a_lost_salt_is_another_identity(patch: Patch) -> None:
    patch.setattr(entry, "_keyed_anew", lambda known, situation: (replace(known, salt=situation.salt.hex()), ()))
    patch.setattr(store.Store, "_salt_of_records", lambda _self: None)


def _the_breaker_does_not_see_the_clock_set_back(patch: Patch) -> None:
    patch.setattr(breaker.Breaker, "settled", lambda self, _now, _limits: self)


def _a_foreign_writer_is_followed_for_ever(patch: Patch) -> None:
    patch.setattr(attempt, "FOREIGN_GRANTS", 10**6)


def _the_token_endpoint_is_asked_for_html(patch: Patch) -> None:
    patch.setattr(oauth, "JSON", transport.HTML)
    patch.setattr(oauth, "_is_oauth_error", lambda response, _answer: 400 <= response.status_code < 500)


def _the_leeway_is_read_from_a_clock(patch: Patch) -> None:
    real = decide._renewal

    def renewal(known: record.Record, situation: Any) -> Any:
        sent_at = known.refresh_sent_at
        if sent_at is not None and situation.now - sent_at < simulated_provider.LEEWAY:
            return "refresh", known
        return real(known, situation)

    patch.setattr(decide, "_renewal", renewal)


def _a_token_is_dropped_before_its_successor_is_there(patch: Patch) -> None:
    real = decide._login_or_wait
    patch.setattr(decide, "_login_or_wait", lambda known, situation: real(known.with_grant(None), situation))


def _nothing_is_written_before_a_send(patch: Patch) -> None:
    patch.setattr(grant.Grant, "sending", lambda self, _now: self)


DEFECTS: dict[str, Callable[[Patch], None]] = {
    name.strip("_").replace("_", " "): defect
    for name, defect in list(globals().items())
    if name.startswith("_") and getattr(defect, "__module__", "") == __name__
}


@pytest.mark.slow
@pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS)
def test_a_defect_that_comes_back_is_found(defect: Callable[[Patch], None], monkeypatch: Patch) -> None:
    defect(monkeypatch)
    with pytest.raises(simulated_provider.Broken):
        run_sequences(SEQUENCES, seed=11, shortest=False)
