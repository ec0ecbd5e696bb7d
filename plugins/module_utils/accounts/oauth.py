# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The token requests of OAuth 2.0: code, refresh, revocation; PKCE; and a look into a JWT."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import re
from dataclasses import dataclass, field
from typing import Any

from .errors import ACCOUNT_ERRORS, AccountError, InvalidGrant, ProviderError
from .provider import Provider, error_of
from .transport import Client, Form, Response, json_object, refusal


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """A good answer of the token endpoint.

    Attributes:
        access_token: for the service.
        refresh_token: for the next renewal; None when the answer held none.
        issued_at: the node's time when the request was sent, in seconds since the epoch.
        expires_at: on the node's clock, from ``expires_in``, else from the JWT; None if neither says.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    issued_at: float
    expires_at: float | None


@dataclass(frozen=True, kw_only=True)
class Pkce:
    """Verifier and S256 challenge (RFC 7636 section 4)."""

    verifier: str = field(repr=False)
    challenge: str

    @classmethod
    def fresh(cls, rng: random.Random) -> Pkce:
        """Make a new pair; one per login.

        Args:
            rng: source of randomness; `random.SystemRandom` outside of tests.
        """
        verifier = base64url(rng.randbytes(32))
        return cls(verifier=verifier, challenge=base64url(hashlib.sha256(verifier.encode("ascii")).digest()))


def base64url(data: bytes) -> str:
    """Encode without padding (RFC 7636 appendix A)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def jwt_expiry(token: str) -> float | None:
    """Read ``exp`` of a JWT without verifying it: a hint, never a proof.

    Args:
        token: any access token.

    Returns:
        Seconds since the epoch (RFC 7519 section 4.1.4), or None if the token is no JWT or says nothing.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    payload = parts[1].rstrip("=")
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return None
    expiry = claims.get("exp") if isinstance(claims, dict) else None
    return _seconds(expiry)


def _seconds(value: Any) -> float | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def exchange_code(client: Client, provider: Provider, code: str, pkce: Pkce) -> Tokens:
    """Turn an authorization code into tokens (RFC 6749 section 4.1.3, RFC 7636 section 4.5).

    Args:
        client: the way to the provider.
        provider: its token endpoint and client.
        code: from the callback.
        pkce: the pair of this login.

    Returns:
        The tokens.

    Raises:
        AccountError: the provider refused, or could not be reached.
    """
    try:
        return _ask(
            client,
            provider,
            [
                ("grant_type", "authorization_code"),
                ("client_id", provider.client_id),
                ("code", code),
                ("code_verifier", pkce.verifier),
                ("redirect_uri", provider.redirect_uri),
            ],
        )
    except InvalidGrant:
        raise ProviderError("The token endpoint rejected the code of a finished login.") from None


def refresh(client: Client, provider: Provider, refresh_token: str) -> Tokens:
    """Renew with a refresh token (RFC 6749 section 6).

    Args:
        client: the way to the provider.
        provider: its token endpoint and client.
        refresh_token: the one that was issued last.

    Returns:
        The tokens; ``refresh_token`` is None if the provider did not rotate it.

    Raises:
        InvalidGrant: the provider no longer knows the refresh token, whatever the status of its answer.
        AccountError: the provider refused otherwise, or could not be reached.
    """
    return _ask(
        client,
        provider,
        [("grant_type", "refresh_token"), ("client_id", provider.client_id), ("refresh_token", refresh_token)],
    )


def revoke(client: Client, provider: Provider, refresh_token: str) -> None:
    """Revoke a refresh token (RFC 7009 section 2.1); an unknown one is no error there.

    Args:
        client: the way to the provider.
        provider: its revocation endpoint and client.
        refresh_token: the token to forget.

    Raises:
        ProviderError: the provider has no revocation endpoint or refused.
        AccountError: it could not be reached, or asked to wait.
    """
    if not provider.revocation_endpoint:
        raise ProviderError(
            "The provider has no revocation endpoint.", cure="Nothing to do: the token runs out by itself."
        )
    fields: Form = [
        ("client_id", provider.client_id),
        ("token", refresh_token),
        ("token_type_hint", "refresh_token"),
    ]
    response = client.send("POST", provider.revocation_endpoint, fields)
    if response.status_code != 200:
        raise refusal(response, client.clock(), "The revocation endpoint") or ProviderError(
            f"The revocation endpoint answered {response.status_code}.",
            cure="Nothing to do: the token runs out by itself.",
        )


def _ask(client: Client, provider: Provider, fields: Form) -> Tokens:
    sent_at = client.clock()
    response = client.send("POST", provider.token_endpoint, fields)
    answer = json_object(response)
    if response.status_code != 200:
        raise _token_error(client, provider, response, answer)
    access_token, refresh_token = answer.get("access_token"), answer.get("refresh_token")
    if not isinstance(access_token, str) or not access_token:
        raise ProviderError("The token endpoint answered 200 without an access token.")
    lifetime = _seconds(answer.get("expires_in"))
    expires_at = sent_at + lifetime if lifetime is not None else jwt_expiry(access_token)
    if expires_at is not None and expires_at <= sent_at:
        raise ProviderError(
            "The token endpoint issued a token that has already expired.", cure="Check the node's clock."
        )
    return Tokens(
        access_token=access_token,
        refresh_token=refresh_token if isinstance(refresh_token, str) and refresh_token else None,
        issued_at=sent_at,
        expires_at=expires_at,
    )


def _token_error(client: Client, provider: Provider, response: Response, answer: dict[str, Any]) -> AccountError:
    code = answer.get("error")
    if code == "invalid_grant":
        return InvalidGrant()
    # With a JSON error a 403 comes from the server itself and says nothing about the network address.
    if not (isinstance(code, str) and response.status_code == 403):
        error = refusal(response, client.clock(), "The token endpoint")
        if error is not None:
            return error
    if not isinstance(code, str):
        return ProviderError(f"The token endpoint answered {response.status_code} without an OAuth error.")
    sentence = f"The token endpoint answered {response.status_code}"
    if re.fullmatch(r"[A-Za-z0-9_\-]{1,40}", code):
        sentence += f" with the error {code}"
    return ACCOUNT_ERRORS[error_of(provider, code) or "provider_error"](f"{sentence}.")
