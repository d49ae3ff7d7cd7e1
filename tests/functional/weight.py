"""What passes through a process must not stay in it."""

from tests.functional.harness import Gateway


class Weight:
    """How much a process grows while something passes through it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._before = self._most = gateway.resident_bytes()

    def look(self) -> None:
        """Weigh it now."""
        self._most = max(self._most, self._gateway.resident_bytes())

    @property
    def growth(self) -> int:
        """The most that it grew."""
        return self._most - self._before
