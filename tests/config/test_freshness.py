import pytest

from gateway.config.freshness import Cache, Questions, UnknownTokens
from tests.config.texts import ROUTE, TABLES, loaded, told

SECTION = TABLES.replace("    scopes:", "    {section}\n    scopes:")


def provider(section: str) -> str:
    """Write a configuration whose provider has this section too."""
    return SECTION.replace("{section}", section) + ROUTE


def test_facts_stay_fresh_by_default_and_outlive_nothing():
    """Grace is an operator's decision."""
    cache = loaded(TABLES + ROUTE).config.providers["main"].cache

    assert Cache() == cache
    assert (60.0, 10.0, 5.0, 0.0) == (
        cache.ttl,
        cache.negative_ttl,
        cache.refresh_ahead,
        cache.grace,
    )


def test_all_of_it_can_be_written():
    """As durations, sizes and counts."""
    text = provider(
        "cache: {ttl: 2m, negative_ttl: 1s, refresh_ahead: 10s, grace: 1h, memory: 1MiB}\n"
        "    questions: {at_once: 4, waiting: 8, failures: 3, pause: 2s,"
        " longest_pause: 1m}"
    )
    main = loaded(text + "limits: {unknown_tokens: {burst: 5, per_minute: 7}}\n").config

    assert main.limits.unknown_tokens == UnknownTokens(burst=5, per_minute=7)
    assert main.providers["main"].questions == Questions(
        at_once=4, waiting=8, failures=3, pause=2.0, longest_pause=60.0
    )
    assert main.providers["main"].cache == Cache(
        ttl=120.0,
        negative_ttl=1.0,
        refresh_ahead=10.0,
        grace=3600.0,
        memory=1024 * 1024,
    )


@pytest.mark.parametrize(
    ("section", "key", "expected"),
    [
        (
            "questions: {pause: 10s, longest_pause: 5s}",
            "questions",
            "a longest_pause that is not shorter than pause",
        ),
        ("questions: {at_once: 0}", "questions.at_once", "a whole number"),
        ("cache: {grace: -1s}", "cache.grace", "a duration"),
    ],
)
def test_what_is_wrong_is_told(section, key, expected):
    """With its key."""
    (problem,) = told(provider(section))

    assert problem.startswith(f"providers.main.{key}: expected {expected}")
