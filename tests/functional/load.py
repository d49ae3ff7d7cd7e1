"""Keep-alive clients that never rest, and count how each request went."""

import http.client
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.functional.harness import connect, head, read_answer


class Crowd:
    """What clients met: statuses, and ways in which there was none.

    `refused`: no connection was to be had. `closed`: one that was kept alive was closed
    before a byte of an answer, as any server may (RFC 9112 §9.3.1). `reset` and
    `broken` are what must not happen.
    """

    def __init__(self, port: int, request: bytes) -> None:
        self._port = port
        self._request = request
        self._leave = threading.Event()
        self._turn = threading.Lock()
        self.met: Counter[int | str] = Counter()

    def come(self) -> None:
        """Be one client: ask again and again until it is told to leave, or refused."""
        while not self._leave.is_set():
            try:
                line = connect(self._port)
            except ConnectionRefusedError:
                self._note("refused")
                return
            except OSError:
                self._note("reset")
                return
            with line:
                kept = False
                while not self._leave.is_set() and (kept := self._ask(line, kept=kept)):
                    pass

    def _ask(self, line, *, kept: bool) -> bool:
        """Put one request; tell whether there may be another on this connection."""
        try:
            line.sendall(self._request)
            answer = read_answer(line)
        except http.client.RemoteDisconnected:
            self._note("closed" if kept else "broken")
            return False
        except ConnectionError:
            self._note("reset")
            return False
        except (http.client.HTTPException, OSError):
            self._note("broken")
            return False
        self._note(answer.status)
        return (answer.header("Connection") or "").lower() != "close"

    def _note(self, what: int | str) -> None:
        with self._turn:
            self.met[what] += 1

    def leave(self) -> None:
        """Have all clients end."""
        self._leave.set()


@contextmanager
def crowd(
    port: int, target: str, headers: Sequence[tuple[str, str]], clients: int = 12
) -> Iterator[Crowd]:
    """Let clients come; in the end all have left."""
    met = Crowd(port, head("GET", target, "lab", headers))
    threads = [threading.Thread(target=met.come) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield met
        for thread in threads:
            thread.join(20)
    finally:
        met.leave()
        for thread in threads:
            thread.join()
