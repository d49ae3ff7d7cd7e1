"""A track to stream: four chords, plucked, as a WAV file made while it is read. Pure.

Apart from the floors. Any byte can be had without the bytes before it, so a range costs
what it is long; a bar is computed once, when somebody first hears it.
"""

import functools
import math
import struct
import zlib
from collections.abc import Iterator
from typing import Final

RATE: Final = 22_050
BAR_SECONDS: Final = 2
ROUNDS: Final = 4
# I-vi-IV-V as semitones above the key: every note of a chord, bass first.
PROGRESSION: Final = (
    (0, 12, 16, 19),
    (-3, 9, 12, 16),
    (-7, 5, 9, 12),
    (-5, 7, 11, 14),
)
LOWEST_KEY: Final = 130.81  # C3, in hertz
KEYS: Final = 12
CYCLE: Final = 4096
HEADER_BYTES: Final = 44
CHUNK_BYTES: Final = 64 * 1024
_BAR_SAMPLES: Final = RATE * BAR_SECONDS
_BAR_BYTES: Final = _BAR_SAMPLES * 2
_DATA_BYTES: Final = _BAR_BYTES * len(PROGRESSION) * ROUNDS

SIZE_BYTES: Final = HEADER_BYTES + _DATA_BYTES
"""The size of every track: 32 seconds of 16-bit mono."""


def key_of(track: str) -> int:
    """Give the musical key of a track: tracks differ by it, and only by it."""
    return zlib.crc32(track.encode()) % KEYS


def read(key: int, part: range) -> Iterator[bytes]:
    """Give the bytes of a track at the positions of `part`, piece by piece."""
    position = part.start
    while position < part.stop:
        piece = _piece(key, position)[: min(part.stop - position, CHUNK_BYTES)]
        yield piece
        position += len(piece)


def _piece(key: int, position: int) -> bytes:
    """Give the rest of the header or bar that `position` lies in."""
    if position < HEADER_BYTES:
        return _header()[position:]
    bar, offset = divmod(position - HEADER_BYTES, _BAR_BYTES)
    return _bar(key, bar % len(PROGRESSION))[offset:]


def _header() -> bytes:
    shape = struct.pack("<HHIIHH", 1, 1, RATE, RATE * 2, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", SIZE_BYTES - 8)
        + b"WAVEfmt "
        + struct.pack("<I", len(shape))
        + shape
        + b"data"
        + struct.pack("<I", _DATA_BYTES)
    )


@functools.lru_cache(maxsize=KEYS * len(PROGRESSION))
def _bar(key: int, chord: int) -> bytes:
    """Compute two seconds of a chord, its notes struck one after another."""
    cycle, swell = _cycle(), _swell()
    mix = [0.0] * _BAR_SAMPLES
    for place, semitones in enumerate(PROGRESSION[chord]):
        step = LOWEST_KEY * 2 ** ((key + semitones) / 12) * CYCLE / RATE
        start = place * RATE // 8
        for index in range(_BAR_SAMPLES - start):
            mix[start + index] += swell[index] * cycle[int(step * index) % CYCLE]
    fade = RATE // 10
    for index in range(1, fade + 1):
        mix[-index] *= (index - 1) / fade
    return struct.pack(f"<{_BAR_SAMPLES}h", *map(int, mix))


@functools.cache
def _cycle() -> list[float]:
    """Give one cycle of a note and its first overtone; four notes never clip."""
    turns = [2 * math.pi * index / CYCLE for index in range(CYCLE)]
    return [5500 * (math.sin(turn) + 0.3 * math.sin(2 * turn)) for turn in turns]


@functools.cache
def _swell() -> list[float]:
    """Give the loudness of a note: a soft attack, a slow decay."""
    attack = RATE // 100
    return [
        min(index / attack, 1.0) * math.exp(-1.8 * index / RATE)
        for index in range(_BAR_SAMPLES)
    ]
