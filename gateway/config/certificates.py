"""Whether certificates and keys in files are what they should be. Floor 2: reads files.

Told while the configuration is read: that is better than a handshake that fails later.
"""

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.config.units import expected


def certificates(file: Path) -> list[x509.Certificate]:
    """Give the certificates (PEM) in a file; none where it holds something else."""
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError):
        return []


def belong_together(certificate: Path, key: Path) -> bool:
    """Tell whether a key (PEM, without a password) is the first certificate's."""
    try:
        private = load_pem_private_key(key.read_bytes(), password=None)
        ours = [each.public_key() for each in certificates(certificate)[:1]]
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return ours == [private.public_key()]


def prove_client_pair(client_cert: Path | None, client_key: Path | None) -> None:
    """Refuse one without the other, and two that do not belong together."""
    if client_cert is None and client_key is None:
        return
    if (
        client_cert is None
        or client_key is None
        or not belong_together(client_cert, client_key)
    ):
        raise expected(
            "a client_cert and the client_key that belongs to it, both PEM and "
            "the key without a password"
        )
