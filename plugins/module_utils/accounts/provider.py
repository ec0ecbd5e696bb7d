# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The identity provider, as data.

Whatever differs between providers is a value here; no module of the library knows a provider's addresses or the order
of its pages. The defaults describe the provider of the ChatGPT applications, with the public client of the iOS
application.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import SplitResult, urlsplit

from .errors import ACCOUNT_ERRORS, ConfigurationError, ProviderError, UnknownPage
from .transport import Client, json_object, refusal

DEFAULT_ERROR_CODES: dict[str, str] = {
    # The authorization server's own codes (RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6).
    "access_denied": "account_blocked",
    "consent_required": "consent_required",
    "interaction_required": "consent_required",
    "account_selection_required": "unknown_page",
    "login_required": "provider_error",
    "server_error": "provider_error",
    "temporarily_unavailable": "provider_error",
    "invalid_request": "provider_error",
    "invalid_scope": "provider_error",
    "unauthorized_client": "provider_error",
    "unsupported_response_type": "provider_error",
    # Codes on the pages of Auth0.
    "wrong-credentials": "bad_credentials",
    "wrong-email-credentials": "bad_credentials",
    "wrong-username-credentials": "bad_credentials",
    "wrong-phone-credentials": "bad_credentials",
    "wrong-email-username-credentials": "bad_credentials",
    "wrong-email-phone-credentials": "bad_credentials",
    "wrong-phone-username-credentials": "bad_credentials",
    "wrong-email-phone-username-credentials": "bad_credentials",
    "invalid-email-format": "bad_credentials",
    "no-email": "unknown_page",
    "no-username": "unknown_page",
    "no-password": "unknown_page",
    "user-blocked": "account_blocked",
    "too_many_attempts": "account_blocked",
    "password-breached": "account_blocked",
    "ip-blocked": "ip_blocked",
    "same-user-login": "rate_limited",
    "invalid-captcha": "captcha_required",
    "invalid-recaptcha": "captcha_required",
    "captcha-validation-failure": "captcha_required",
    "captcha-client-failure": "captcha_required",
    "requires_verification": "captcha_required",
    "mfa_required": "mfa_required",
    "invalid-code": "mfa_invalid",
    "invalid-expired-code": "mfa_invalid",
    "invalid-connection": "provider_error",
    "no-db-connection": "provider_error",
    "authentication-failure": "provider_error",
    "auth0-users-validation": "provider_error",
    "custom-script-error-code": "provider_error",
}

DEFAULT_STEP_ERRORS: dict[str, str] = {
    "identifier": "bad_credentials",
    "password": "bad_credentials",
    "code": "mfa_invalid",
}

DEFAULT_PAGE_ERRORS: dict[str, str] = {
    "mfa-sms": "mfa_required",
    "mfa-phone": "mfa_required",
    "mfa-voice": "mfa_required",
    "mfa-email": "mfa_required",
    "mfa-push": "mfa_required",
    "mfa-webauthn": "mfa_required",
    "mfa-recovery-code": "mfa_required",
    "mfa-login-options": "mfa_required",
    "mfa-detect-browser": "mfa_required",
    "-enrollment": "mfa_required",
    "passkey": "unknown_page",
    "email-verification": "account_blocked",
    "reset-password": "account_blocked",
    "consent": "consent_required",
}


def _origin(parts: SplitResult) -> str:
    port = parts.port
    default = {"https": 443, "http": 80}.get(parts.scheme)
    host = (parts.hostname or "").lower()
    return host if port is None or port == default else f"{host}:{port}"


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Everything that the login must know of an identity provider.

    Endpoints carry their names from RFC 8414. With ``issuer`` set and an endpoint left empty, the metadata document
    fills the empty ones in.

    Attributes:
        issuer: issuer identifier; also compared with ``iss`` of the callback (RFC 9207).
        authorization_endpoint: where a login begins.
        token_endpoint: where codes and refresh tokens are exchanged.
        revocation_endpoint: where tokens are revoked (RFC 7009); empty if there is none.
        client_id: public client identifier.
        audience: Auth0's ``audience`` parameter; empty to leave it out.
        scope: blank-separated scopes; must hold ``offline_access`` to get a refresh token.
        redirect_uri: where the provider sends the code; nobody listens there.
        prompt: ``prompt`` parameter, such as ``login`` or ``login consent``; empty to leave it out.
        authorization_parameters: further parameters of the authorization request.
        identifier_fields: names of form fields that want the e-mail.
        password_fields: names of form fields that want the password (besides all of type password).
        code_fields: names of form fields that want the one-time code.
        captcha_fields: names of form fields whose presence means a captcha.
        error_code_attribute: HTML attribute in which pages show their error code.
        error_codes: error code to error class; given entries are added to the default ones.
        step_errors: class of a rejected step (identifier, password, code) whose page shows no known code.
        page_errors: part of a page's path to error class, for pages that no form driver should fill in.
        allowed_hosts: hosts besides those of the endpoints to which a login may be sent (``host`` or ``host:port``).
        rotation_leeway: seconds in which the provider accepts a rotated refresh token again; 0 if it never does.
    """

    issuer: str = ""
    authorization_endpoint: str = "https://auth0.openai.com/authorize"
    token_endpoint: str = "https://auth0.openai.com/oauth/token"  # noqa: S105 - an address, not a token
    revocation_endpoint: str = "https://auth0.openai.com/oauth/revoke"
    client_id: str = "pdlLIX2Y72MIl2rhLhTE9VV9bN905kBh"
    audience: str = "https://api.openai.com/v1"
    scope: str = "openid email profile offline_access model.request model.read organization.read"
    redirect_uri: str = "com.openai.chat://auth0.openai.com/ios/com.openai.chat/callback"
    prompt: str = "login"
    authorization_parameters: Mapping[str, str] = field(default_factory=dict)
    identifier_fields: tuple[str, ...] = ("username", "email", "identifier", "login", "user", "userid", "loginfmt")
    password_fields: tuple[str, ...] = ("password", "passwd")
    code_fields: tuple[str, ...] = ("code", "otp", "totp", "passcode", "one_time_code", "otc")
    captcha_fields: tuple[str, ...] = (
        "captcha",
        "g-recaptcha-response",
        "h-captcha-response",
        "cf-turnstile-response",
        "arkose",
    )
    error_code_attribute: str = "data-error-code"
    error_codes: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_ERROR_CODES))
    step_errors: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_STEP_ERRORS))
    page_errors: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_PAGE_ERRORS))
    allowed_hosts: tuple[str, ...] = ()
    rotation_leeway: float = 0.0

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> Provider:
        """Build a provider from an operator's settings.

        Args:
            settings: any of the attributes. With ``issuer`` and without endpoints, the default endpoints do not apply:
                discovery finds them.

        Returns:
            The provider, checked.

        Raises:
            ConfigurationError: an unknown name, a value of the wrong type, an unknown error class, or an unusable
                address.
        """
        known = {item.name: item for item in fields(cls)}
        values: dict[str, Any] = {}
        if settings.get("issuer"):
            values = {"authorization_endpoint": "", "token_endpoint": "", "revocation_endpoint": ""}
        default = cls()
        for name, value in settings.items():
            if name not in known:
                raise ConfigurationError(
                    f"The provider has no setting {name}.", cure=f"Settings are: {', '.join(sorted(known))}."
                )
            values[name] = _convert(name, value, getattr(default, name))
        provider = cls(**values)
        provider._check()
        return provider

    def _check(self) -> None:
        for name in ("issuer", "authorization_endpoint", "token_endpoint", "revocation_endpoint"):
            value = getattr(self, name)
            if value and not _is_web_address(value):
                raise ConfigurationError(f"The provider's {name} is not an https address.", cure=f"Correct {name}.")
        if not self.issuer and not (self.authorization_endpoint and self.token_endpoint):
            raise ConfigurationError(
                "The provider has no endpoints.", cure="Set issuer, or authorization_endpoint and token_endpoint."
            )
        if not self.client_id or not urlsplit(self.redirect_uri).scheme:
            raise ConfigurationError("The provider lacks client_id or redirect_uri.", cure="Set both.")
        for name in ("error_codes", "step_errors", "page_errors"):
            for key, error_class in getattr(self, name).items():
                if error_class not in ACCOUNT_ERRORS:
                    raise ConfigurationError(
                        f"The provider's {name} gives {key} an unknown class.",
                        cure=f"Classes are: {', '.join(ACCOUNT_ERRORS)}.",
                    )
        if self.rotation_leeway < 0:
            raise ConfigurationError("The provider's rotation_leeway is negative.", cure="Give seconds, 0 for none.")

    @property
    def discovered(self) -> bool:
        """Whether login and token endpoint are known."""
        return bool(self.authorization_endpoint and self.token_endpoint)

    def allows(self, url: str) -> bool:
        """Tell whether a login may go to an address.

        Args:
            url: absolute address.

        Returns:
            True for the scheme of the authorization endpoint and an allowed host.
        """
        try:
            parts = urlsplit(url)
            own = [urlsplit(item) for item in (self.authorization_endpoint, self.token_endpoint, self.issuer) if item]
            hosts = {_origin(item) for item in own} | {host.lower() for host in self.allowed_hosts}
            return parts.scheme == urlsplit(self.authorization_endpoint).scheme and _origin(parts) in hosts
        except ValueError:
            return False


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"})
        )
    except ValueError:
        return False


def _convert(name: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple):
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ConfigurationError(f"The provider's {name} is not a list of texts.", cure=f"Correct {name}.")
    if isinstance(default, dict):
        if isinstance(value, Mapping) and all(isinstance(item, str) for pair in value.items() for item in pair):
            return {**default, **value}
        raise ConfigurationError(f"The provider's {name} does not map texts to texts.", cure=f"Correct {name}.")
    if isinstance(default, float):
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ConfigurationError(f"The provider's {name} is not a number.", cure=f"Correct {name}.") from None
    if isinstance(value, str):
        return value
    raise ConfigurationError(f"The provider's {name} is not a text.", cure=f"Correct {name}.")


def metadata_addresses(issuer: str) -> tuple[str, str]:
    """Return where an issuer may publish its metadata.

    Args:
        issuer: issuer identifier.

    Returns:
        The addresses of OpenID Connect Discovery section 4 (suffix) and of RFC 8414 section 3 (inserted before the
        path).
    """
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    root = f"{parts.scheme}://{parts.netloc}"
    return (
        f"{root}{path}/.well-known/openid-configuration",
        f"{root}/.well-known/oauth-authorization-server{path}",
    )


def discover(client: Client, provider: Provider) -> Provider:
    """Fill in the endpoints that the operator left empty.

    Args:
        client: the way to the provider.
        provider: a provider with an issuer; one whose endpoints are known is returned as it is.

    Returns:
        The provider with its endpoints.

    Raises:
        ProviderError: there is no metadata document, it names another issuer, or it lacks an endpoint.
        AccountError: the provider refuses the request or cannot be reached.
    """
    if provider.discovered:
        return provider
    for address in metadata_addresses(provider.issuer):
        response = client.send("GET", address)
        if response.status_code == 200 and (document := json_object(response)):
            return _from_metadata(provider, document)
        if (error := refusal(response, client.clock(), "The provider's metadata document")) is not None:
            raise error
    raise ProviderError(
        "The provider publishes no metadata document.",
        cure="Set authorization_endpoint and token_endpoint of the provider.",
    )


def _from_metadata(provider: Provider, document: dict[str, Any]) -> Provider:
    if document.get("issuer") != provider.issuer:
        # RFC 8414 section 3.3: metadata of another issuer must not be used.
        raise ProviderError(
            "The provider's metadata document names another issuer.", cure="Correct the provider's issuer."
        )

    def endpoint(name: str, own: str) -> str:
        value = document.get(name)
        return value if not own and isinstance(value, str) and _is_web_address(value) else own

    complete = replace(
        provider,
        authorization_endpoint=endpoint("authorization_endpoint", provider.authorization_endpoint),
        token_endpoint=endpoint("token_endpoint", provider.token_endpoint),
        revocation_endpoint=endpoint("revocation_endpoint", provider.revocation_endpoint),
    )
    if not complete.discovered:
        raise ProviderError(
            "The provider's metadata document lacks an endpoint.",
            cure="Set authorization_endpoint and token_endpoint of the provider.",
        )
    return complete


def error_of(provider: Provider, code: str) -> str | None:
    """Return the error class of a provider's code, or None for an unknown one."""
    return provider.error_codes.get(code)


def unknown_host(url: str) -> UnknownPage:
    """Return the error for an address outside the allow-list, naming only its host."""
    try:
        host = re.sub(r"[^A-Za-z0-9.:\-]", "?", _origin(urlsplit(url)))
    except ValueError:
        host = "an unreadable address"
    return UnknownPage(
        f"The provider sends the login to {host}, which is not allowed.",
        cure="If that host belongs to the provider add it to allowed_hosts; else supply an access_token by hand.",
    )
