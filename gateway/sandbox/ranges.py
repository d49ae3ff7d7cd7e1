"""Which part of a representation a `Range` header asks for. Pure.

Apart from the floors. RFC 9110 §14: what is not understood is ignored, and more than
one range may be answered with the whole.
"""

import re
from typing import Final

# The longest number is bounded: nothing here is near 10^18 bytes.
_BYTES: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)


def requested(header: str, size: int) -> range | None:
    """Give the asked-for byte positions, or None for the whole.

    An empty range is one that cannot be satisfied: 416.
    """
    match = _BYTES.fullmatch(header.strip())
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        # The last so many bytes; fewer if there are not that many.
        return range(max(size - int(last), 0), size) if last else None
    if not last:
        return range(min(int(first), size), size)
    if int(last) < int(first):
        return None
    return range(min(int(first), size), min(int(last) + 1, size))
