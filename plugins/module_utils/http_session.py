# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to the identity provider over requests: explicit proxy, explicit CA bundle, bounded in size and time.

This is the only file of the collection that imports requests.
"""

from __future__ import annotations

import importlib.util
import logging
import ssl
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .accounts.errors import NetworkError
from .accounts.transport import HTML, Form
from .http_body import LARGEST_BODY, arriving, skip_trailers, text_of
from .http_exchange import Connection, Exchange

REQUESTS_IMPORT_ERROR: str | None = None
try:
    import requests
    from requests.adapters import HTTPAdapter
    from requests.certs import where  # type: ignore[attr-defined]
    from urllib3.util.ssl_ import create_urllib3_context
except ImportError:
    REQUESTS_IMPORT_ERROR = traceback.format_exc()
else:

    class _Adapter(HTTPAdapter):
        """Makes connections that tell their exchange what they send, through whatever proxy they go."""

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, ssl_context=_tls(), **kwargs)
            _watch(self.poolmanager)

        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            known = proxy in self.proxy_manager
            manager = super().proxy_manager_for(proxy, ssl_context=_tls(), **kwargs)
            if not known:
                _watch(manager)
            return manager

        def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
            # By a plain address requests would not verify the certificate of an https proxy that gets a password.
            super().cert_verify(conn, "https:", verify, cert)  # type: ignore[no-untyped-call]

    class _Session(requests.Session):
        """Looks at no redirect: requests reads the body of one to its end, however long, even if nobody follows it."""

        def resolve_redirects(self, *_args: Any, **_kwargs: Any) -> Iterator[Any]:
            return iter(())


def _tls() -> Any:
    context = create_urllib3_context()
    # By default Python takes a lost connection for the end of a body; see Connection.connect.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return context


def _watch(manager: Any) -> None:
    manager.pool_classes_by_scheme = {
        scheme: type(pool.__name__, (pool,), {"ConnectionCls": type("Watched", (Connection, pool.ConnectionCls), {})})
        for scheme, pool in manager.pool_classes_by_scheme.items()
    }


USER_AGENT = "dcta-fleet (Ansible collection dcta.fleet)"
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")

_ADDRESSES = "Check the addresses in the provider's settings."


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer, or as much of it as arrived."""

    status_code: int
    headers: Mapping[str, str]
    text: str = field(repr=False)
    complete: bool


class HttpSession:
    """A session as `accounts.transport.Session` describes it.

    Args:
        proxy: address of an HTTP or SOCKS proxy, None for a direct way. The environment is never asked.
        ca_bundle: file with the certificates to trust, None for those that requests brings.
        connect_timeout: seconds for a connection to one address.
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
        self._session = _Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter())
        self._session.trust_env = False
        # Always a file: some versions of requests load no certificates where a context is given and this is True.
        self._session.verify = ca_bundle or where()
        self._session.headers["User-Agent"] = USER_AGENT
        # What can be undone with the standard library, whatever else is installed.
        self._session.headers["Accept-Encoding"] = "gzip, deflate"
        if proxy:
            _check_proxy(proxy)
            self._session.proxies = {"http": proxy, "https": proxy}
        # It shows a traceback for a cookie that it cannot read, and then leaves the cookie out.
        warnings.filterwarnings("ignore", message="http.cookiejar bug!")
        # Its warnings quote addresses and header fields with all that is in them.
        logging.getLogger("urllib3").setLevel(logging.CRITICAL)

    def request(
        self, method: str, url: str, *, data: Form | None = None, accept: str = HTML, timeout: float = 60.0
    ) -> Answer:
        """Send one request.

        Args:
            method: GET or POST.
            url: absolute address.
            data: fields of a form body.
            accept: value of the header Accept.
            timeout: seconds for all of it: name look-up, proxy, TLS, request and answer.

        Returns:
            The answer, or what has arrived of one whose head is there. A redirect is returned, not followed.

        Raises:
            NetworkError: there was none. Its text names only the provider's host.
        """
        exchange = Exchange()
        form = None if data is None else list(data)
        request = {"method": method, "url": url, "data": form, "headers": {"Accept": accept}}
        try:
            exchange.run(lambda: self._send(exchange, timeout, request), timeout)
        except RuntimeError:
            raise NetworkError("No thread can be started.", cure="Raise TasksMax of the unit that does this.") from None
        if exchange.head is None:
            # An exception of requests quotes addresses with all that is in them, so nothing of it is passed on.
            raise self._network_error(exchange, url)
        status, headers = exchange.head
        text, whole = text_of(
            bytes(exchange.body[:LARGEST_BODY]),
            coding=headers.get("content-encoding", ""),
            content_type=headers.get("content-type", ""),
        )
        return Answer(status_code=status, headers=headers, text=text, complete=exchange.whole and whole)

    def close(self) -> None:
        """Let go of all connections."""
        self._session.close()

    def _send(self, exchange: Exchange, seconds: float, request: dict[str, Any]) -> None:
        connect, silence = self._timeouts
        timeouts = min(connect, seconds), min(silence, seconds)
        with self._session.request(**request, timeout=timeouts, allow_redirects=False, stream=True) as response:
            if response.status_code < 200:
                # RFC 9110 section 15.2: the real answer would follow, where nobody expects it.
                raise requests.exceptions.ContentDecodingError
            exchange.answered(response.status_code, response.headers)
            source: Any = response.raw._original_response
            for piece in arriving(source):
                exchange.received(piece)
                if len(exchange.body) > LARGEST_BODY:
                    return
            exchange.finished()
            skip_trailers(source)
            source.close()
            response.raw.release_conn()

    def _network_error(self, exchange: Exchange, url: str) -> NetworkError:
        host, error, kinds = _host(url), exchange.error, requests.exceptions
        if exchange.sent:
            late = exchange.late or isinstance(error, kinds.Timeout | TimeoutError)
            return NetworkError(
                f"{host} did not answer in time." if late else f"The answer of {host} was lost or cannot be read.",
                sent=True,
            )
        tls = f"The certificate of {host} cannot be verified, or TLS failed."
        # The first that fits counts: SSLError and ConnectTimeout are ConnectionErrors too.
        for fits, sentence, cure in (
            (isinstance(error, kinds.SSLError), tls, "Check ca_bundle and the node's clock."),
            (exchange.late or isinstance(error, kinds.Timeout), f"The connection to {host} timed out.", ""),
            (not isinstance(error, kinds.ConnectionError), f"The request to {host} cannot be sent.", _ADDRESSES),
            (bool(self._session.proxies), f"The proxy does not let through to {host}.", "Check the account's proxy."),
        ):
            if fits:
                return NetworkError(sentence, cure=cure)
        return NetworkError(f"The connection to {host} could not be made.")


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
