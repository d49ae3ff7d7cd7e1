import json

import pytest

from gateway.sandbox.provider import Fault, Refusal, word_rfc6749
from gateway.sandbox.providers.melon import MELON
from gateway.sandbox.providers.nugu import NUGU
from gateway.sandbox.providers.ottm import OTTM

USERINFO_FAULTS = {Fault.BAD_TOKEN, Fault.NARROW_TOKEN}


@pytest.mark.parametrize("provider", [MELON, NUGU, OTTM], ids=lambda given: given.name)
def test_every_fault_has_words(provider):
    """A provider with userinfo words its faults too; the others never meet them."""
    unmet = set() if "userinfo" in provider.paths else USERINFO_FAULTS

    assert set(Fault) - unmet == set(provider.refusals)


def test_refused_input_is_written_where_the_words_ask_for_it():
    """The body stays JSON whatever was refused."""
    answer = NUGU.refuse(Fault.BAD_CODE, 'a"b')

    assert isinstance(answer.body, bytes)
    assert (
        'Invalid authorization code: a"b'
        == (json.loads(answer.body)["error_description"])
    )


def test_body_is_written_without_spaces():
    """As in the samples."""
    assert '{"error":"e","error_description":"d"}' == word_rfc6749(
        Refusal(400, "e", "d")
    )


def test_nothing_is_to_be_kept():
    """RFC 6749 §5.1."""
    answer = OTTM.answer("{}")

    assert ("no-store", "no-cache") == (
        answer.headers["Cache-Control"],
        answer.headers["Pragma"],
    )
