"""Certificates for the tests of TLS, made by an authority of their own."""

import ssl
from pathlib import Path

import trustme


class Pki:
    """An authority, and the files of a server in a folder."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.certificate = folder / "tls.crt"
        self.key = folder / "tls.key"
        self.ca = folder / "ca.crt"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.issue()

    def issue(self, host: str = "localhost") -> None:
        """Write a certificate, and its key, in place of those there are."""
        issued = self.authority.issue_cert(host)
        self.key.write_bytes(issued.private_key_pem.bytes())
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        self.certificate.write_bytes(chain)

    def client(
        self, *, alpn: tuple[str, ...] = (), shown_by: trustme.CA | None = None
    ) -> ssl.SSLContext:
        """Make the context of a client, with a certificate of its own if asked."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if shown_by is not None:
            shown_by.issue_cert("client.example").configure_cert(context)
        return context
