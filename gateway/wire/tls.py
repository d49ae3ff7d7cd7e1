"""Our side of TLS: the certificate in force, and its renewal. Floor 3.

Why a fresh context for each renewal, taken up by the next handshake, and not
`load_cert_chain` on the one in use: that loads a certificate before it finds that the
key does not fit, and would leave a broken pair in force; and a client CA can only be
added to a context, never taken out. A fresh one is whole before anybody meets it. It
also has ticket keys of its own, so no session outlives the CA that let it in. There is
no need for `sni_callback` either, which swaps certificates but not whom we trust: the
listener starts each handshake itself (`wire.entrance`).

Why polling: kubelet renews by swapping the `..data` symlink, others rewrite in place;
a digest of the content sees both, on every platform and file system.
"""

import ssl
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509

from gateway.errors import GatewayError

_PROTOCOLS: Final = ["http/1.1"]
"""RFC 7301: we speak no HTTP/2, and say so."""


class TlsUnusable(GatewayError):
    """The files do not make a certificate to serve with."""


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Files and demands of a listener. Without `client_ca` clients show nothing."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_required: bool = False
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2


class Certificates:
    """The certificate in force; `context` is what the next handshake uses."""

    def __init__(self, settings: TlsSettings) -> None:
        """Load the files; raises `TlsUnusable`."""
        self._settings = settings
        self._seen = self._judged = self._digest()
        self.context = _context(settings)
        own = _own(settings.certificate)
        self.not_after = own.not_valid_after_utc.timestamp()
        """When the certificate expires, in Unix seconds."""
        self.names = _names(own)
        """Whose it is: names in lower case, some `*.suffix`, and addresses."""
        self.well = True
        """Whether the files, as they are now, are what is in force."""

    def __repr__(self) -> str:
        return f"<Certificates {self._settings.certificate}>"

    def refresh(self) -> bool:
        """Take up the files' new content; tell whether there was any. Reads files.

        Content is judged once, and only when two looks in a row have found it: a
        rewrite in place must not be caught half-way. Raises `TlsUnusable`, and what
        was in force stays so.
        """
        digest = self._digest()
        settled, self._seen = digest == self._seen, digest
        if not settled or digest == self._judged:
            return False
        self._judged = digest
        self.well = False
        context = _context(self._settings)
        own = _own(self._settings.certificate)
        self.not_after, self.names = own.not_valid_after_utc.timestamp(), _names(own)
        self.context = context
        self.well = True
        return True

    def _digest(self) -> bytes:
        settings, digest = self._settings, blake2b(digest_size=16)
        for path in (settings.certificate, settings.key, settings.client_ca):
            content = _content(path) if path is not None else b""
            digest.update(len(content).to_bytes(8, "big") + content)
        return digest.digest()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        # Loading will say it; a file may be away for a moment.
        return b""


def _context(settings: TlsSettings) -> ssl.SSLContext:
    # Ciphers, curves and tickets are Python's and OpenSSL's defaults.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.minimum_version = settings.min_version
    context.set_alpn_protocols(_PROTOCOLS)
    try:
        # Without a password OpenSSL would ask the terminal for one.
        context.load_cert_chain(settings.certificate, settings.key, password="")
        if settings.client_ca is not None:
            required = settings.client_required
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
            context.load_verify_locations(settings.client_ca)
    except ssl.SSLError as error:
        why = (error.reason or "not understood").replace("_", " ").lower()
        raise TlsUnusable(f"{settings.certificate} cannot be used: {why}") from error
    except OSError as error:
        # `load_cert_chain` does not say which of its files it is.
        name = error.filename or f"{settings.certificate} or {settings.key}"
        raise TlsUnusable(f"{name}: {error.strerror}") from error
    return context


def _own(certificate: Path) -> x509.Certificate:
    try:
        (own, *_) = x509.load_pem_x509_certificates(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise TlsUnusable(f"{certificate} has no readable certificate") from error
    return own


def _names(certificate: x509.Certificate) -> frozenset[str]:
    # RFC 9110 §4.3.4: these alone count; browsers have not read the subject for years.
    kind = x509.SubjectAlternativeName
    try:
        told = certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    hosts = (name.lower() for name in told.get_values_for_type(x509.DNSName))
    addresses = map(str, told.get_values_for_type(x509.IPAddress))
    return frozenset({*hosts, *addresses})
