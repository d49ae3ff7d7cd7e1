"""The certificate of a listener, kept up to its files. Floor 5.

The files are looked at every few seconds, on a thread, and what was renewed is taken up
by the next handshake; what cannot be used is told, and leaves the old in force.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, Protocol

from gateway.config.listeners import Tls
from gateway.observe.logs import Log
from gateway.observe.series import Reading
from gateway.wire.tls import Certificates, TlsSettings, TlsUnusable

LOOK_EVERY: Final = 5.0
"""Seconds between two looks at the files."""

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Watch(Protocol):
    """Shows what is true now at every scrape: `Metrics.watch`."""

    def __call__(self, name: str, read: Reading, *labels: str) -> None:
        """Show what `read` tells."""
        ...


class Renewal:
    """Looks after the certificate of one listener."""

    def __init__(
        self, listener: str, tls: Tls, log: Log, *, every: float = LOOK_EVERY
    ) -> None:
        """Read the files; raises `TlsUnusable`."""
        self._listener = listener
        self._log = log
        self._every = every
        self.certificates = Certificates(
            TlsSettings(
                certificate=tls.certificate,
                key=tls.key,
                client_ca=tls.client_ca,
                client_required=tls.client_certificates == "required",
                min_version=_VERSIONS[tls.min_version],
            )
        )
        self.taken_up: Callable[[], None] | None = None
        """Is called when there is another one in force."""

    def __repr__(self) -> str:
        return f"<Renewal of {self._listener}: {self.certificates!r}>"

    def show(self, watch: Watch) -> None:
        """Have it shown when the certificate expires, and whether the files are good."""
        certificates, listener = self.certificates, self._listener
        watch(
            "tls_certificate_expiry_timestamp_seconds",
            lambda: certificates.not_after,
            listener,
        )
        watch("tls_last_reload_successful", lambda: certificates.well, listener)

    async def look(self) -> None:
        """Look at the files once; what cannot be used is told."""
        try:
            renewed = await asyncio.to_thread(self.certificates.refresh)
        except TlsUnusable as error:
            self._log.warning(
                "certificate_unusable", listener=self._listener, text=str(error)
            )
            return
        if renewed:
            not_after = int(self.certificates.not_after)
            self._log.info(
                "certificate_renewed", listener=self._listener, not_after=not_after
            )
            if self.taken_up is not None:
                self.taken_up()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._every)
            await self.look()
