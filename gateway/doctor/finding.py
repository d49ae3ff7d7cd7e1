"""What a check found, and what to do about it. Floor 5: pure. Never a secret."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

GOOD: Final = "good"
NOTE: Final = "note"
WARN: Final = "warn"
BAD: Final = "bad"

SIGNS: Final[Mapping[str, str]] = {GOOD: "✓", NOTE: "·", WARN: "!", BAD: "✕"}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    `level` is `good`, `note` (nothing is wrong), `warn` (something may be) or `bad`;
    `about` says what was looked at, `told` how it is, `todo` what to do.
    """

    level: str
    about: str
    told: str
    todo: str = ""


def shown(url: str) -> str:
    """Show an address without what may be secret in it: login, query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


WHAT_TO_DO: Final[Mapping[str, str]] = {
    "refused": "Is it running there, is the address right, may we reach it from here?",
    "timeout": "Is a firewall in between, or is it slow? `timeout` is how long we wait.",
    "tls": "Its certificate is not trusted, or not for this name: set `ca_file`.",
    "broken": "What came was no HTTP: is it the right port?",
    "encoded": "It compresses answers though asked not to: is a proxy in between?",
    "oversize": "It answered more than 64 KiB: is it the right path?",
    "404": "There is nothing at this path: is the URL right?",
    "405": "It takes no such method there: is the URL right?",
    "429": "It limits our questions: ask for a higher limit, or raise `cache.ttl`.",
}
"""What to do when a provider gave no usable answer, by how it failed."""


def advice(code: str) -> str:
    """Say what to do about a failure."""
    if code.startswith("3"):
        return "It redirects, and we do not follow: give the final URL."
    if code.startswith("5"):
        return "It has a fault of its own: its log tells more."
    return WHAT_TO_DO.get(code, "")
