"""The `logout` section of a route: which logouts of its provider count. Floor 2: pure.

OpenID Connect Back-Channel Logout: a logout token is proven by the keys of the
provider's `jwt` section and must come from the issuer that is named there.
"""

from typing import Annotated

from pydantic import Field

from gateway.config.fields import Flag, Model
from gateway.config.units import PositiveDuration
from gateway.values import LogoutTerms

VERIFIER = "jwt"
"""The verifier whose keys and issuer prove logout tokens."""


class Logout(Model):
    """Which logout tokens of the provider are heeded, and what they end."""

    audiences: Annotated[frozenset[str], Field(min_length=1)]
    """The clients whose logouts count: one of these must be in `aud`."""
    whole_subject: Flag = True
    """End all sessions of the subject; false: the one that `sid` names, if it does."""
    max_age: Annotated[PositiveDuration, Field(le=86_400)] = 600.0
    """How old a logout token may be, by its `iat`; for so long it is remembered."""


def issuer_of(settings: object) -> str:
    """Give the issuer that a verifier's section names; empty where it names none."""
    discovery = getattr(settings, "discovery", None)
    return str(discovery or getattr(settings, "issuer", None) or "")


def logout_terms(logout: Logout, settings: object, skew: float) -> LogoutTerms:
    """Make what logout tokens are held to; `settings` are of the `jwt` section."""
    return LogoutTerms(
        issuer=issuer_of(settings),
        audiences=logout.audiences,
        whole_subject=logout.whole_subject,
        longest=logout.max_age,
        skew=max(skew, getattr(settings, "leeway", 0.0)),
    )
