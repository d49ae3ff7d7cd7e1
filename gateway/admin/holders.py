"""Who calls, by the certificate they have shown. Floor 4: pure.

The handshake has proven that an authority of `admin.tls.client_ca` signed it, and that
it was good then. A connection may last for longer than that, so when it ends is looked
at again by every request.
"""

import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Final

LONGEST: Final = 100

_NO_SIGN: Final = "\N{REPLACEMENT CHARACTER}"


def holder(shown: Mapping[str, Any] | None, now: float) -> str:
    """Name whose verified certificate it is; "" for none, or one that has expired.

    `shown` is what `SSLSocket.getpeercert` gives.
    """
    if not shown or now >= ssl.cert_time_to_seconds(shown["notAfter"]):
        return ""
    for name in _names(shown):
        # Whoever signed it may have let anything into it; this goes into a log.
        told = "".join(sign if sign.isprintable() else _NO_SIGN for sign in name)
        if told.strip():
            return told[:LONGEST]
    return f"serial {shown['serialNumber']}"


def _names(shown: Mapping[str, Any]) -> Iterator[str]:
    """Give its names, the best one first: the common one, then the alternatives."""
    for part in shown.get("subject", ()):
        yield from (value for key, value in part if key == "commonName")
    # A name of a directory comes in pieces, and is no text.
    yield from (
        value for _, value in shown.get("subjectAltName", ()) if isinstance(value, str)
    )
