"""Failures, as opposed to refusals. Floor 0.

A `Denial` is a value: the rules worked and said no. An exception here means that
something could not be done, and each class says what a client hears of it.
"""


class GatewayError(Exception):
    """The root of all our failures."""


class ConfigError(GatewayError):
    """The configuration is not usable. `problems` has one printable line each.

    A line reads `file:line: key: what was expected`.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ProviderUnavailable(GatewayError):
    """A provider's word could not be had: 503, never 401 (SECURITY §5).

    `retry_after` is the least wait that would help, in seconds; 0: nobody knows.
    """

    def __init__(self, told: str = "", *, retry_after: int = 0) -> None:
        super().__init__(told)
        self.retry_after = retry_after


class TooManyUnknown(ProviderUnavailable):
    """Nobody is asked for this client, who brought too many invalid tokens: 429."""


class StoreUnavailable(GatewayError):
    """The shared store did not answer in time: a miss for facts, loud for marks.

    `kind` is the metrics' name for how: `timeout`, `unreachable`, `resting` (left alone
    after that), `busy` (with our own commands), `refused` (it said no) or `other`.
    """

    def __init__(self, told: str = "", *, kind: str = "other") -> None:
        super().__init__(told)
        self.kind = kind


class UpstreamUnavailable(GatewayError):
    """No connection to an upstream could be had: 502, 503 or 504."""


class MessageError(GatewayError):
    """An upstream's message is in doubt: 502, and its connection is dropped."""
