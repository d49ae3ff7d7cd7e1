"""The `decisions` section: what engines may do with what they were told. Floor 2: pure."""

from typing import Annotated

from pydantic import AfterValidator

from gateway.config.fields import Model
from gateway.config.units import Duration, expected


def _brief(seconds: float) -> float:
    # So long a revoked token is let in where an engine has kept its leave.
    if seconds > 60:
        raise expected("a duration of at most 60s")
    return seconds


class Decisions(Model):
    """What engines may do with the decisions they ask for."""

    max_age: Annotated[Duration, AfterValidator(_brief)] = 0.0
    """How long an engine may keep leave without asking again; at most `60s`."""


def price(decisions: Decisions) -> str:
    """Tell what it costs that engines need not ask each time; empty where they must."""
    if not decisions.max_age:
        return ""
    return (
        f"an engine may keep leave for {decisions.max_age:g}s: whoever's token is "
        "revoked meanwhile is let in for as long, except on routes with "
        "`revocation: strict`, which are asked about each time"
    )
