# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Discovery: a provider's metadata document names the endpoints that the operator left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import web_address
from .errors import ProviderError
from .transport import Client, json_object, refusal
from .web_address import UnusableAddressError, shown_address

if TYPE_CHECKING:
    from .provider import Provider


def metadata_addresses(issuer: str) -> tuple[str, str]:
    """Return where an issuer may publish its metadata.

    Args:
        issuer: issuer identifier, an address of the web.

    Returns:
        The addresses of OpenID Connect Discovery section 4 (suffix) and of RFC 8414 section 3 (inserted before the
        path).
    """
    address = web_address.read(issuer)
    root, path = f"{address.scheme}://{address.place}", address.path.rstrip("/")
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
    issuer = document.get("issuer")
    if issuer != provider.issuer:
        # RFC 8414 section 3.3: metadata of another issuer must not be used.
        raise ProviderError(
            f"The provider's metadata document names the issuer {shown_address(issuer)}, not "
            f"{shown_address(provider.issuer)}.",
            cure="Set issuer to exactly what the document says if that is the provider's own, a last slash included.",
        )
    complete = replace(
        provider,
        authorization_endpoint=provider.authorization_endpoint or _endpoint(document, "authorization_endpoint"),
        token_endpoint=provider.token_endpoint or _endpoint(document, "token_endpoint"),
        revocation_endpoint=provider.revocation_endpoint or _endpoint(document, "revocation_endpoint"),
    )
    if not complete.discovered:
        lacking = [name for name in ("authorization_endpoint", "token_endpoint") if not getattr(complete, name)]
        raise ProviderError(
            f"The provider's metadata document has no usable {' and no usable '.join(lacking)}.",
            cure="Set authorization_endpoint and token_endpoint of the provider.",
        )
    return complete


def _endpoint(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    try:
        address = web_address.read(value) if isinstance(value, str) else None
    except UnusableAddressError:
        return ""
    return str(address) if address is not None and address.confidential else ""
