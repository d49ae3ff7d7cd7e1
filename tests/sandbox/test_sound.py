import array
import io
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox import sound

KEY = 3
WHOLE = b"".join(sound.read(KEY, range(sound.SIZE_BYTES)))


def test_track_is_a_wav_file_that_plays():
    """A player finds half a minute of 16-bit mono."""
    with wave.open(io.BytesIO(WHOLE)) as track:
        shape = (track.getnchannels(), track.getsampwidth(), track.getframerate())
        seconds = track.getnframes() / track.getframerate()

    assert sound.SIZE_BYTES == len(WHOLE)
    assert (1, 2, sound.RATE) == shape
    assert 32.0 == seconds


def test_track_is_heard_and_never_clips():
    """Every bar sounds, and ends in silence so that no click joins it to the next."""
    samples = array.array("h", WHOLE[sound.HEADER_BYTES :])
    length = sound.RATE * sound.BAR_SECONDS
    for start in range(0, len(samples), length):
        bar = samples[start : start + length]

        assert 5_000 < max(map(abs, bar)) < 32_000
        assert 100 > max(map(abs, bar[-20:]))


@given(
    st.integers(0, sound.SIZE_BYTES), st.integers(0, 200_000), st.sampled_from([KEY])
)
def test_any_part_is_the_same_bytes_as_in_the_whole(start, length, key):
    """A range costs what it is long, and pieces stay small."""
    part = range(start, min(start + length, sound.SIZE_BYTES))
    pieces = list(sound.read(key, part))

    assert WHOLE[part.start : part.stop] == b"".join(pieces)
    assert all(0 < len(piece) <= sound.CHUNK_BYTES for piece in pieces)


@pytest.mark.parametrize("track", ["1001", "멜론", ""])
def test_every_track_has_a_key(track):
    """Tracks differ in sound, always the same way."""
    assert sound.key_of(track) == sound.key_of(track)
    assert 0 <= sound.key_of(track) < sound.KEYS


def test_keys_sound_different():
    """Another key, other bytes: a mixed-up track is noticed."""
    part = range(sound.HEADER_BYTES, 60_000)

    assert b"".join(sound.read(4, part)) != WHOLE[part.start : part.stop]
