# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The identity provider, as data.

Whatever differs between providers is a value here; no module of the library knows a provider's addresses or the order
of its pages. The defaults describe the provider of the ChatGPT applications, with the public client of the iOS
application.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import urlsplit

from . import web_address
from .discovery import discover, metadata_addresses
from .errors import ACCOUNT_ERRORS, ConfigurationError, UnknownPage
from .provider_defaults import DEFAULT_ERROR_CODES, DEFAULT_PAGE_ERRORS, DEFAULT_STEP_ERRORS
from .web_address import UnusableAddressError, WebAddress

__all__ = ["Provider", "discover", "error_of", "metadata_addresses", "unknown_host"]

_CLASS_MAPS = ("error_codes", "step_errors", "page_errors")


_PLACES = ("issuer", "authorization_endpoint", "token_endpoint", "revocation_endpoint")
_OF_ONE_PROVIDER = (*_PLACES, "client_id", "audience", "scope", "redirect_uri")


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
        optional_fields: names of form fields that nothing fills in and that may be sent as they are.
        error_code_attribute: HTML attribute in which pages show their error code.
        error_codes: error code to error class. Given entries are added to the default ones; one with an empty value, or
            with none, takes the default away. The same holds for the next two.
        step_errors: class of a rejected step (identifier, password, code) whose page shows no code.
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
    optional_fields: tuple[str, ...] = ()
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
            settings: any of the attributes. One that names an issuer or an endpoint describes another provider: it has
                to be complete, and nothing of the built-in one is inherited but what any page may show.

        Returns:
            The provider, checked.

        Raises:
            ConfigurationError: an unknown name, a value of the wrong type, an unknown error class, or an unusable
                address.
        """
        known = {item.name: item for item in fields(cls)}
        values: dict[str, Any] = {}
        if any(settings.get(name) for name in _PLACES):
            values = dict.fromkeys(_OF_ONE_PROVIDER, "")
        default = cls()
        for name, value in settings.items():
            if name not in known:
                raise ConfigurationError(
                    f"The provider has no setting {name}.", cure=f"Settings are: {', '.join(sorted(known))}."
                )
            values[name] = _convert(name, value, getattr(default, name))
        return cls(**values)._checked()

    def _checked(self) -> Provider:
        """Return the provider with its endpoints put together again, once everything in it can be used."""
        endpoints = {name: self._endpoint(name) for name in _PLACES}
        if not self.issuer and not (self.authorization_endpoint and self.token_endpoint):
            raise ConfigurationError(
                "The provider has no endpoints.", cure="Set issuer, or authorization_endpoint and token_endpoint."
            )
        missing = [name for name in ("client_id", "redirect_uri", "scope") if not getattr(self, name)]
        if missing:
            raise ConfigurationError(
                f"The provider lacks {' and '.join(missing)}.",
                cure="Set them: nothing of the built-in provider is used for another one.",
            )
        if not _has_scheme(self.redirect_uri):
            raise ConfigurationError("The provider's redirect_uri is no address.", cure="Correct redirect_uri.")
        self._check_classes()
        # The issuer is compared letter by letter, so it stays as it was written.
        login = endpoints["authorization_endpoint"]
        scheme = (login or endpoints["issuer"]).partition(":")[0]
        if not 0 <= self.rotation_leeway < 1e9:
            raise ConfigurationError(
                "The provider's rotation_leeway is no number of seconds.", cure="Give seconds, 0 for none."
            )
        return replace(
            self,
            authorization_endpoint=login,
            token_endpoint=endpoints["token_endpoint"],
            revocation_endpoint=endpoints["revocation_endpoint"],
            allowed_hosts=tuple(_allowed_place(place, scheme) for place in self.allowed_hosts),
        )

    def _endpoint(self, name: str) -> str:
        value: str = getattr(self, name)
        try:
            address = web_address.read(value) if value else None
        except UnusableAddressError:
            address = None
        if value and (address is None or not address.confidential):
            raise ConfigurationError(
                f"The provider's {name} is not an https address.",
                cure=f"Correct {name}: https, a host of plain letters (xn-- for others), no user name.",
            )
        return "" if address is None else str(address)

    def _check_classes(self) -> None:
        for name in _CLASS_MAPS:
            for key, error_class in getattr(self, name).items():
                if error_class not in ACCOUNT_ERRORS:
                    raise ConfigurationError(
                        f"The provider's {name} gives {key} an unknown class.",
                        cure=f"Classes are: {', '.join(ACCOUNT_ERRORS)}.",
                    )
        if unknown := sorted(set(self.step_errors) - set(DEFAULT_STEP_ERRORS)):
            raise ConfigurationError(
                f"The provider's step_errors names the unknown step {unknown[0]}.",
                cure=f"Steps are: {', '.join(DEFAULT_STEP_ERRORS)}.",
            )

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
        return self.allowed(url) is not None

    def allowed(self, url: str) -> WebAddress | None:
        """Return the parts of an address that a login may go to, to be asked exactly so; None for any other.

        Args:
            url: absolute address.
        """
        try:
            address = web_address.read(url)
            own = [web_address.read(item) for item in (self.authorization_endpoint, self.token_endpoint) if item]
            if self.issuer:
                own.append(web_address.read(self.issuer))
            places = {item.place for item in own if item.scheme == address.scheme}
            places |= {web_address.read_place(place, address.scheme) for place in self.allowed_hosts}
            login = web_address.read(self.authorization_endpoint)
        except UnusableAddressError:
            return None
        return address if address.scheme == login.scheme and address.place in places else None


def _allowed_place(place: str, scheme: str) -> str:
    try:
        return web_address.read_place(place, scheme)
    except UnusableAddressError:
        raise ConfigurationError(
            "An entry of the provider's allowed_hosts is not a host.", cure="Write host or host:port, without https://."
        ) from None


def _has_scheme(address: str) -> bool:
    try:
        return bool(urlsplit(address).scheme)
    except ValueError:
        return False


def _convert(name: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple):
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ConfigurationError(f"The provider's {name} is not a list of texts.", cure=f"Correct {name}.")
    if isinstance(default, dict):
        return _merged(name, value, default)
    if isinstance(default, float):
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ConfigurationError(f"The provider's {name} is not a number.", cure=f"Correct {name}.") from None
    if isinstance(value, str):
        return value
    raise ConfigurationError(f"The provider's {name} is not a text.", cure=f"Correct {name}.")


def _merged(name: str, value: Any, default: dict[str, str]) -> dict[str, str]:
    """Add an operator's entries to the default ones; those of classes without a value take a default away."""
    removes = name in _CLASS_MAPS
    if not isinstance(value, Mapping) or not all(
        isinstance(key, str) and key and (isinstance(item, str) or (removes and item is None))
        for key, item in value.items()
    ):
        raise ConfigurationError(f"The provider's {name} does not map texts to texts.", cure=f"Correct {name}.")
    if not removes:
        return {**default, **value}
    gone = {key for key, item in value.items() if not item}
    if unknown := sorted(gone - set(default)):
        raise ConfigurationError(
            f"The provider's {name} takes away {unknown[0]}, which is no default.",
            cure=f"Defaults are: {', '.join(default)}.",
        )
    return {key: item for key, item in {**default, **value}.items() if key not in gone}


def error_of(provider: Provider, code: str) -> str | None:
    """Return the error class of a provider's code, or None for an unknown one."""
    return provider.error_codes.get(code)


def unknown_host(url: str) -> UnknownPage:
    """Return the error for an address outside the allow-list, naming only its host."""
    try:
        host = web_address.read(url).place
    except UnusableAddressError:
        host = "an unreadable address"
    return UnknownPage(
        f"The provider sends the login to {host}, which is not allowed.",
        cure="If that host belongs to the provider add it to allowed_hosts; else supply an access_token by hand.",
    )
