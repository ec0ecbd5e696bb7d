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
from .json_values import finite
from .provider import Provider, error_of
from .transport import JSON, Client, Form, Response, json_object, refusal

REFRESH_TOKEN_LONGEST = 32768
"""Characters of a refresh token that is kept; real ones have some hundred."""

LIFETIME_LONGEST = 10 * 366 * 86400.0
"""Seconds: a token that claims to live longer than ten years says nothing about its end."""

CLOCK_TOLERANCE = 30.0
"""Seconds by which the provider's clock may differ before times on it are converted."""

OAUTH_CODE = re.compile(r"[a-z][a-z0-9_\-]{0,63}")
"""Form of an error code; what proxies put into a field of that name begins with a capital or holds blanks."""


@dataclass(frozen=True, kw_only=True)
class TokenAnswer:
    """What a token endpoint answered: what it delivered, and apart from that what is to be thought of it.

    Attributes:
        access_token: for the service; None when there is none that can be used.
        refresh_token: for the next renewal; None when the answer held none.
        issued_at: the node's time when the request was sent, in seconds since the epoch.
        expires_at: on the node's clock, from ``expires_in``, else from the JWT; None if neither says.
        error: why the answer is not a good one; None for a good one.
        definite: whether it tells for certain what became of the code or refresh token that was sent.
    """

    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    issued_at: float = 0.0
    expires_at: float | None = None
    error: AccountError | None = None
    definite: bool = True


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
    except (ValueError, RecursionError):
        return None
    expiry = claims.get("exp") if isinstance(claims, dict) else None
    return _seconds(expiry)


def _seconds(value: Any) -> float | None:
    """Return a number of seconds, whatever JSON or a careless provider makes of it; None for what is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 400:
        value = int(value)
    try:
        # Compared by Python as it is: JSON's integers may be too large for a float.
        return finite(value) if value is not None and abs(value) != math.inf else None
    except (ValueError, TypeError):
        return None


def exchange_code(client: Client, provider: Provider, code: str, pkce: Pkce) -> TokenAnswer:
    """Turn an authorization code into tokens (RFC 6749 section 4.1.3, RFC 7636 section 4.5).

    Args:
        client: the way to the provider.
        provider: its token endpoint and client.
        code: from the callback.
        pkce: the pair of this login.

    Returns:
        What the provider delivered; never an answer with an error and without any token.

    Raises:
        AccountError: the provider refused, or could not be reached.
    """
    answer = _ask(
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
    if answer.error is not None and answer.access_token is None and answer.refresh_token is None:
        if isinstance(answer.error, InvalidGrant):
            raise ProviderError("The token endpoint rejected the code of a finished login.")
        raise answer.error
    return answer


def refresh(client: Client, provider: Provider, refresh_token: str) -> TokenAnswer:
    """Renew with a refresh token (RFC 6749 section 6).

    Args:
        client: the way to the provider.
        provider: its token endpoint and client.
        refresh_token: the one that was issued last.

    Returns:
        What the provider delivered; ``refresh_token`` is None if it did not rotate the one that was sent. The error is
        an `InvalidGrant` when it no longer knows that one, whatever the status of its answer.

    Raises:
        NetworkError: it could not be reached, or its answer did not arrive.
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


def _ask(client: Client, provider: Provider, fields: Form) -> TokenAnswer:
    sent_at = client.clock()
    response = client.send("POST", provider.token_endpoint, fields, accept=JSON, partial=True)
    answer = json_object(response)
    # What stands between may change the status (RFC 9110 section 15.3.4), and tokens are tokens whatever it is.
    if 200 <= response.status_code < 300 or _refresh_token(answer.get("refresh_token")) is not None:
        return _delivered(client, response, answer, sent_at)
    error = _token_error(client, provider, response, answer)
    return TokenAnswer(issued_at=sent_at, error=error, definite=_is_oauth_error(response, answer))


def _delivered(client: Client, response: Response, answer: dict[str, Any], sent_at: float) -> TokenAnswer:
    """Take whatever a 200 brought; of an answer that was cut, what arrived whole."""
    found = answer or _pieces(response.text)
    refresh_token = _refresh_token(found.get("refresh_token"))
    # One that is there and cannot be used tells that the provider has rotated.
    whole = bool(answer) and response.complete and (refresh_token is None) == (found.get("refresh_token") is None)
    access_token = _access_token(found.get("access_token"))
    expires_at = _expiry(found.get("expires_in"), access_token, sent_at, client.skew)
    error: AccountError | None = None
    if access_token is None:
        said = "without an access token" if whole else "with something that is no token answer"
        error = ProviderError(f"The token endpoint answered {response.status_code} {said}.")
    elif expires_at is not None and expires_at <= sent_at:
        error = ProviderError(
            "The token endpoint issued a token that has already expired.", cure="Check the node's clock."
        )
    return TokenAnswer(
        access_token=access_token if error is None else None,
        refresh_token=refresh_token,
        issued_at=sent_at,
        expires_at=expires_at if error is None else None,
        error=error,
        # Without an access token nobody can tell whether the provider kept the refresh token that was sent.
        definite=whole and access_token is not None,
    )


def _pieces(text: str) -> dict[str, Any]:
    """Return the members of a JSON object that was cut, as far as they are whole (RFC 8259 section 7)."""
    found: dict[str, Any] = {}
    for name in ("access_token", "refresh_token"):
        match = re.search(rf'"{name}"\s*:\s*("(?:[^"\\\x00-\x1f]|\\.)*")', text)
        if match is not None:
            try:
                found[name] = json.loads(match[1])
            except ValueError:
                continue
    match = re.search(r'"expires_in"\s*:\s*"?(\d{1,12})"?\s*[,}]', text)
    return found | ({"expires_in": int(match[1])} if match is not None else {})


def _access_token(value: Any) -> str | None:
    # RFC 6749 appendix A.12; blanks could not be sent in a header.
    usable = isinstance(value, str) and re.fullmatch(r"[\x21-\x7e]{1,32768}", value)
    return value if usable else None


def _refresh_token(value: Any) -> str | None:
    # RFC 6749 appendix A.17 knows printable ASCII only; whatever else can be sent back is kept all the same.
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 256:
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= REFRESH_TOKEN_LONGEST:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def believable_expiry(access_token: str, now: float) -> float | None:
    """Return when a token that was supplied by hand ends; None when it says nothing believable.

    Args:
        access_token: any access token.
        now: seconds since the epoch.
    """
    return _expiry(None, access_token, now, None)


def _expiry(lifetime: Any, access_token: str | None, sent_at: float, skew: float | None) -> float | None:
    """Return when a token ends on the node's clock; None when nothing believable is said."""
    seconds = _seconds(lifetime)
    if seconds is not None:
        return sent_at + seconds if seconds <= LIFETIME_LONGEST else None
    expiry = None if access_token is None else jwt_expiry(access_token)
    if expiry is None:
        return None
    if skew is not None and abs(skew) > CLOCK_TOLERANCE:
        expiry -= skew
    # Some issuers count in milliseconds.
    return expiry if expiry - sent_at <= LIFETIME_LONGEST else None


def _is_oauth_error(response: Response, answer: dict[str, Any]) -> bool:
    """Tell whether the authorization server itself refused (RFC 6749 section 5.2), not something in front of it."""
    code = answer.get("error")
    return 400 <= response.status_code < 500 and isinstance(code, str) and bool(OAUTH_CODE.fullmatch(code))


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
