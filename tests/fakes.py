"""Stand-ins that keep a promise or sit at a socket; nothing in between."""


class Clock:
    """A clock moved by hand: both faces move together, only `step` parts them."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock, as an administrator or NTP does."""
        self._now += seconds
