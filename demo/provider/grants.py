# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts, codes and tokens: the state that identity provider and chat back end share. It lives in memory only."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import re
import secrets
import typing

from . import totp
from .config import Client, Config, Lifetimes, User
from .records import Records, fingerprint

VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class OAuthError(Exception):
    """A refusal in the terms of RFC 6749 section 5.2.

    Args:
        code: the ``error`` value.
        description: for people.
    """

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


@dataclasses.dataclass
class Family:
    """All tokens that stem from one login (RFC 9700 section 4.14.2)."""

    id: str
    email: str
    scope: str
    expires_at: float
    revoked: bool = False


@dataclasses.dataclass
class _AccessToken:
    email: str
    expires_at: float
    family: Family


@dataclasses.dataclass
class _RefreshToken:
    family: Family
    rotated_at: float | None = None


@dataclasses.dataclass
class _Code:
    email: str
    scope: str
    challenge: str
    redirect_uri: str
    expires_at: float
    family: Family | None = None


@dataclasses.dataclass(frozen=True)
class Issued:
    """What a grant brought; the refresh token is empty when none was issued."""

    email: str
    access_token: str
    expires_in: int
    scope: str
    refresh_token: str = ""
    id_token: str = ""

    def answer(self) -> dict[str, object]:
        """Return the JSON body of RFC 6749 section 5.1."""
        body: dict[str, object] = {
            "access_token": self.access_token,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "scope": self.scope,
        }
        optional = {"refresh_token": self.refresh_token, "id_token": self.id_token}
        return body | {name: value for name, value in optional.items() if value}


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def challenge_of(verifier: str) -> str:
    """Return the S256 code challenge of a verifier (RFC 7636 section 4.2)."""
    return _encode(hashlib.sha256(verifier.encode()).digest())


class Grants:
    """Everything that was granted and has not ended.

    Args:
        config: users, client, lifetimes and pre-issued tokens.
        records: where events are counted.
        clock: seconds since the epoch.
    """

    def __init__(self, config: Config, records: Records, clock: typing.Callable[[], float]) -> None:
        self._config = config
        self._records = records
        self._time = clock
        self._ahead = 0.0
        self.issuer = ""
        self._lifetimes = config.lifetimes
        self._account_lifetimes: dict[str, dict[str, float]] = {}
        self._users: dict[str, User] = {user.email: user for user in config.users}
        self.forget()

    def forget(self) -> None:
        """Forget codes, used one-time codes and tokens but the pre-issued ones, whose lifetime starts anew."""
        self._access: dict[str, _AccessToken] = {}
        self._refresh: dict[str, _RefreshToken] = {}
        self._codes: dict[str, _Code] = {}
        self._used_steps: dict[str, int] = {}
        for token in self._config.tokens:
            end = self.clock() + token.lifetime
            family = Family(secrets.token_hex(8), token.email, "", end)
            self._access[token.access_token] = _AccessToken(token.email, end, family)

    def clock(self) -> float:
        """Return the provider's time in seconds since the epoch."""
        return self._time() + self._ahead

    def set_clock(self, ahead: float) -> None:
        """Set the provider's clock so many seconds ahead of the host's."""
        self._ahead = ahead

    def restore_settings(self) -> None:
        """Return lifetimes and users to the configuration's, and the clock to the host's."""
        self._ahead = 0.0
        self._lifetimes = self._config.lifetimes
        self._account_lifetimes.clear()
        self._users = {user.email: user for user in self._config.users}

    @property
    def client(self) -> Client:
        """The registered client."""
        return self._config.client

    def lifetime(self, name: str, email: str = "") -> float:
        """Return a lifetime in seconds, the account's own if it has one."""
        own = self._account_lifetimes.get(email, {})
        return float(own.get(name, getattr(self._lifetimes, name)))

    def set_lifetimes(self, values: dict[str, object], email: str = "") -> None:
        """Change the lifetimes of tokens issued from now on.

        Args:
            values: seconds by the names of ``Lifetimes``.
            email: the account meant; empty means all.

        Raises:
            ValueError: unknown name or no duration; nothing is changed then.
        """
        known = {field.name for field in dataclasses.fields(Lifetimes)}
        checked: dict[str, float] = {}
        for name, value in values.items():
            if name not in known or type(value) not in (int, float):
                raise ValueError(f"Lifetimes are numbers of seconds, named {', '.join(sorted(known))}; not {name!r}.")
            checked[name] = float(typing.cast(float, value))
        if email:
            self._account_lifetimes.setdefault(email, {}).update(checked)
        else:
            self._lifetimes = dataclasses.replace(self._lifetimes, **checked)

    def set_user(self, user: User) -> None:
        """Add an account or change its password and TOTP secret."""
        self._users[user.email] = user

    def user(self, email: str) -> User | None:
        """Return an account by its e-mail address."""
        return self._users.get(email)

    def check_password(self, email: str, password: str) -> bool:
        """Tell whether a password is right; accounts without one have no right password."""
        user = self._users.get(email)
        if user is None or not user.password:
            return False
        return hmac.compare_digest(password.encode(), user.password.encode())

    def check_totp(self, email: str, candidate: str) -> bool:
        """Tell whether a one-time code is right and was not used before (RFC 6238 section 5.2)."""
        user = self._users.get(email)
        if user is None or not user.totp_secret:
            return False
        counter = totp.matching_counter(user.totp_secret, candidate, self.clock())
        if counter is None or counter <= self._used_steps.get(email, 0):
            return False
        self._used_steps[email] = counter
        return True

    def authorize(self, email: str, scope: str, challenge: str, redirect_uri: str) -> str:
        """End a login with a code that is good for one exchange."""
        code = secrets.token_urlsafe(32)
        self._codes[code] = _Code(email, scope, challenge, redirect_uri, self.clock() + self.lifetime("code", email))
        self._records.count("logins", email)
        return code

    def _jwt(self, audience: str | list[str], subject: str, end: float, **claims: object) -> str:
        header = {"alg": "RS256", "typ": "JWT", "kid": "stand-in"}
        payload = {
            "iss": self.issuer,
            "sub": f"auth0|{hashlib.sha256(subject.encode()).hexdigest()[:24]}",
            "aud": audience,
            "iat": int(self.clock()),
            "exp": int(end),
            "azp": self.client.id,
            "jti": secrets.token_hex(8),
            **claims,
        }
        parts = (json.dumps(part, separators=(",", ":")).encode() for part in (header, payload))
        return ".".join([*(_encode(part) for part in parts), _encode(secrets.token_bytes(256))])

    def _issue(self, family: Family, *, refresh: bool, lifetime: float | None = None) -> Issued:
        seconds = self.lifetime("access_token", family.email) if lifetime is None else lifetime
        end = self.clock() + seconds
        access_token = self._jwt([self.client.audience], family.email, end, scope=family.scope)
        self._access[access_token] = _AccessToken(family.email, end, family)
        refresh_token = ""
        if refresh:
            refresh_token = secrets.token_urlsafe(33)
            self._refresh[refresh_token] = _RefreshToken(family)
        id_token = self._jwt(self.client.id, family.email, end) if "openid" in family.scope.split() else ""
        return Issued(family.email, access_token, int(seconds), family.scope, refresh_token, id_token)

    def new_family(self, email: str, scope: str) -> Family:
        """Start the family of tokens of one login."""
        return Family(secrets.token_hex(8), email, scope, self.clock() + self.lifetime("refresh_token", email))

    def issue(self, email: str, *, refresh: bool, lifetime: float | None = None) -> Issued:
        """Issue tokens without a login, as a person would copy them from a browser.

        Args:
            email: the account; it need not be configured.
            refresh: whether a refresh token comes with it.
            lifetime: seconds the access token lives; None means the configured lifetime.

        Returns:
            The tokens.
        """
        return self._issue(
            self.new_family(email, "offline_access" if refresh else ""), refresh=refresh, lifetime=lifetime
        )

    def peek_code(self, code: str) -> str:
        """Return the account that a code is for, empty when unknown."""
        known = self._codes.get(code)
        return known.email if known else ""

    def peek_refresh(self, token: str) -> str:
        """Return the account that a refresh token is for, empty when unknown."""
        known = self._refresh.get(token)
        return known.family.email if known else ""

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> Issued:
        """Trade a code for tokens (RFC 6749 section 4.1.3, RFC 7636 section 4.6).

        Args:
            code: the authorization code.
            verifier: the PKCE verifier.
            redirect_uri: as in the authorization request.

        Returns:
            The tokens; a refresh token only when ``offline_access`` was granted.

        Raises:
            OAuthError: ``invalid_grant``; a second use also revokes what the first one brought.
        """
        known = self._codes.get(code)
        if known is None or known.expires_at <= self.clock():
            raise OAuthError("invalid_grant", "Invalid authorization code")
        if known.family is not None:
            known.family.revoked = True
            raise OAuthError("invalid_grant", "The authorization code was used before")
        known.family = family = self.new_family(known.email, known.scope)
        if redirect_uri != known.redirect_uri:
            raise OAuthError("invalid_grant", "The redirect URI differs from the authorization request")
        if not VERIFIER.fullmatch(verifier) or not hmac.compare_digest(challenge_of(verifier), known.challenge):
            raise OAuthError("invalid_grant", "The code verifier does not fit the challenge")
        self._records.count("code_exchanges", known.email, family=family.id)
        return self._issue(family, refresh="offline_access" in known.scope.split())

    def refresh(self, token: str, *, rotate: bool) -> Issued:
        """Trade a refresh token for a new access token (RFC 6749 section 6).

        Args:
            token: the refresh token.
            rotate: whether a new refresh token replaces it.

        Returns:
            The tokens.

        Raises:
            OAuthError: ``invalid_grant``; using a rotated token after the leeway revokes its family.
        """
        known = self._refresh.get(token)
        now = self.clock()
        if known is None:
            self._records.count("refresh_failures", "unknown", token=fingerprint(token))
            raise OAuthError("invalid_grant", "Unknown or invalid refresh token.")
        family = known.family
        leeway = self.lifetime("rotation_leeway", family.email)
        if known.rotated_at is not None and now - known.rotated_at > leeway and not family.revoked:
            family.revoked = True
            self._records.count("reuse_detections", family.email, family=family.id)
        if family.revoked or family.expires_at <= now:
            self._records.count("refresh_failures", family.email, family=family.id)
            raise OAuthError("invalid_grant", "Unknown or invalid refresh token.")
        if rotate and known.rotated_at is None:
            known.rotated_at = now
        self._records.count("refreshes", family.email, family=family.id)
        return self._issue(family, refresh=rotate)

    def revoke_token(self, token: str) -> None:
        """Revoke a token and all that came with it (RFC 7009 section 2.1); an unknown one is no error."""
        refresh = self._refresh.get(token)
        access = self._access.get(token)
        family = refresh.family if refresh else access.family if access else None
        if family is not None:
            family.revoked = True
            self._records.count("revocations", family.email, family=family.id)

    def revoke_account(self, email: str, kind: str) -> int:
        """End tokens of an account from the provider's side.

        Args:
            email: the account; empty means all.
            kind: ``access``, ``refresh`` or ``everything``.

        Returns:
            How many access tokens and refresh tokens ended.
        """
        ended = 0
        if kind in ("access", "everything"):
            gone = [token for token, known in self._access.items() if not email or known.email == email]
            ended += len(gone)
            for token in gone:
                del self._access[token]
        if kind in ("refresh", "everything"):
            lost = [token for token, known in self._refresh.items() if not email or known.family.email == email]
            ended += len(lost)
            for token in lost:
                del self._refresh[token]
        self._records.event("revoked_by_control", email, kind=kind, tokens=ended)
        return ended

    def account_of(self, access_token: str) -> str:
        """Return the account of an access token that is good now, else an empty text."""
        known = self._access.get(access_token)
        if known is None or known.family.revoked or known.expires_at <= self.clock():
            return ""
        return known.email

    def last_owner(self, access_token: str) -> str:
        """Return the account an access token was issued to, whether or not it is still good."""
        known = self._access.get(access_token)
        return known.email if known else "unknown"
