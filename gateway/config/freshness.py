"""How facts stay fresh, and how a provider is spared. Floor 2: pure.

The sections `providers.NAME.cache`, `providers.NAME.questions` and
`limits.unknown_tokens`. A docstring under a key is its description in the schema.
"""

from typing import Self

from pydantic import model_validator

from gateway.config.fields import Count, Model
from gateway.config.units import Duration, PositiveDuration, PositiveSize, expected


class Cache(Model):
    """How long facts about tokens are believed."""

    ttl: Duration = 60.0
    """Facts, at most; never past the token's own `exp`. 0 asks every time."""
    negative_ttl: Duration = 10.0
    """The verdict that a token is invalid."""
    refresh_ahead: Duration = 5.0
    """Facts used this close to their `ttl` are learned anew in the background."""
    grace: Duration = 0.0
    """How long beyond `ttl` facts serve while the provider cannot be asked."""
    memory: PositiveSize = 64 * 1024 * 1024
    """Memory for facts, in each process."""


class Questions(Model):
    """How many questions a provider is asked, and when it is left alone."""

    at_once: Count = 32
    """Questions under way, of each process."""
    waiting: Count = 256
    """Questions that may wait for their turn; further ones fail at once."""
    failures: Count = 5
    """Failures in a row after which nobody asks for a while."""
    pause: PositiveDuration = 1.0
    """That while, doubled with each further failure."""
    longest_pause: PositiveDuration = 30.0
    """The longest while."""

    @model_validator(mode="after")
    def _pauses_in_order(self) -> Self:
        if self.pause > self.longest_pause:
            raise expected("a longest_pause that is not shorter than pause")
        return self


class UnknownTokens(Model):
    """How many tokens that a provider calls invalid one client may bring."""

    burst: Count = 600
    """At once, from one address (of IPv6: from one /64)."""
    per_minute: Count = 600
    """And so many more every minute; beyond it is a 429."""
