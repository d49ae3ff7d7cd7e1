import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.trace_context import Parent, parent, read, without
from gateway.values import Header

TRACE = 0x0AF7651916CD43DD8448EB211C80319C
SPAN = 0xB7AD6B7169203331
GOOD = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def told(*values: bytes, state: tuple[bytes, ...] = ()) -> list[Header]:
    """Write the headers."""
    return [
        *((b"traceparent", value) for value in values),
        *((b"tracestate", value) for value in state),
    ]


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (GOOD, True),
        (GOOD[:-2] + b"00", False),
        (GOOD[:-2] + b"03", True),
        (b"01" + GOOD[2:] + b"-what-the-future-brings", True),
        (b"cc" + GOOD[2:], True),
    ],
)
def test_a_traceparent_is_read(value, sampled):
    """Version 00 to the letter, of later ones what is known."""
    assert Parent(TRACE, SPAN, sampled) == read(told(value))


@pytest.mark.parametrize(
    "values",
    [
        (),
        (GOOD, GOOD),
        (b"",),
        (GOOD + b"-more",),
        (GOOD.upper(),),
        (b"ff" + GOOD[2:],),
        (GOOD[:-1],),
        (GOOD + b"0",),
        (b" " + GOOD,),
        (GOOD + b"\n",),
        (GOOD.replace(b"-", b"_"),),
        (b"00-" + b"0" * 32 + GOOD[35:],),
        (GOOD[:36] + b"0" * 16 + b"-01",),
        (b"01" + GOOD[2:] + b"more",),
    ],
)
def test_what_is_no_traceparent_is_none(values):
    """W3C Trace Context §3.2.2: identifiers of zeros are invalid, and capitals."""
    assert read(told(*values, state=(b"a=1",))) is None


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ((), b""),
        ((b"a=1", b"b=2"), b"a=1,b=2"),
        ((b"a=" + b"x" * 600,), b""),
        ((b"a=\xff",), b""),
        ((b"a=1\r\nx: y",), b""),
    ],
)
def test_a_tracestate_travels_along_if_it_can(state, expected):
    """It is printable, and not too long; else it ends here."""
    found = read(told(GOOD, state=state))

    assert found is not None
    assert expected == found.state


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_written_can_be_read(trace_id, span_id, sampled):
    """By the next one on the way, who may be us."""
    value = parent(trace_id, span_id, sampled=sampled)

    assert Parent(trace_id, span_id, sampled) == read(told(value))


def test_the_other_headers_stay():
    """In their order."""
    other = [(b"host", b"a"), (b"x-traceparent", b"b")]

    assert other == without([other[0], *told(GOOD, state=(b"a=1",)), other[1]])
