"""TLS in front of what aiohttp serves. Floor 4.

Each handshake is by the certificate in force then, and counts: some at a time, each with
a deadline. Beyond, the one that has been at it longest goes: who only fills the place up
keeps nobody out. `wire.entrance` tells why it is not `create_server(ssl=…)`.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import Final

from gateway.wire.entrance import accept, attend
from gateway.wire.tls import Certificates

REFUSALS: Final = ("handshake", "limit")
"""Why a connection did not come through."""

AT_ONCE: Final = 64

_GOODBYE: Final = 2.0
"""Seconds for a client to answer our close of TLS."""


class Handshakes:
    """Those at one listener."""

    def __init__(
        self,
        certificates: Certificates,
        protocol: Callable[[], asyncio.Protocol],
        *,
        seconds: float,
        refused: Counter[str],
        at_once: int = AT_ONCE,
    ) -> None:
        """`protocol` makes what serves those who are through."""
        self._certificates = certificates
        self._protocol = protocol
        self._seconds = seconds
        self._refused = refused
        self._at_once = at_once
        self._under_way: dict[socket.socket, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"<Handshakes: {len(self)} under way>"

    def __len__(self) -> int:
        """Count those under way."""
        return len(self._under_way)

    async def serve(self, listener: socket.socket) -> None:
        """Take connections in until cancelled, and close the listener."""
        try:
            await accept(listener, self._take_in)
        finally:
            self.abort()

    def abort(self) -> None:
        """Cut those under way."""
        for task in self._under_way.values():
            task.cancel()

    def _take_in(self, line: socket.socket, _address: object) -> None:
        if len(self) >= self._at_once:
            self._refused["limit"] += 1
            longest = next(iter(self._under_way))
            self._under_way.pop(longest).cancel()
        self._under_way[line] = attend(
            line, self._shake(line), self._forget, name="handshake"
        )

    def _forget(self, line: socket.socket) -> None:
        self._under_way.pop(line, None)

    async def _shake(self, line: socket.socket) -> None:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop = asyncio.get_running_loop()
        try:
            _ = await loop.connect_accepted_socket(
                self._protocol,
                line,
                ssl=self._certificates.context,
                ssl_handshake_timeout=self._seconds,
                ssl_shutdown_timeout=_GOODBYE,
            )
        except ConnectionResetError:
            pass  # It went by itself.
        except OSError:
            # Not TLS, too old, too slow, a certificate that a stranger has signed.
            self._refused["handshake"] += 1
