"""Durations and sizes as people write them. Floor 2: pure.

`Duration` and `Size` are for every settings model, a plug-in's own too: the file says
`60s` or `64KiB`, the program sees seconds (float) or bytes (int) ever after. A bare
number is taken in the base unit, so models can also be built in code.
"""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
BYTES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "": 1}

# Digits are bounded, so no text can become an infinite or a giant number.
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|)")
_SIZE: Final = re.compile(r"([0-9]{1,12})(B|KiB|MiB|GiB|)")
_LONGEST: Final = 1_000_000_000  # seconds: some thirty years


def expected(what: str) -> PydanticCustomError:
    """Make the error of a value that is not what the language asks for.

    The report adds what was found in the file; fields that hold secrets raise
    something else (`fields.SecretString`), which it does not show.
    """
    return PydanticCustomError("expected", "expected {what}", {"what": what})


def parse_duration(value: object) -> float:
    """Read a duration: `500ms`, `60s`, `5m`, `1h`, or a number of seconds."""
    seconds = -1.0
    if isinstance(value, str) and (found := _DURATION.fullmatch(value)):
        seconds = float(found[1]) * SECONDS[found[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    if 0 <= seconds <= _LONGEST:  # neither below zero nor NaN nor infinite
        return seconds
    raise expected("a duration such as 500ms, 60s, 5m or 1h")


def parse_size(value: object) -> int:
    """Read a size: `512B`, `64KiB`, `8MiB`, `1GiB`, or a number of bytes."""
    size = -1
    if isinstance(value, str) and (found := _SIZE.fullmatch(value)):
        size = int(found[1]) * BYTES[found[2]]
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value
    if size >= 0:
        return size
    raise expected("a size such as 512B, 64KiB, 8MiB or 1GiB")


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{_DURATION.pattern}$"},
                {"type": "number", "minimum": 0, "maximum": _LONGEST},
            ]
        }
    ),
]
"""Seconds, written with a unit."""

PositiveDuration = Annotated[Duration, Field(gt=0)]
"""Seconds, and more than none: a deadline of zero would refuse everything."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{_SIZE.pattern}$"},
                {"type": "integer", "minimum": 0},
            ]
        }
    ),
]
"""Bytes, written with a unit."""

PositiveSize = Annotated[Size, Field(gt=0)]
"""Bytes, at least one."""
