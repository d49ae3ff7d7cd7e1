"""Fixtures for every test."""

import pytest

from tests.fakes import Clock


@pytest.fixture
def clock():
    """Time, moved by hand."""
    return Clock()
