import pytest

from tests.verifiers.provider import ScriptedProvider


@pytest.fixture
def provider():
    """Who is asked."""
    return ScriptedProvider()
