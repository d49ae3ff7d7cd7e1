"""Run a worker: `python -m gateway.workers --number=N --link=FD --proxy=FD`. Floor 5."""

import argparse
import signal
import socket

from gateway.tasks import run_process
from gateway.workers.worker import Worker


async def main(number: int, link: int, **doors: int | None) -> None:
    """Live by what was inherited from the parent: the link, and what there is to open."""
    inherited = {
        name: socket.socket(fileno=number)
        for name, number in doors.items()
        if number is not None
    }
    await Worker(socket.socket(fileno=link), inherited, number).live()


if __name__ == "__main__":
    # Signals are for the parent, which tells its workers what to do about them.
    for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)
    parser = argparse.ArgumentParser(prog="gateway.workers", description=__doc__)
    for name in ("number", "link", "proxy"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--authz", type=int)
    run_process(main(**vars(parser.parse_args())))
