from hypothesis import given
from hypothesis import strategies as st

from gateway.rules import response_headers as module
from gateway.rules.headers import header_lines
from gateway.rules.response_headers import response_headers, response_lines
from gateway.values import REPEATED, Header


def test_a_response_loses_what_was_meant_for_us():
    """Hop-by-hop fields, what `Connection` lists, and a request id not ours."""
    headers: list[Header] = [
        (b"date", b"now"),
        (b"connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"keep-alive", b"timeout=5"),
        (b"transfer-encoding", b"chunked"),
        (b"proxy-authenticate", b"Basic"),
        (b"x-request-id", b"theirs"),
        (b"www-authenticate", b'Bearer realm="a"'),
        (b"set-cookie", b"a=\xff"),
        (b"set-cookie", b"b=1"),
        (b"x_y", b"1"),
        (b"access-control-allow-origin", b"*"),
    ]

    expected = [headers[0], *headers[7:], (b"x-request-id", b"id-1")]
    assert expected == response_headers(headers, request_id=b"id-1")
    assert header_lines(expected) == response_lines(headers, request_id=b"id-1")


def test_a_routes_cors_replaces_the_upstreams():
    """Two allowed origins would be none to a browser; Vary adds up."""
    headers: list[Header] = [
        (b"access-control-allow-origin", b"*"),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", b"etag"),
        (b"vary", b"Accept"),
    ]

    out = response_headers(headers, request_id=b"id-1", cors=((b"vary", b"Origin"),))

    expected = [*headers[2:], (b"vary", b"Origin"), (b"x-request-id", b"id-1")]
    assert expected == out


def test_the_answer_to_a_query_token_is_private():
    """RFC 6750 §2.3: in no shared cache; and the URL is for no other site's eyes."""
    rest = [(b"referrer-policy", b"no-referrer"), (b"x-request-id", b"id-1")]
    cached: list[Header] = [(b"cache-control", b"no-store")]

    bare = response_headers([], request_id=b"id-1", query_token=True)
    own = response_headers(cached, request_id=b"id-1", query_token=True)

    assert [(b"cache-control", b"private"), *rest] == bare
    assert [*cached, *rest] == own


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [*sorted(REPEATED), b"x-one", b"x-request-id", b"set-cookie", b"te"]
        ),
        st.sampled_from([b"1", b"close", b"Keep-Alive", b"x-one, vary", b"y" * 129]),
    ),
    max_size=6,
)
CORS = st.sampled_from([(), ((b"vary", b"Origin"),)])


@given(HEADERS, CORS, st.booleans())
def test_lines_from_memory_are_the_lines_that_would_be_written(headers, cors, query):
    """Whatever servers said before, and whichever names `Connection` takes away."""
    told = {"request_id": b"id-1", "cors": cors, "query_token": query}

    lines = response_lines(headers, **told)

    assert header_lines(response_headers(headers, **told)) == lines


def test_what_may_be_a_secret_or_is_new_each_time_is_not_remembered():
    """Only what servers repeat is kept, and of that so much."""
    cookie: Header = (b"set-cookie", b"session=1")
    dates: list[Header] = [(b"date", b"%d" % number) for number in range(600)]

    for date in dates:
        response_lines([date, cookie, (b"vary", b"v" * 200)], request_id=b"id")

    assert dates[-1] in module._lines
    assert cookie not in module._lines
    assert len(module._lines) <= 512
    assert all(len(value) <= 128 for _, value in module._lines)
