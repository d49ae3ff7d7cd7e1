import pytest

from gateway.doctor.finding import WHAT_TO_DO, advice, shown


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://id.example/introspect", "https://id.example/introspect"),
        (
            "https://user:SECRET@id.example:8443/a?key=SECRET",
            "https://id.example:8443/a",
        ),
        ("http://[::1]:9/a#SECRET", "http://[::1]:9/a"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(url, expected):
    """Login and query are nobody's business."""
    assert expected == shown(url)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("302", "redirects"),
        ("503", "fault of its own"),
        ("404", "nothing at this path"),
        ("418", ""),
    ],
)
def test_every_failure_has_its_advice(code, told):
    """Where there is one to give."""
    assert told in advice(code)
    assert all(WHAT_TO_DO.values())
