"""The `revocation` section: how long to go on without hearing of marks. Floor 2: pure.

It matters where processes share a store; a process by itself is never blind.
"""

import enum

from gateway.config.fields import Model
from gateway.config.units import Duration


class Strictness(enum.StrEnum):
    """What a route does when marks have not been heard of for `max_blind`."""

    STRICT = "strict"
    LENIENT = "lenient"


class Enforcement(enum.StrEnum):
    """What a route does about whom its rules refuse."""

    FULL = "full"
    SHADOW = "shadow"


class Revocation(Model):
    """What is believed while the marks of other processes cannot be heard of."""

    blind_ttl: Duration = 10.0
    """How old the provider's word may be then, before it is asked afresh."""
    max_blind: Duration = 300.0
    """How long routes with `revocation: strict` go on; then they answer 503."""
