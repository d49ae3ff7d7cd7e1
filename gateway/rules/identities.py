"""Name a verifier by everything that could change its verdict. Floor 2: pure.

The name is a part of every cache key, so two verifiers that could disagree about a
token never read each other's facts (CVE-2026-33496). Secrets enter only through a
BLAKE2b fingerprint; the address is shown without its query.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b


def identity(kind: str, address: str, parts: Mapping[str, object]) -> str:
    """Give `kind address fingerprint`, the same in every process."""
    text = json.dumps(parts, sort_keys=True, default=_plain)
    fingerprint = blake2b(text.encode(), digest_size=16).hexdigest()
    return f"{kind} {address.partition('?')[0]} {fingerprint}"


def _plain(value: object) -> object:
    if isinstance(value, frozenset | set):
        return sorted(value)
    msg = f"a {type(value).__name__} has no part in an identity"
    raise TypeError(msg)
