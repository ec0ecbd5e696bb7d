# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that can go wrong, as one exception tree.

An error carries a sentence (what happened), a cure (what to do) and, where the provider named one, a time to wait.
Neither text holds a secret or an e-mail address. The class attribute ``consequence`` is the record state that the error
leads to.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Consequence = Literal["waiting", "quarantined", "needs_operator"]


class AccountsError(Exception):
    """Root of the tree.

    Args:
        sentence: what happened, one sentence; the class's own when empty.
        cure: what the operator can do about it; the class's own when empty.
        retry_after: seconds that the provider asked to wait, if it did.
    """

    error_class: ClassVar[str] = "error"
    default_sentence: ClassVar[str] = "The account could not be renewed."
    default_cure: ClassVar[str] = "Look at the sentence above."

    def __init__(self, sentence: str = "", *, cure: str = "", retry_after: float | None = None) -> None:
        self.sentence = sentence or self.default_sentence
        self.cure = cure or self.default_cure
        self.retry_after = retry_after
        super().__init__(self.sentence)


class ConfigurationError(AccountsError):
    """Arguments or a credentials file that cannot be used; the caller's mistake, not the account's."""

    error_class = "configuration"
    default_sentence = "The settings cannot be used."
    default_cure = "Correct the settings and run again."


class StoreError(AccountsError):
    """The token store cannot be read, written or locked."""

    error_class = "store_error"
    default_sentence = "The token store cannot be used."
    default_cure = "Check the folder's owner, its mode and the free disk space."


class StoreBusy(StoreError):
    """Another process works on the same account; nothing is wrong yet."""


class AccountError(AccountsError):
    """A failure of one account; what follows from it stands in ``consequence``."""

    consequence: ClassVar[Consequence] = "waiting"


class BadCredentials(AccountError):
    """The provider rejected the e-mail or the password."""

    error_class = "bad_credentials"
    consequence: ClassVar[Consequence] = "quarantined"
    default_sentence = "The provider rejected the e-mail or the password."
    default_cure = "Correct email and password of the account and run again; it is not tried before they change."


class MfaRequired(AccountError):
    """A second factor is demanded that cannot be given."""

    error_class = "mfa_required"
    consequence: ClassVar[Consequence] = "needs_operator"
    default_sentence = "The provider asks for a one-time code and the account has no totp_secret."
    default_cure = "Add totp_secret, or supply an access_token by hand."


class MfaInvalid(AccountError):
    """The one-time code was rejected twice, or the secret cannot produce one."""

    error_class = "mfa_invalid"
    consequence: ClassVar[Consequence] = "quarantined"
    default_sentence = "The provider rejected the one-time code twice."
    default_cure = "Correct totp_secret and check the node's clock; it is not tried before the credentials change."


class CaptchaRequired(AccountError):
    """The provider wants to see a person."""

    error_class = "captcha_required"
    consequence: ClassVar[Consequence] = "needs_operator"
    default_sentence = "The provider shows a captcha, which is never answered automatically."
    default_cure = "Log in with a browser and supply the access_token by hand."


class ConsentRequired(AccountError):
    """The provider asks the account's owner for an agreement."""

    error_class = "consent_required"
    consequence: ClassVar[Consequence] = "needs_operator"
    default_sentence = "The provider asks the owner of the account for consent."
    default_cure = "Give the consent once with a browser, then lift the account, or supply an access_token by hand."


class AccountBlocked(AccountError):
    """The account itself is closed, locked, or must be repaired by its owner."""

    error_class = "account_blocked"
    consequence: ClassVar[Consequence] = "needs_operator"
    default_sentence = "The provider has blocked the account."
    default_cure = (
        "Unblock the account with the provider (its e-mail names the way), then lift it or change its password."
    )


class RateLimited(AccountError):
    """Too many attempts; waiting is the only answer."""

    error_class = "rate_limited"
    default_sentence = "The provider asks for fewer attempts."
    default_cure = "Nothing to do: it is tried again by itself."


class IpBlocked(AccountError):
    """The address (not the account) is refused."""

    error_class = "ip_blocked"
    default_sentence = "The provider refuses this network address."
    default_cure = "Set another proxy for the account, or wait: it is tried again by itself."


class ProviderError(AccountError):
    """The provider failed, or answered outside its contract."""

    error_class = "provider_error"
    default_sentence = "The provider answered with an error."
    default_cure = "Nothing to do if it passes; else check the provider's settings."


class NetworkError(AccountError):
    """No answer, or only the beginning of one.

    Args:
        sentence: see `AccountsError`.
        cure: see `AccountsError`.
        sent: False only when no byte of the request was handed to an established way to the provider (TCP, the proxy's
            handshake and TLS done), so that it is safe to send it again; a failure after that is True, whatever failed.
    """

    error_class = "network_error"
    default_sentence = "The provider could not be reached."
    default_cure = "Check network, proxy and CA bundle of the node; it is tried again by itself."

    def __init__(self, sentence: str = "", *, cure: str = "", sent: bool = False) -> None:
        super().__init__(sentence, cure=cure)
        self.sent = sent


class UnknownPage(AccountError):
    """A page that the form driver does not understand."""

    error_class = "unknown_page"
    consequence: ClassVar[Consequence] = "needs_operator"
    default_sentence = "The provider shows a page that cannot be filled in automatically."
    default_cure = (
        "Look at the page with a browser, then supply an access_token by hand or correct the provider's settings."
    )


class TokenExpired(AccountError):
    """A token that was supplied by hand has run out."""

    error_class = "token_expired"
    consequence: ClassVar[Consequence] = "needs_operator"
    default_sentence = "The access token that was supplied by hand has expired."
    default_cure = "Supply a new access_token."


class TokenRejected(AccountError):
    """The service does not accept the account's tokens although they look valid."""

    error_class = "token_rejected"
    consequence: ClassVar[Consequence] = "quarantined"
    default_sentence = "The service rejects the account's new access tokens."
    default_cure = "Check the account with a browser, then lift it, change its credentials or supply an access_token."


class InvalidGrant(TokenRejected):
    """The token endpoint no longer knows the refresh token (RFC 6749 section 5.2, ``invalid_grant``)."""

    default_sentence = "The provider no longer accepts the refresh token."
    default_cure = "Supply a new refresh_token, an access_token, or email and password."


ACCOUNT_ERRORS: dict[str, type[AccountError]] = {
    cls.error_class: cls
    for cls in (
        BadCredentials,
        MfaRequired,
        MfaInvalid,
        CaptchaRequired,
        ConsentRequired,
        AccountBlocked,
        RateLimited,
        IpBlocked,
        ProviderError,
        NetworkError,
        UnknownPage,
        TokenExpired,
        TokenRejected,
    )
}
"""Every class by its name, as used in the provider's error-code map and in results."""
