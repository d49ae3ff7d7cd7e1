"""Who the client is, when a trusted proxy stands between. Floor 2: pure.

Forwarding headers are believed only from peers that configuration trusts; the default
is nobody. The client is the rightmost address that is not a trusted proxy itself: all
to the left of it is the client's own word (oauth2-proxy CVE-2026-40575).
"""

import functools
import ipaddress
from collections.abc import Sequence
from typing import Final, Literal

from gateway.values import Header

_USUAL_BYTES: Final = 64

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """The networks whose forwarding headers are believed.

    `unix` among them stands for whoever may open our Unix domain socket: the wire
    calls such a peer `unix`, which is no address and in no network.
    """

    def __init__(self, networks: Sequence[Network | Literal["unix"]] = ()) -> None:
        self._sockets = "unix" in networks
        self._networks = tuple(each for each in networks if each != "unix")
        self.trusts = functools.lru_cache(maxsize=1024)(self._trusts)
        self._familiar = functools.lru_cache(maxsize=1024)(self._client)

    def __repr__(self) -> str:
        return f"<TrustedProxies: {len(self._networks)} networks>"

    def __bool__(self) -> bool:
        return self._sockets or bool(self._networks)

    def _trusts(self, address: str) -> bool:
        if address == "unix":
            return self._sockets
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks)

    def client(self, headers: Sequence[Header]) -> str | None:
        """Give the client's address as a trusted peer tells it; None if it does not.

        An element that is no address ends the search: nothing left of it counts.
        """
        told = [value for name, value in headers if name == b"x-forwarded-for"]
        path = b",".join(told)
        # A proxy names few clients, and most of them again and again.
        return (self._familiar if len(path) <= _USUAL_BYTES else self._client)(path)

    def _client(self, path: bytes) -> str | None:
        client = None
        for element in reversed(path.split(b",")):
            address = element.strip(b" \t").decode("latin-1")
            try:
                client = str(ipaddress.ip_address(address))
            except ValueError:
                return client
            if not self.trusts(client):
                return client
        return client

    def scheme(self, headers: Sequence[Header]) -> str | None:
        """Give the scheme a trusted peer tells: the last word, if it is one."""
        told = [value for name, value in headers if name == b"x-forwarded-proto"]
        last = b",".join(told).rpartition(b",")[2].strip(b" \t").lower()
        return last.decode() if last in (b"http", b"https") else None
