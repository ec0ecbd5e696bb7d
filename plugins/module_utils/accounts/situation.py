# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything besides the record that a decision on an account depends on."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from dataclasses import dataclass

from .credentials import Credentials, Kind
from .limits import Limits
from .provider import Provider
from .record import Record


@dataclass(frozen=True, kw_only=True)
class Situation:
    """An account at one moment.

    Attributes:
        credentials: the account as the operator wrote it.
        provider: the identity provider as the operator wrote it; None where nobody said.
        salt: the node's salt; empty before it was made.
        now: seconds since the epoch.
        limits: the policy.
    """

    credentials: Credentials
    provider: Provider | None
    salt: bytes
    now: float
    limits: Limits

    @property
    def kind(self) -> Kind:
        """How the account gets tokens."""
        return self.credentials.kind

    @property
    def settings(self) -> str | None:
        """Salted fingerprint of what the operator set of the provider; defaults may change with the collection."""
        if self.provider is None:
            return None
        built_in = Provider()
        names = [item.name for item in dataclasses.fields(Provider)]
        values = {name: getattr(self.provider, name) for name in names}
        given = {name: value for name, value in values.items() if value != getattr(built_in, name)}
        document = json.dumps(given, sort_keys=True, default=dict)
        return hmac.new(self.salt, document.encode(), hashlib.sha256).hexdigest()[:32]

    @property
    def egress(self) -> str:
        """Salted fingerprint of the way by which the account leaves."""
        return hmac.new(self.salt, f"egress {self.credentials.proxy or ''}".encode(), hashlib.sha256).hexdigest()[:16]

    def can_log_in(self, record: Record) -> bool:
        """Tell whether there is a password that was not rejected already.

        Args:
            record: the account's record.
        """
        return self.kind == "password" and self.credentials.login_fingerprint(self.salt) != record.rejected_login
