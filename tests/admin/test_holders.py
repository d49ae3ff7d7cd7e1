import ssl
from typing import Any

import pytest

from gateway.admin.holders import LONGEST, holder
from tests.wire.pki import Pki

END = "Jan 15 08:00:00 2027 GMT"
BEFORE = 1_800_000_000.0 - 1
NAMED: dict[str, Any] = {
    "notAfter": END,
    "serialNumber": "0C0FFEE",
    "subject": ((("organizationName", "shop"),), (("commonName", "ada"),)),
    "subjectAltName": (("email", "ada@shop.example"),),
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "ada"),
        ({"subject": ()}, "ada@shop.example"),
        ({"subject": ((("organizationName", "shop"),),)}, "ada@shop.example"),
        ({"subject": ((("commonName", " "),),)}, "ada@shop.example"),
        (
            {"subject": (), "subjectAltName": (("URI", "spiffe://shop/ada"),)},
            "spiffe://shop/ada",
        ),
        (
            {"subject": (), "subjectAltName": (("DirName", ((("x", "y"),),)),)},
            "serial 0C0FFEE",
        ),
        ({"subject": (), "subjectAltName": ()}, "serial 0C0FFEE"),
    ],
)
def test_whose_it_is(changes, expected):
    """The common name, else an alternative one, else what tells it from others."""
    assert expected == holder({**NAMED, **changes}, BEFORE)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("김아다", "김아다"),
        ("ada\n{}", "ada�{}"),
        ("a\x00\x1b[2Jb", "a��[2Jb"),
        ("ada\u202e", "ada�"),
        ("a" * 300, "a" * LONGEST),
    ],
)
def test_a_name_is_what_a_log_can_bear(name, expected):
    """Whoever signed it may have let anything into it."""
    shown = {**NAMED, "subject": ((("commonName", name),),)}

    assert expected == holder(shown, BEFORE)


@pytest.mark.parametrize("shown", [None, {}])
def test_who_shows_none_is_nobody(shown):
    """As `getpeercert` says it, in either way."""
    assert "" == holder(shown, BEFORE)


def test_one_that_has_ended_is_nobodys_any_more():
    """However long its connection lasts."""
    assert "" == holder(NAMED, BEFORE + 1)


def test_what_python_tells_of_a_real_certificate_is_understood(tmp_path):
    """By the name that its authority gave it."""
    pki = Pki(tmp_path)
    shown = ssl._ssl._test_decode_cert(str(pki.show("ada")))  # type: ignore[attr-defined]

    assert "ada" == holder(shown, BEFORE)
