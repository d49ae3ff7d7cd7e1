import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.ranges import requested

SIZE = 1000


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=0-", range(1000)),
        ("Bytes=10-19", range(10, 20)),
        ("bytes=990-5000", range(990, 1000)),
        ("bytes=-5", range(995, 1000)),
        ("bytes=-5000", range(1000)),
    ],
)
def test_one_range_is_understood(header, expected):
    """RFC 9110 §14.1.2, with its examples' shapes."""
    assert expected == requested(header, SIZE)


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-1001", "bytes=-0"])
def test_what_lies_beyond_the_end_is_an_empty_range(header):
    """Empty means 416."""
    assert not requested(header, SIZE)
    assert requested(header, SIZE) is not None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes=-",
        "bytes=5-4",
        "bytes=0-1,5-6",
        "items=0-1",
        "bytes=a-b",
        "bytes=" + "9" * 5000 + "-",
        "bytes=１-",  # noqa: RUF001 -- a digit, but not ASCII
    ],
)
def test_what_is_not_understood_is_ignored(header):
    """RFC 9110 §14.2: an invalid or multiple range may get the whole."""
    assert requested(header, SIZE) is None


@given(st.text(), st.integers(1, 10**6))
def test_no_header_leads_outside(header, size):
    """Whatever is asked lies within the representation."""
    part = requested(header, size)

    assert part is None or 0 <= part.start <= part.stop <= size


@given(st.integers(0, 999), st.integers(0, 999))
def test_every_inner_range_is_exact(first, length):
    """What is asked within the representation is what is given."""
    last = min(first + length, SIZE - 1)

    assert range(first, last + 1) == requested(f"bytes={first}-{last}", SIZE)
