import base64
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox import forms

TEXT = st.text(st.characters(codec="utf-8"))


@given(st.dictionaries(TEXT, TEXT, max_size=8), st.sampled_from([quote, None]))
def test_whatever_was_encoded_is_read_back(parameters, quoting):
    """Both spellings of a space are understood, and empty values are kept."""
    encoded = (
        urlencode(parameters, quote_via=quoting) if quoting else urlencode(parameters)
    )

    assert parameters == forms.parse(encoded.encode())


def test_empty_pairs_are_passed_over():
    """A sample of ottm's guide begins its query with an empty pair."""
    assert {"scope": "openid"} == forms.parse(b"&scope=openid&")


@pytest.mark.parametrize(
    "encoded",
    [b"a=1&a=2", b"a=%FF", b"a=\xff", b"&".join(b"%d=" % n for n in range(65))],
    ids=["repeated", "no UTF-8", "raw, no UTF-8", "too many"],
)
def test_what_no_client_should_send_is_not_read(encoded):
    """Repeated parameters and other encodings are `invalid_request`."""
    assert forms.parse(encoded) is None


def basic(text: str) -> str:
    """Spell a text as HTTP Basic credentials."""
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_basic_credentials_are_decoded_twice():
    """RFC 6749 §2.3.1: form-encoded first, then base64."""
    assert ("a b", "c:d") == forms.parse_basic(basic("a+b:c%3Ad"))


@pytest.mark.parametrize(
    "value",
    ["", "Bearer abc", "Basic", "Basic ***", "Basic /w==", basic("nocolon")],
)
def test_what_is_not_basic_is_none(value):
    """Another scheme, bad base64, bytes that are no text, half a pair."""
    assert forms.parse_basic(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [("Bearer abc", "abc"), ("bearer  abc", "abc"), ("Bearer", None), ("abc", None)],
)
def test_bearer_token_is_found(value, expected):
    """The scheme's case does not matter (RFC 9110 §11.1)."""
    assert expected == forms.parse_bearer(value)
