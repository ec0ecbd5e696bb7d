# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make what the demo's world needs before its hosts start: keys, certificates, secrets, vault, Git repository.

All of it goes to ``.state/``, and the encrypted ``vault.yml`` to the demo's inventory. What is there and still good is
kept, so a second run changes nothing and the hosts of a running world keep their keys.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress
import json
import os
import secrets
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".state"
VAULT = ROOT / "inventories/demo/group_vars/dcta_nodes/vault.yml"

NODES = {"node1": "172.30.90.11", "node2": "172.30.90.12"}
HOSTS = {"provider": "172.30.90.10", **NODES}
CHAT_SERVICE = "chatgpt.com"
SERVICES = ("login.dcta.test", "chat.dcta.test", "git.dcta.test", CHAT_SERVICE)

LOGIN = {
    "issuer": "https://login.dcta.test",
    "client_id": "dcta-demo",
    "redirect_uri": "dcta-demo://login.dcta.test/callback",
    "scope": "openid email profile offline_access",
    "audience": "https://chat.dcta.test/v1",
}
TOKEN_LIFETIME = dt.timedelta(days=10)

LIFETIME = dt.timedelta(days=365)
RENEW_BEFORE = dt.timedelta(days=30)


def write(path: Path, content: str | bytes, *, mode: int = 0o600) -> None:
    """Write a file if its content differs, never readable for more users than ``mode`` says.

    Args:
        path: The file; missing folders are made.
        content: What it has to hold.
        mode: Its permission bits.
    """
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != data:
        draft = path.with_name(f"{path.name}.new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=mode)
        draft.write_bytes(data)
        draft.replace(path)
    path.chmod(mode)


def make_ssh_key(path: Path, comment: str) -> str:
    """Make an SSH key pair unless it is there.

    Args:
        path: The private key; the public one gets ``.pub`` at the end.
        comment: What the public key says about itself.

    Returns:
        The public key as one line of ``authorized_keys``.
    """
    public = path.with_name(f"{path.name}.pub")
    if not path.exists() or not public.exists():
        key = ed25519.Ed25519PrivateKey.generate()
        private_form = (
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        public_form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        write(path, key.private_bytes(*private_form))
        write(public, key.public_key().public_bytes(*public_form).decode() + f" {comment}\n", mode=0o644)
    return public.read_text(encoding="utf-8").strip()


def make_ssh() -> None:
    """Make the operator's key, the deploy key, every host's own key, and the files that let them know one another."""
    operator = make_ssh_key(STATE / "ssh/id_ed25519", "operator of the demo")
    deploy = make_ssh_key(STATE / "deploy/id_ed25519", "deploy key of the demo")
    known_hosts = ""
    for name, address in HOSTS.items():
        folder = STATE / "hosts" / name
        kind, key = make_ssh_key(folder / "ssh_host_ed25519_key", name).split()[:2]
        known_hosts += f"{name},{address} {kind} {key}\n"
        write(folder / "authorized_keys.ansible", f"{operator}\n")
        if name == "provider":
            write(folder / "authorized_keys.git", f"restrict {deploy}\n")
            write(STATE / "deploy/known_hosts", f"git.dcta.test {kind} {key}\n", mode=0o644)
    write(STATE / "ssh/known_hosts", known_hosts, mode=0o644)
    blocks = [
        f'Host {name} {address}\n  HostName {address}\n  User ansible\n  IdentityFile "{STATE}/ssh/id_ed25519"\n'
        f'  IdentitiesOnly yes\n  UserKnownHostsFile "{STATE}/ssh/known_hosts"\n  StrictHostKeyChecking yes\n'
        for name, address in HOSTS.items()
    ]
    write(STATE / "ssh/config", "\n".join(blocks))


def is_good(certificate: Path, key: Path, issuer: x509.Certificate | None, names: list[str]) -> bool:
    """Tell whether a certificate and its key are there, valid for long enough and for all names, of the authority.

    Args:
        certificate: The certificate in PEM form.
        key: Its private key.
        issuer: The certificate of the authority; ``None`` for the authority itself.
        names: Host names and IP addresses that it must hold, if an authority signs it.

    Returns:
        Whether the pair can be kept.
    """
    if not certificate.exists() or not key.exists():
        return False
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    if found.not_valid_after_utc - dt.datetime.now(dt.UTC) < RENEW_BEFORE:
        return False
    if issuer is None:
        return True
    held = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.issuer == issuer.subject and list(held) == [general_name(name) for name in names]


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Load an elliptic curve key.

    Args:
        path: The key in PEM form, not encrypted.

    Returns:
        The key.

    Raises:
        TypeError: The file holds a key of another kind.
    """
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} holds no elliptic curve key; run make demo-down and begin anew")
    return key


def make_certificate(folder: Path, stem: str, names: list[str], authority: Path | None) -> None:
    """Make a certificate and its key unless a good pair is there.

    Args:
        folder: Where ``STEM.crt`` and ``STEM.key`` go.
        stem: Their common name.
        names: Host names and IP addresses of a server; one descriptive name for the authority.
        authority: The folder of the authority that signs; ``None`` makes the authority itself.
    """
    certificate_file, key_file = folder / f"{stem}.crt", folder / f"{stem}.key"
    issuer = x509.load_pem_x509_certificate((authority / "ca.crt").read_bytes()) if authority else None
    if is_good(certificate_file, key_file, issuer, names):
        return
    key = ec.generate_private_key(ec.SECP256R1())
    # A fresh number in the authority's name makes certificates of an authority that is gone recognisable.
    common_name = names[0] if authority else f"{names[0]} {secrets.token_hex(4)}"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if authority:
        signing_key = load_key(authority / "ca.key")
        alternatives = x509.SubjectAlternativeName([general_name(name) for name in names])
        builder = (
            builder.add_extension(alternatives, critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
        )
    else:
        signing_key = key
        usage = dict.fromkeys(
            (
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
    certificate = builder.sign(signing_key, hashes.SHA256())
    private_form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write(key_file, key.private_bytes(*private_form))
    write(certificate_file, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)


def general_name(name: str) -> x509.GeneralName:
    """Turn a host name or an IP address into an entry of a subject alternative name.

    Args:
        name: The name or the address.

    Returns:
        The entry (RFC 5280, section 4.2.1.6).
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def make_certificates() -> None:
    """Make the demo's authority, the certificates it signs, and a bundle of it and the authorities of this machine."""
    authority = STATE / "ca"
    make_certificate(authority, "ca", ["Authority of the dcta.fleet demo"], None)
    make_certificate(STATE / "tls", "node", [*NODES, *NODES.values(), "localhost", "127.0.0.1"], authority)
    make_certificate(STATE / "provider", "tls", list(SERVICES), authority)
    candidates = (os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, certifi.where())
    machine = next(Path(name) for name in candidates if name and Path(name).is_file())
    bundle = machine.read_bytes().rstrip(b"\n") + b"\n" + (authority / "ca.crt").read_bytes()
    write(STATE / "ca-bundle.pem", bundle, mode=0o644)


def make_access_token() -> str:
    """Make the token that a person would copy out of a browser: a JWT that nobody but its issuer can check.

    Returns:
        The token in compact form (RFC 7519, section 3).
    """
    now = dt.datetime.now(dt.UTC)
    header = {"alg": "RS256", "typ": "JWT"}
    claims = {
        "iss": LOGIN["issuer"],
        "sub": f"demo|{secrets.token_hex(12)}",
        "aud": [LOGIN["audience"]],
        "iat": int(now.timestamp()),
        "exp": int((now + TOKEN_LIFETIME).timestamp()),
    }
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), secrets.token_bytes(256))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def is_fresh(token: str) -> bool:
    """Tell whether a token made here still lives for half of its lifetime.

    Args:
        token: A token of :func:`make_access_token`, or an empty string.

    Returns:
        Whether it can be kept.
    """
    if not token:
        return False
    claims = token.split(".")[1]
    end = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]
    return bool(end - dt.datetime.now(dt.UTC).timestamp() > TOKEN_LIFETIME.total_seconds() / 2)


def make_secrets() -> dict[str, str]:
    """Make the random secrets of the demo unless they are there.

    Returns:
        The secrets by name.
    """
    path = STATE / "secrets.json"
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    wanted: dict[str, Callable[[], str]] = {
        "alice_password": lambda: secrets.token_urlsafe(18),
        "bob_password": lambda: secrets.token_urlsafe(18),
        "bob_totp_secret": lambda: base64.b32encode(secrets.token_bytes(20)).decode(),
        "carol_access_token": make_access_token,
        "dave_password": lambda: secrets.token_urlsafe(18),
        "web_api_key": lambda: f"dcta-{secrets.token_urlsafe(36)}",
        "batch_api_key": lambda: f"dcta-{secrets.token_urlsafe(36)}",
        "vault_password": lambda: secrets.token_urlsafe(36),
    }
    if not is_fresh(found.get("carol_access_token", "")):
        found.pop("carol_access_token", None)
    values = {name: found.get(name) or make() for name, make in wanted.items()}
    write(path, json.dumps(values, indent=2) + "\n")
    write(STATE / "vault-password", values["vault_password"] + "\n")
    write(STATE / "api-key", values["web_api_key"] + "\n")
    write(STATE / "api-key.header", f"Authorization: Bearer {values['web_api_key']}\n")
    return values


def accounts_of_the_vault(values: dict[str, str]) -> list[dict[str, str]]:
    """Return the demo's accounts in the form of ``dcta_accounts``.

    Args:
        values: The random secrets by name.

    Returns:
        An account with a password, one with one-time codes too, one with a token by hand, another one with a password.
    """
    alice, bob, dave = (
        {"name": name, "email": f"{name}@example.org", "password": values[f"{name}_password"]}
        for name in ("alice", "bob", "dave")
    )
    bob["totp_secret"] = values["bob_totp_secret"]
    return [alice, bob, {"name": "carol", "access_token": values["carol_access_token"]}, dave]


def make_vault(values: dict[str, str]) -> None:
    """Encrypt what an operator keeps in the vault: accounts, API keys, the private key of the certificate.

    Args:
        values: The random secrets by name.
    """
    content = {
        "dcta_accounts": accounts_of_the_vault(values),
        "dcta_api_keys": [
            {"name": "web", "key": values["web_api_key"]},
            {"name": "batch", "key": values["batch_api_key"]},
        ],
        "dcta_tls_private_key": (STATE / "tls/node.key").read_text(encoding="utf-8"),
    }
    plain = "---\n" + yaml.safe_dump(content, sort_keys=False)
    program = str(Path(sys.executable).with_name("ansible-vault"))
    password = f"--vault-password-file={STATE / 'vault-password'}"
    if VAULT.exists():
        view = subprocess.run([program, "view", password, str(VAULT)], capture_output=True, text=True, check=False)
        if view.returncode == 0 and view.stdout == plain:
            return
    encrypt = [program, "encrypt", password, "--output=-", "-"]
    encrypted = subprocess.run(encrypt, input=plain, capture_output=True, text=True, check=True).stdout
    write(VAULT, encrypted)


def make_provider(values: dict[str, str]) -> None:
    """Write the settings of the stand-ins.

    Args:
        values: The random secrets by name.
    """
    accounts: list[dict[str, str]] = accounts_of_the_vault(values)
    settings: dict[str, Any] = {
        "identity": {
            "host": "0.0.0.0",  # noqa: S104 - a host of its own, in a network of its own
            "port": 443,
            "issuer": LOGIN["issuer"],
            "tls_certificate": "/srv/provider/tls.crt",
            "tls_key": "/srv/provider/tls.key",
        },
        "chat": {"host": "0.0.0.0", "port": 8080, "name": CHAT_SERVICE},  # noqa: S104 - see above
        "control": {"host": "0.0.0.0", "port": 8081},  # noqa: S104 - see above
        "client": {"id": LOGIN["client_id"], "redirect_uri": LOGIN["redirect_uri"], "audience": LOGIN["audience"]},
        "git_root": "/srv/git",
        "users": [
            {key: account[key] for key in ("email", "password", "totp_secret") if key in account}
            for account in accounts
            if "password" in account
        ],
        "tokens": [
            {"email": f"{account['name']}@example.org", "access_token": account["access_token"]}
            for account in accounts
            if "access_token" in account
        ],
    }
    write(STATE / "provider/config.json", json.dumps(settings, indent=2) + "\n")


def make_repository() -> str:
    """Commit the stand-in for ChatGPT-to-API into a bare repository; equal sources give the equal commit.

    Returns:
        The id of the commit.
    """
    sources, repository = ROOT / "demo/upstream", STATE / "git/upstream.git"
    moment = "2026-01-01T00:00:00+00:00"
    index = STATE / "git-index"
    index.unlink(missing_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(STATE),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_DIR": str(repository),
        "GIT_INDEX_FILE": str(index),
    }
    for role in ("AUTHOR", "COMMITTER"):
        environment[f"GIT_{role}_NAME"] = "dcta.fleet demo"
        environment[f"GIT_{role}_EMAIL"] = "demo@dcta.test"
        environment[f"GIT_{role}_DATE"] = moment

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"git {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    if not repository.exists():
        repository.mkdir(parents=True)
        git("init", "--quiet", "--bare", "--initial-branch=main")
    files = sorted(path.name for pattern in ("*.go", "go.*", "*.md") for path in sources.glob(pattern))
    git(f"--work-tree={sources}", "-C", str(sources), "add", "--", *files)
    commit = git("commit-tree", git("write-tree"), "-m", "The demo's stand-in for ChatGPT-to-API")
    git("update-ref", "refs/heads/main", commit)
    git("update-server-info")
    index.unlink()
    return commit


def fingerprint_of_the_stand_ins() -> str:
    """Hash all that the stand-ins run from, so that a changed one is started anew.

    Returns:
        The hash in hexadecimal form.
    """
    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "demo/provider").rglob("*.py"), *(STATE / "provider").iterdir()]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Prepare the world."""
    if shutil.which("git") is None:
        sys.exit("git is missing; install it")
    STATE.mkdir(exist_ok=True)
    make_ssh()
    make_certificates()
    values = make_secrets()
    make_vault(values)
    make_provider(values)
    world = {"upstream_commit": make_repository(), "login": LOGIN, "stand_ins": fingerprint_of_the_stand_ins()}
    write(STATE / "world.yml", yaml.safe_dump(world), mode=0o644)


if __name__ == "__main__":
    main()
