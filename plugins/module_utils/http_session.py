# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to the identity provider over requests: explicit proxy, explicit CA bundle, bounded in size.

This is the only file of the collection that imports requests.
"""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from .accounts.errors import NetworkError
from .accounts.transport import Form

REQUESTS_IMPORT_ERROR: str | None = None
try:
    import requests
    from urllib3.exceptions import MaxRetryError
except ImportError:
    REQUESTS_IMPORT_ERROR = traceback.format_exc()

USER_AGENT = "dcta-fleet (Ansible collection dcta.fleet)"
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
LARGEST_BODY = 2 << 20
"""Bytes of a body that are read; a login page has some ten thousand."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer, read to its end."""

    status_code: int
    headers: Mapping[str, str]
    text: str = field(repr=False)


class HttpSession:
    """A session as `accounts.transport.Session` describes it.

    Args:
        proxy: address of an HTTP or SOCKS proxy, None for a direct way. The environment is never asked.
        ca_bundle: file with the certificates to trust, None for those that requests brings.
        connect_timeout: seconds for a connection.
        timeout: seconds for an answer, or for its next piece.

    Raises:
        NetworkError: the proxy's address cannot be used, PySocks is missing for it, or there is no CA bundle.
    """

    def __init__(
        self,
        *,
        proxy: str | None = None,
        ca_bundle: str | None = None,
        connect_timeout: float = 10,
        timeout: float = 30,
    ) -> None:
        if ca_bundle and not Path(ca_bundle).is_file():
            raise NetworkError(f"There is no CA bundle {ca_bundle}.", cure="Correct ca_bundle.")
        self._timeouts = (connect_timeout, timeout)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = ca_bundle or True
        self._session.headers["User-Agent"] = USER_AGENT
        self._session.headers["Accept"] = "text/html, application/json;q=0.9, */*;q=0.1"
        if proxy:
            _check_proxy(proxy)
            self._session.proxies = {"http": proxy, "https": proxy}

    def request(self, method: str, url: str, *, data: Form | None = None) -> Answer:
        """Send one request.

        Args:
            method: GET or POST.
            url: absolute address.
            data: fields of a form body.

        Returns:
            The answer; a redirect is returned, not followed.

        Raises:
            NetworkError: there was none. Its text names only the provider's host.
        """
        try:
            with self._session.request(
                method,
                url,
                data=None if data is None else list(data),
                timeout=self._timeouts,
                allow_redirects=False,
                stream=True,
            ) as response:
                return self._read(response, url)
        except requests.exceptions.RequestException as error:
            # An exception of requests quotes addresses with all that is in them, so nothing of it is passed on.
            raise _network_error(error, url) from None

    def close(self) -> None:
        """Let go of all connections."""
        self._session.close()

    def _read(self, response: requests.Response, url: str) -> Answer:
        body = bytearray()
        for chunk in response.iter_content(1 << 14):
            body += chunk
            if len(body) > LARGEST_BODY:
                raise NetworkError(f"The answer of {_host(url)} does not end.", sent=True)
        charset = response.encoding if "charset" in response.headers.get("Content-Type", "").lower() else None
        try:
            text = body.decode(charset or "utf-8", errors="replace")
        except LookupError:
            text = body.decode("utf-8", errors="replace")
        return Answer(status_code=response.status_code, headers=dict(response.headers), text=text)


def _check_proxy(proxy: str) -> None:
    try:
        parts = urlsplit(proxy)
        usable = parts.scheme in PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise NetworkError(
            "The proxy of the account is no usable address.",
            cure=f"Write scheme://[user:password@]host:port with one of the schemes {', '.join(PROXY_SCHEMES)}.",
        )
    if proxy.startswith("socks") and importlib.util.find_spec("socks") is None:
        raise NetworkError(
            "The proxy of the account speaks SOCKS and the node has no PySocks.",
            cure="Install the package python3-socks.",
        )


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "the provider"
    except ValueError:
        return "the provider"


def _network_error(error: requests.exceptions.RequestException, url: str) -> NetworkError:
    host, kinds = _host(url), requests.exceptions
    certificate = "Check ca_bundle and the node's clock."
    # The first class that fits counts: ProxyError, SSLError and ConnectTimeout are ConnectionErrors too.
    for kind, sentence, cure, sent in (
        (kinds.ProxyError, f"The proxy does not let through to {host}.", "Check the account's proxy.", False),
        (kinds.SSLError, f"The certificate of {host} cannot be verified, or TLS failed.", certificate, False),
        (kinds.ConnectTimeout, f"The connection to {host} timed out.", "", False),
        (kinds.ReadTimeout, f"{host} did not answer in time.", "", True),
        (kinds.ChunkedEncodingError, f"The answer of {host} is broken.", "", True),
        (kinds.ContentDecodingError, f"The answer of {host} is broken.", "", True),
    ):
        if isinstance(error, kind):
            return NetworkError(sentence, cure=cure, sent=sent)
    reason = error.args[0] if error.args else None
    # urllib3 wraps a connection that was never made into MaxRetryError; a lost one is a ProtocolError.
    lost = isinstance(error, kinds.ConnectionError) and not isinstance(reason, MaxRetryError)
    return NetworkError(f"The connection to {host} {'was lost' if lost else 'could not be made'}.", sent=lost)
