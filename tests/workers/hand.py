"""A worker that does as a test wants: run as a program by posts under test.

    python hand.py MANNER FOLDER --number=N --link=FD --proxy=FD

MANNER is `good`, or what it does instead: `refuse` its configuration, `die` before it
is told one, `hang` once it serves, `second` (good but once: later ones die).
"""

import asyncio
import os
import socket
import sys
import time
from pathlib import Path

from gateway.errors import ConfigError
from gateway.workers.link import Build, Drain, Link, Look, Open, Question


async def main(manner: str, folder: Path, fds: dict[str, int]) -> None:
    """Live as long as the link does."""
    door = socket.socket(fileno=fds["proxy"])
    with (folder / "lives").open("a") as lives:
        lives.write(f"{os.getpid()} {time.monotonic()}\n")
    born = len((folder / "lives").read_text().splitlines())
    if manner == "die" or (manner == "second" and born > 1):
        sys.exit(7)

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"%d" % os.getpid())
        writer.close()

    async def respond(question: Question) -> object:
        with (folder / "heard").open("a") as heard:
            heard.write(f"{question}\n")
        match question:
            case Build() if manner == "refuse":
                raise ConfigError(["a.yaml:3: expected better"])
            case Open():
                await asyncio.start_server(greet, sock=door)
            case Look() if manner == "hang":
                time.sleep(60)  # noqa: ASYNC251 -- that is what hanging is
            case Look():
                return {"store": True}
            case Drain():
                door.close()
            case _:
                pass
        return None

    link = Link(socket.socket(fileno=fds["link"]), respond)
    await link.open()
    await link.listen()
    (folder / "left").touch()


if __name__ == "__main__":
    named = (word.removeprefix("--").split("=") for word in sys.argv[3:])
    told = {name: int(value) for name, value in named}
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), told))
