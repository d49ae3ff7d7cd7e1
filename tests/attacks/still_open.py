"""Holes that are known and open: the case that shows each, and why it is one.

A case listed here must fail; once it passes it is struck off, here and in SECURITY.md,
which names every reason.
"""

from typing import Final

import pytest

_FORWARDS: Final = "Max-Forwards of an OPTIONS is not looked at"

OPEN: Final = {
    # test_received
    "Max-Forwards is counted down": _FORWARDS,
    "max_forwards_zero": _FORWARDS,
}


def excuse(request: pytest.FixtureRequest, name: str) -> None:
    """Expect a case to fail if it is listed."""
    if name in OPEN:
        request.applymarker(pytest.mark.xfail(reason=OPEN[name], strict=True))
