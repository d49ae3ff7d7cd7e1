"""Certificates for the tests of TLS, made by an authority of their own."""

import ssl
from datetime import UTC, datetime
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

    def issue(self, *hosts: str) -> None:
        """Write a certificate, and its key, in place of those there are."""
        issued = self.authority.issue_cert(*(hosts or ("localhost",)))
        self.key.write_bytes(issued.private_key_pem.bytes())
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        self.certificate.write_bytes(chain)

    def show(
        self,
        name: str,
        *,
        by: trustme.CA | None = None,
        until: datetime = datetime(2100, 1, 1, tzinfo=UTC),
    ) -> Path:
        """Write a client's certificate with its key into one file; `by` signs it."""
        issued = (by or self.authority).issue_cert(
            f"{name}.example",
            common_name=name,
            not_before=datetime(2020, 1, 1, tzinfo=UTC),
            not_after=until,
        )
        file = self.ca.parent / f"{name}.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(str(file))
        return file

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
