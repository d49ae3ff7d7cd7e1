"""Proves what every value promises: it does not change, and tells no token."""

import dataclasses
import inspect
from typing import Final, get_origin

import msgspec
import pytest

from gateway import values
from gateway.values import (
    INVALID_TOKEN,
    Credentials,
    Denial,
    Exchange,
    Reason,
    RequestHead,
    Secret,
    Target,
    TokenPlace,
    decisions,
)
from gateway.wire.heads import ParsedHead, Plan

CLASSES = [each for _, each in inspect.getmembers(values, inspect.isclass)]
STRUCTS = [each for each in CLASSES if issubclass(each, msgspec.Struct)]
RECORDS = [each for each in CLASSES if dataclasses.is_dataclass(each)]
COMPILED = not decisions.__file__.endswith(".py")


def head(*headers: tuple[bytes, bytes]) -> RequestHead:
    """Make a request head with these headers."""
    return RequestHead(
        method="GET",
        target=Target(b"/a", None, (b"a",)),
        host="h",
        authority=b"h",
        headers=list(headers),
        peer="127.0.0.1",
        scheme="http",
    )


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_values_are_frozen_and_light(struct):
    """Nobody can change what was decided; the collector has nothing to visit."""
    assert struct.__struct_config__.frozen
    assert struct.__doc__
    assert not struct.__struct_config__.gc


@pytest.mark.skipif(COMPILED, reason="a class no longer tells what it was made of")
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_what_requests_read_does_not_change_either(record):
    """It is frozen; or, made on every request, none of its fields may be set again.

    That the type checker sees to; compiled, so does the class.
    """
    fields = dataclasses.fields(record)

    assert record.__dataclass_params__.frozen or all(
        get_origin(field.type) is Final for field in fields
    )


@pytest.mark.skipif(not COMPILED, reason="the type checker alone sees to it")
def test_compiled_what_is_made_on_every_request_cannot_be_changed_either():
    """Whoever was refused, was; and nothing else can take a verdict's place."""
    denial = Denial(reason=Reason.EXPIRED)

    with pytest.raises(AttributeError):
        denial.reason = Reason.INTERNAL  # type: ignore[misc]
    with pytest.raises(TypeError):
        Denial(reason=Reason.EXPIRED, realm=None)  # type: ignore[arg-type]


def test_no_head_shows_what_it_holds():
    """A token may stand in its lines, in its target, and in what is remembered of it."""
    line = (b"authorization", b"Bearer T.1")
    asked = RequestHead(
        method="GET",
        target=Target(b"/a", b"access_token=T.1", (b"a",)),
        host="h",
        authority=b"h",
        headers=[line],
        peer="127.0.0.1",
        scheme="http",
        memory={"authorization": line},
    )
    parsed = ParsedHead(
        method="GET",
        target=asked.target.raw,
        headers=[line],
        body=0,
        http10=False,
        close=False,
        expects=False,
        upgrade=b"",
    )
    plan = Plan(target=asked.target.raw, lines=b"authorization: Bearer T.1\r\n")

    assert "T.1" not in f"{asked} {asked.target} {parsed} {plan}"


def test_a_value_cannot_be_changed():
    """The type says so, and means it."""
    value = Credentials(Secret("T.1"), TokenPlace.HEADER)

    with pytest.raises(AttributeError):
        value.token = Secret("T.2")  # type: ignore[misc]


def test_what_is_noted_of_a_token_is_of_no_other():
    """A fingerprint beside the wrong token would find another's facts."""
    first = Credentials(Secret("T.1"), TokenPlace.HEADER)
    first.notes["fingerprint"] = b"of T.1"
    other = dataclasses.replace(first, token=Secret("T.2"))

    assert {} == other.notes
    assert first == Credentials(Secret("T.1"), TokenPlace.HEADER)


@pytest.mark.parametrize(
    ("query", "raw"), [(None, b"/a"), (b"", b"/a?"), (b"b=c", b"/a?b=c")]
)
def test_a_target_is_written_as_it_was_read(query, raw):
    """An empty query is not the same as none."""
    assert raw == Target(b"/a", query, (b"a",)).raw


def test_a_head_gives_all_values_of_a_header_in_order():
    """A second one is never hidden behind the first."""
    lines = ((b"x", b"1"), (b"y", b"2"), (b"x", b"3"))

    assert [b"1", b"3"] == head(*lines).values(b"x")
    assert [] == head(*lines).values(b"z")


def test_a_secret_is_a_string_that_never_shows_itself():
    """Not in a log, not in an error, not inside of another value."""
    secret = Secret("SECRET")
    credentials = Credentials(secret, TokenPlace.HEADER)
    shown = f"{secret!r} {[secret]} {credentials!r} {credentials}"

    assert "SECRET" == secret
    assert "SECRET" not in shown
    assert "Credentials(place=header)" == repr(credentials)


def test_reasons_are_one_vocabulary():
    """Each has its own word, fit for a metric's label."""
    words = [reason.value for reason in Reason]

    assert len(words) == len(set(words))
    assert all(word.isidentifier() and word == word.lower() for word in words)
    assert set(Reason) > INVALID_TOKEN


def test_an_outage_is_never_an_invalid_token():
    """Clients throw tokens away on a 401."""
    assert Reason.PROVIDER_UNAVAILABLE not in INVALID_TOKEN
    assert Reason.INTERNAL not in INVALID_TOKEN


def test_a_record_has_no_place_for_a_token():
    """Nor for a query, a header or a body."""
    fields = set(Exchange.__struct_fields__)

    assert fields.isdisjoint({"token", "credentials", "query", "target", "headers"})
