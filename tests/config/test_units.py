import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from gateway.config.units import (
    BYTES,
    SECONDS,
    Duration,
    PositiveDuration,
    PositiveSize,
    Size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("60s", 60.0),
        ("1.5s", 1.5),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("0s", 0.0),
        ("61", 61.0),
        (60, 60.0),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_seconds_ever_after(text, seconds):
    """A unit is read once; a bare number is in seconds."""
    assert seconds == parse_duration(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "60 s",
        "60S",
        "-1s",
        "+1s",
        "1d",
        "1e3s",
        ".5s",
        "1.s",
        "1h30m",
        "٣s",
        "9999999999s",
        "999999999h",
        -1,
        True,
        math.nan,
        math.inf,
        None,
        ["60s"],
    ],
)
def test_what_is_no_duration_is_refused_in_plain_words(text):
    """The message says what would have been right."""
    with pytest.raises(PydanticCustomError, match="expected a duration such as 500ms"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512B", 512),
        ("64KiB", 65536),
        ("8MiB", 8_388_608),
        ("1GiB", 1_073_741_824),
        ("0", 0),
        (65536, 65536),
    ],
)
def test_a_size_is_bytes_ever_after(text, size):
    """A unit is read once; a bare number is in bytes."""
    assert size == parse_size(text)


@pytest.mark.parametrize(
    "text", ["", "KiB", "64KB", "64kib", "1.5MiB", "-1B", "1TiB", -1, 1.0, True, None]
)
def test_what_is_no_size_is_refused_in_plain_words(text):
    """Decimal units are refused, since half of the world means the binary ones."""
    with pytest.raises(PydanticCustomError, match="expected a size such as 512B"):
        parse_size(text)


@given(st.integers(0, 99_999), st.sampled_from([unit for unit in SECONDS if unit]))
def test_every_duration_with_a_unit_is_read(number, unit):
    """A number times its unit."""
    assert math.isclose(number * SECONDS[unit], parse_duration(f"{number}{unit}"))


@given(st.integers(0, 10**12 - 1), st.sampled_from(sorted(BYTES)))
def test_every_size_with_a_unit_is_read(number, unit):
    """A number times its unit, exactly."""
    assert number * BYTES[unit] == parse_size(f"{number}{unit}")


@given(st.text() | st.floats() | st.integers())
def test_whatever_is_given_is_a_finite_length_or_an_error(given_value):
    """No text, however odd, becomes a negative or endless time, or another error."""
    try:
        seconds = parse_duration(given_value)
    except PydanticCustomError:
        return

    assert 0 <= seconds < math.inf


def test_models_may_ask_for_more_than_nothing():
    """A deadline of zero would refuse everything."""
    for kind, nothing in ((PositiveDuration, "0s"), (PositiveSize, "0B")):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(nothing)
    assert 0.0 == TypeAdapter(Duration).validate_python("0s")
    assert 0 == TypeAdapter(Size).validate_python("0B")
