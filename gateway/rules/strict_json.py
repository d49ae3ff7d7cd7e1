"""Read a provider's JSON so that no two readers could disagree. Floor 2: pure.

Provider answers and token claims decide who is let in, so a text with two readings is
no answer at all: duplicate members (`{"active":false,"active":true}`), numbers that
are not finite, a BOM, lone surrogates and anything but an object at the top are
refused (RFC 8259 §4 and §8.2). The size is capped by who reads it.
"""

import json
import math
from typing import Final, NoReturn

Members = dict[str, object]
"""The members of a decoded object; nothing is known of their types yet."""

_ESCAPE: Final = "\\u"


class UnusableJson(ValueError):
    """Not one JSON object that every reader reads alike. Never quotes the text."""


def decode(body: bytes) -> Members:
    """Give the members of the one JSON object in `body`, else raise `UnusableJson`."""
    try:
        # A BOM survives this decoding, and json then refuses it (RFC 8259 §8.1).
        text = body.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_distinct,
            parse_constant=_refuse,
            parse_float=_finite,
        )
        if _ESCAPE in text:
            # An escaped lone surrogate is a string that no UTF-8 can carry onward.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        # `from None`: the decoder's own exception holds the whole text.
        msg = "not strict JSON"
        raise UnusableJson(msg) from None
    if not isinstance(value, dict):
        msg = "not a JSON object"
        raise UnusableJson(msg)
    return value


def _distinct(pairs: list[tuple[str, object]]) -> Members:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _refuse(_constant: str) -> NoReturn:
    raise ValueError


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number
