"""Proves that names are found as the system finds them."""

import socket

import pytest

from gateway.wire.resolve import resolve


async def test_a_name_has_addresses_each_once():
    """Whatever the order in which the system gives them."""
    found = await resolve("localhost", 80)

    assert {"127.0.0.1", "::1"} >= set(found)
    assert len(set(found)) == len(found) > 0


async def test_an_address_is_its_own():
    """No question is asked for it."""
    assert ["127.0.0.1"] == await resolve("127.0.0.1", 80)


@pytest.mark.parametrize("name", ["no-such-name.invalid", "a..b"])
async def test_a_name_that_nobody_has_is_an_error(name):
    """Of the two kinds that the promise names."""
    with pytest.raises((socket.gaierror, UnicodeError)):
        await resolve(name, 80)
