"""TLS contexts of listeners and of connections that this process makes, from settings as Mimir has them."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field

_TLS_VERSIONS = {
    "VersionTLS10": ssl.TLSVersion.TLSv1,
    "VersionTLS11": ssl.TLSVersion.TLSv1_1,
    "VersionTLS12": ssl.TLSVersion.TLSv1_2,
    "VersionTLS13": ssl.TLSVersion.TLSv1_3,
}
_CLIENT_AUTH = {
    "": ssl.CERT_NONE,
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


class TlsError(Exception):
    """TLS cannot be set up; the text says which flag to change."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """PEM texts win over files. client_auth is one of Go's names."""

    cert: str = ""
    key: str = field(default="", repr=False)
    client_ca: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_auth: str = ""
    client_ca_file: str = ""
    min_version: str = ""
    cipher_suites: tuple[str, ...] = ()

    @property
    def enabled(self) -> bool:
        return bool((self.cert or self.cert_file) and (self.key or self.key_file))


@dataclass(frozen=True, slots=True)
class ClientTlsSettings:
    """ca_file "": the authorities that the host trusts."""

    cert_file: str = ""
    key_file: str = ""
    ca_file: str = ""
    skip_verify: bool = False
    min_version: str = ""
    cipher_suites: tuple[str, ...] = ()


def server_context(settings: TlsSettings, *, flags: str, alpn: Sequence[str] = ()) -> ssl.SSLContext:
    """For a listener. flags: what its flags begin with, as `server.http-tls`. Raises TlsError naming what is wrong."""
    verify = _CLIENT_AUTH.get(settings.client_auth)
    if verify is None:
        raise TlsError(
            f"-{flags}-client-auth={settings.client_auth} is not available: a client certificate is either "
            "verified or not asked for (VerifyClientCertIfGiven, RequireAndVerifyClientCert, NoClientCert)"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _TLS_VERSIONS.get(settings.min_version, ssl.TLSVersion.TLSv1_2)
    context.options |= ssl.OP_NO_COMPRESSION
    if alpn:
        context.set_alpn_protocols(alpn)
    if settings.cipher_suites:
        _set_ciphers(context, settings.cipher_suites, flag="server.tls-cipher-suites")
    try:
        _load_certificate(context, settings)
        if verify is not ssl.CERT_NONE:
            if not settings.client_ca and not settings.client_ca_file:
                raise TlsError(f"client certificates are to be verified, but -{flags}-ca-path is not set")
            context.load_verify_locations(
                cafile=None if settings.client_ca else settings.client_ca_file, cadata=settings.client_ca or None
            )
    except (OSError, ssl.SSLError) as error:
        raise TlsError(
            f"cannot set up TLS of a listener: {error}; see -{flags}-cert-path, -{flags}-key-path and -{flags}-ca-path"
        ) from None
    context.verify_mode = verify
    return context


def client_context(settings: ClientTlsSettings, *, flags: str) -> ssl.SSLContext:
    """For connections that this process makes. flags: as for `server_context`. Raises TlsError naming what is wrong."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise TlsError(
            f"cannot set up TLS for connecting: {error}; see -{flags}-cert-path, -{flags}-key-path and -{flags}-ca-path"
        ) from None
    context.minimum_version = _TLS_VERSIONS.get(settings.min_version, ssl.TLSVersion.TLSv1_2)
    if settings.cipher_suites:
        _set_ciphers(context, settings.cipher_suites, flag=f"{flags}-cipher-suites")
    if settings.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_certificate(context: ssl.SSLContext, settings: TlsSettings) -> None:
    if not settings.cert and not settings.key:
        context.load_cert_chain(settings.cert_file, settings.key_file)
        return
    with tempfile.TemporaryDirectory(prefix="mimir-rw-tls-") as private:
        context.load_cert_chain(
            _pem_file(private, "cert", settings.cert, settings.cert_file),
            _pem_file(private, "key", settings.key, settings.key_file),
        )


def _pem_file(directory: str, name: str, pem: str, path: str) -> str:
    """The ssl module reads files only; the directory is this user's alone."""
    if not pem:
        return path
    target = os.path.join(directory, name)
    with open(target, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
        file.write(pem)
    return target


def _set_ciphers(context: ssl.SSLContext, suites: tuple[str, ...], *, flag: str) -> None:
    """suites are IANA names as in Go; OpenSSL has names of its own for those before TLS 1.3, whose set is fixed."""
    known = {_iana_name(cipher["name"]): cipher["name"] for cipher in ssl.create_default_context().get_ciphers()}
    unknown = [suite for suite in suites if suite not in known and not suite.startswith(("TLS_AES", "TLS_CHACHA20"))]
    if unknown:
        raise TlsError(f"unknown cipher suite {unknown[0]} in -{flag}")
    chosen = [known[suite] for suite in suites if suite in known and not known[suite].startswith("TLS_")]
    if chosen:
        context.set_ciphers(":".join(chosen))


def _iana_name(openssl_name: str) -> str:
    """ECDHE-RSA-AES128-GCM-SHA256 → TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256."""
    if openssl_name.startswith("TLS_"):
        return openssl_name
    name = openssl_name.replace("AES128", "WITH-AES-128").replace("AES256", "WITH-AES-256")
    name = name.replace("CHACHA20-POLY1305", "WITH-CHACHA20-POLY1305-SHA256")
    if "GCM" not in name and "POLY1305" not in name:
        name = name.replace("AES-128-", "AES-128-CBC-").replace("AES-256-", "AES-256-CBC-")
    return "TLS_" + name.replace("-", "_")
