"""Open connections to targets: TCP, TLS, Unix sockets. Floor 3.

TLS is at least 1.2, speaks HTTP/1.1 alone, and always proves the certificate's
authority and name: there is no switch for it. The name is the configured one, also
where an address of it is dialled.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast

from gateway.errors import UpstreamUnavailable
from gateway.values import UpstreamSettings
from gateway.wire.targets import Target
from gateway.wire.upstream import UpstreamConnection

HTTP11: Final = "http/1.1"
DIAL_ERRORS: Final = (OSError, TimeoutError, UnicodeError, UpstreamUnavailable)
"""What dialling raises. A name that IDNA cannot spell is a `UnicodeError`."""


class Dialler:
    """Opens connections to the targets of one upstream."""

    def __init__(self, settings: UpstreamSettings) -> None:
        secured = any(origin.scheme == "https" for origin in settings.origins)
        self._tls = _context(settings) if secured else None
        self._server_name = settings.tls.server_name

    def __repr__(self) -> str:
        return f"<Dialler: {'TLS' if self._tls else 'plain'}>"

    async def dial(
        self, target: Target, factory: Callable[[], UpstreamConnection]
    ) -> UpstreamConnection:
        """Open a connection; raises one of `DIAL_ERRORS`. Deadlines are the caller's."""
        loop, origin = asyncio.get_running_loop(), target.origin
        # It is one by its methods; a compiled class can have no base that is not.
        protocol = cast("Callable[[], asyncio.Protocol]", factory)
        if origin.scheme == "unix":
            _, made = await loop.create_unix_connection(protocol, target.host)
            return cast("UpstreamConnection", made)
        tls = self._tls if origin.scheme == "https" else None
        transport, made = await loop.create_connection(
            protocol,
            target.host,
            origin.port,
            ssl=tls,
            server_hostname=(self._server_name or origin.host) if tls else None,
        )
        connection = cast("UpstreamConnection", made)
        if tls is not None:
            session = transport.get_extra_info("ssl_object")
            # RFC 7301 §3.2: without ALPN there is no answer, which means HTTP/1.1.
            if session.selected_alpn_protocol() not in (HTTP11, None):
                connection.drop()
                raise UpstreamUnavailable("the upstream speaks another protocol")
        return connection


def _context(settings: UpstreamSettings) -> ssl.SSLContext:
    files = settings.tls
    context = ssl.create_default_context(cafile=files.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([HTTP11])
    if files.client_cert is not None:
        # An answer instead of a prompt for a passphrase, which would wait for ever.
        context.load_cert_chain(files.client_cert, files.client_key, password="")
    return context
