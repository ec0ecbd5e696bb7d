# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send one alert: the JSON document on standard input goes to the webhook in the credential alert_webhook.

It goes there directly, whatever the environment says of proxies. The exit status is 0 when the receiver answered 2xx;
else one sentence on standard output tells why, without the address, which may hold a secret.
"""

from __future__ import annotations

import base64
import http.client
import os
import ssl
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dcta_library.accounts.node_paths import CA_BUNDLE

CREDENTIAL = "alert_webhook"
SECONDS = 10.0


class WebhookError(Exception):
    """One sentence that names what was wrong and the cure."""


def webhook_url() -> str:
    """Return the address out of the agent's credentials, "" when there is none."""
    try:
        return Path(os.environ["CREDENTIALS_DIRECTORY"], CREDENTIAL).read_text(encoding="utf-8").strip()
    except (KeyError, OSError, ValueError):
        return ""


def send(url: str, body: bytes, ca_bundle: Path = Path(CA_BUNDLE)) -> None:
    """Post a JSON document.

    Args:
        url: where to, http or https; a user and a password in it are sent as RFC 7617 says.
        body: the document.
        ca_bundle: certificates to trust beside the system's, if the file exists; the identity provider's by default.

    Raises:
        WebhookError: the receiver did not answer, or not with 2xx; a redirect is not followed.
    """
    try:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Content-Type": "application/json", "User-Agent": "dcta-fleet"}
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            if ca_bundle.exists():
                context.load_verify_locations(ca_bundle)
            connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=SECONDS, context=context)
        else:
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=SECONDS)
        try:
            connection.request("POST", target, body, headers)
            status = connection.getresponse().status
        finally:
            connection.close()
    # Whatever it says of itself, an exception may quote the address.
    except ssl.SSLCertVerificationError:
        raise WebhookError(
            "the webhook's certificate cannot be verified: check dcta_ca_bundle and the node's clock"
        ) from None
    except TimeoutError:
        raise WebhookError(f"the webhook did not answer within {SECONDS:.0f} s: check the receiver") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise WebhookError(
            f"the webhook cannot be reached ({reason}): check the receiver and dcta_alert_webhook"
        ) from None
    except (http.client.HTTPException, ValueError) as error:
        raise WebhookError(
            f"the webhook's address or answer is unusable ({type(error).__name__}): correct dcta_alert_webhook"
        ) from None
    if not 200 <= status < 300:
        raise WebhookError(f"the webhook answered {status}: check the receiver and dcta_alert_webhook")


def main() -> int:
    """Send; return the exit status."""
    try:
        send(webhook_url(), sys.stdin.buffer.read())
    except WebhookError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
