"""Find the addresses that a name has now. Floor 3.

Through the loop's own resolver (getaddrinfo: /etc/hosts, search domains, both address
families), since that is what every other program beside us does.
"""

import asyncio
import socket
from typing import Protocol


class Resolver(Protocol):
    """Knows names."""

    async def __call__(self, host: str, port: int) -> list[str]:
        """Give every address of `host`, at least one, none twice.

        Raises `OSError` (of which `socket.gaierror` is one) or `UnicodeError`.
        """
        ...


async def resolve(host: str, port: int) -> list[str]:
    """Ask the system. Keeps `Resolver`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
