"""Proves that failures are one family, and that a bad configuration tells all."""

import inspect

import pytest

from gateway import errors
from gateway.errors import (
    ConfigError,
    GatewayError,
    ProviderUnavailable,
    StoreUnavailable,
    TooManyUnknown,
)

FAMILY = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, Exception)
]


@pytest.mark.parametrize("failure", FAMILY)
def test_every_failure_is_ours_and_says_what_a_client_hears(failure):
    """One `except GatewayError` is enough, and each has its promise."""
    assert issubclass(failure, GatewayError)
    assert failure.__doc__


def test_an_outage_tells_when_to_come_back_if_it_knows():
    """0 is *nobody knows*."""
    assert 0 == ProviderUnavailable("down").retry_after
    assert 7 == TooManyUnknown("enough", retry_after=7).retry_after
    assert "down" == str(ProviderUnavailable("down"))


def test_a_store_that_failed_tells_how():
    """In a word for metrics, beside the words for people."""
    assert "other" == StoreUnavailable("down").kind
    assert "timeout" == StoreUnavailable("late", kind="timeout").kind
    assert "late" == str(StoreUnavailable("late", kind="timeout"))


def test_a_bad_configuration_tells_every_problem():
    """One line each, in order."""
    error = ConfigError(["a.yaml:1: x: expected y", "a.yaml:2: z: expected w"])

    assert ["a.yaml:1: x: expected y", "a.yaml:2: z: expected w"] == error.problems
    assert "a.yaml:1: x: expected y\na.yaml:2: z: expected w" == str(error)
