"""The real command, which also tells how many tasks it has when it is asked to.

On SIGUSR1 the number is written to the file `tasks` in the working directory.
"""

import asyncio
import signal
from pathlib import Path

from gateway.cli import main


def tell(*_: object) -> None:
    """Write down how many tasks there are now."""
    fresh = Path("tasks.new")
    fresh.write_text(str(len(asyncio.all_tasks())))
    fresh.rename("tasks")


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, tell)
    main()
