"""Run a worker: `python -m gateway.workers --number=N --link=FD --door=FD`. Floor 5."""

import argparse
import signal
import socket

from gateway.tasks import run_process
from gateway.workers.worker import Worker


async def main(number: int, link: int, door: int) -> None:
    """Live by what was inherited from the parent."""
    await Worker(socket.socket(fileno=link), socket.socket(fileno=door), number).live()


if __name__ == "__main__":
    # Signals are for the parent, which tells its workers what to do about them.
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, signal.SIG_IGN)
    parser = argparse.ArgumentParser(prog="gateway.workers", description=__doc__)
    for name in ("number", "link", "door"):
        parser.add_argument(f"--{name}", type=int, required=True)
    run_process(main(**vars(parser.parse_args())))
