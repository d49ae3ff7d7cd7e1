"""The kinds of load, and what one trial under a load gives. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.figures import MEBIBYTE, Rounds

OURS: Final = "gateway"
DIRECT: Final = "direct"
"""The upstream with nobody in front."""

DOOR: Final = "gateway, /nginx"
"""The decision door for nginx, without nginx."""

SMALL: Final = "/items/1k"
STORE_TOKENS: Final = 1500
"""How many tokens `many.lua` goes through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One kind of load. `refused`: every answer has to be a refusal, else none.

    `body_bytes` is what one request moves, where that is the point of it.
    """

    name: str
    title: str
    connections: int
    path: str = SMALL
    token: str = "good"
    script: str = ""
    refused: bool = False
    body_bytes: int = 0


HIT_1: Final = Load(
    name="hit-1", title="Cached token, 1 connection, 1 KiB", connections=1
)
HIT_64: Final = Load(
    name="hit-64", title="Cached token, 64 connections, 1 KiB", connections=64
)
HIT_512: Final = Load(
    name="hit-512", title="Cached token, 512 connections, 1 KiB", connections=512
)
FRESH: Final = Load(
    name="fresh-64",
    title="Cached token, header lines that never repeat, 64 connections",
    connections=64,
    script="fresh.lua",
)
REFUSED: Final = Load(
    name="refused-64",
    title="A token known to be bad, 64 connections",
    connections=64,
    token="bad",
    refused=True,
)
DOWNLOAD: Final = Load(
    name="download-8",
    title="Download of 10 MiB, 8 connections",
    connections=8,
    path="/items/10m",
    body_bytes=10 * MEBIBYTE,
)
UPLOAD: Final = Load(
    name="upload-8",
    title="Upload of 1 MiB, 8 connections",
    connections=8,
    path="/items/upload",
    script="upload.lua",
    body_bytes=MEBIBYTE,
)
ROUTES: Final = Load(
    name="routes-64", title="10 against 10,000 routes, 64 connections", connections=64
)
STORE: Final = Load(
    name="store-64",
    title="Not in memory but in the shared store, 64 connections",
    connections=64,
    token="",
    script="many.lua",
)
DECISION: Final = Load(
    name="decision-64",
    title="The decision door alone, cached token, 64 connections",
    connections=64,
    path="/nginx",
    script="asks.lua",
)
ENGINES: Final = Load(
    name="engines-64",
    title="Engines that ask us, cached token, 64 connections, 1 KiB",
    connections=64,
)
UNKNOWN: Final = Load(
    name="unknown-32",
    title="A token nobody has seen with each request, 32 connections",
    connections=32,
    token="",
    script="unknown.lua",
    refused=True,
)


@dataclass(frozen=True, slots=True)
class Trial:
    """A load, the samples of each contestant by name, and why others have none."""

    load: Load
    samples: Mapping[str, Rounds]
    failed: Mapping[str, str]
