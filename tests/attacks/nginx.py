"""A real nginx as a plain proxy, and an upstream that takes down what it is sent."""

import asyncio
import contextlib
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

NGINX: Final = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")

_CONFIG: Final = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_header_timeout 200ms;
    client_body_timeout 200ms;
    keepalive_timeout 100ms;
    lingering_timeout 50ms;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""

_LENGTH: Final = re.compile(rb"\ncontent-length: *(\d+)\r", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\ntransfer-encoding: *chunked\r", re.IGNORECASE)


@dataclass
class Taken:
    """A request as a forgiving upstream takes it down."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]


@dataclass
class Notebook:
    """All that reached the upstream."""

    taken: list[Taken] = field(default_factory=list)

    async def __call__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take down one request after the other; an incomplete one is none."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if length := _LENGTH.search(head):
                    await reader.readexactly(int(length[1]))
                elif _CHUNKED.search(head):
                    await reader.readuntil(b"0\r\n\r\n")
                line, *lines = head[:-4].split(b"\r\n")
                method, target, _ = line.split(b" ", 2)
                pairs = (each.partition(b":") for each in lines)
                named = [(name.lower(), value.strip()) for name, _, value in pairs]
                self.taken.append(Taken(method, target, named))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()


async def converse(port: int, data: bytes, *, quiet: float) -> None:
    """Send bytes, and read until the other side has closed or been quiet so long."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError, TimeoutError):
        writer.write(data)
        while await asyncio.wait_for(reader.read(65536), quiet):
            pass
    writer.close()


@asynccontextmanager
async def reference(folder: Path) -> AsyncIterator[tuple[int, Notebook]]:
    """Run nginx before an upstream; give its port and what the upstream notes."""
    assert NGINX is not None
    notebook = Notebook()
    upstream = await asyncio.start_server(notebook, "127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            folder=folder, port=port, upstream=upstream.sockets[0].getsockname()[1]
        )
    )
    process = await asyncio.create_subprocess_exec(
        NGINX, "-c", str(config), "-p", str(folder), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            while not await _listens(port):  # noqa: ASYNC110 -- a process has no event
                await asyncio.sleep(0.02)
        yield port, notebook
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        upstream.close()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
