# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the codes and pages of a provider mean when the operator says nothing else."""

from __future__ import annotations

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
    "invalid_client": "provider_error",
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
    # Codes that others are fond of.
    "invalid_credentials": "bad_credentials",
    "invalid-credentials": "bad_credentials",
    "invalid_login": "bad_credentials",
    "invalid_password": "bad_credentials",
    "invalid_user_password": "bad_credentials",
    "wrong_password": "bad_credentials",
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
