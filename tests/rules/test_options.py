import pytest

from gateway.rules.options import answer_as_last
from gateway.values import Answer, Route
from tests.rules.heads import head

ROUTE = Route(id="r", methods=frozenset({"POST", "OPTIONS"}))


def test_the_last_recipient_answers():
    """RFC 9110 §7.6.2: what the route allows, and no content."""
    asked = head("OPTIONS", b"/", (b"max-forwards", b"0"))

    assert Answer(204, ((b"allow", b"OPTIONS, POST"),), b"") == answer_as_last(
        asked, ROUTE
    )
    everything = answer_as_last(asked, Route(id="all"))
    assert everything is not None
    assert (b"allow", b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT") in (
        everything.headers
    )


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("OPTIONS", []),
        ("OPTIONS", [b"1"]),
        ("OPTIONS", [b"0", b"0"]),
        ("GET", [b"0"]),
    ],
)
def test_all_others_go_on(method, values):
    """It counts for OPTIONS and TRACE alone."""
    asked = head(method, b"/", *[(b"max-forwards", value) for value in values])

    assert answer_as_last(asked, ROUTE) is None
