"""Configuration texts for tests, and what is said of them."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from gateway.config.load import Loaded, load
from gateway.config.registry import Registry
from gateway.dialects import melon, nugu, ottm, rfc6750
from gateway.errors import ConfigError
from gateway.verifiers import introspection, jwt, learned, userinfo

REGISTRY = Registry(
    dialects={"rfc6750": rfc6750, "melon": melon, "nugu": nugu, "ottm": ottm},
    verifiers={
        "jwt": jwt,
        "introspection": introspection,
        "userinfo": userinfo,
        "learned": learned,
    },
    store_schemes=("memory", "redis"),
)

SECRET = "0123456789abcdef0123456789abcdef"
FRAME = f"version: 1\nsecret: {SECRET}\n"
TABLES = """\
providers:
  main:
    verify: [jwt]
    jwt: {algorithms: [HS256], key: a-key-of-more-than-thirty-two-characters}
    scopes: [read, write]
upstreams:
  api: {targets: ["http://127.0.0.1:8000"]}
"""
ROUTE = "routes:\n  - {id: a, match: {path: /a}, provider: main, upstream: api}\n"


def loaded(
    text: str | Path, environ: Mapping[str, str] | None = None, *, frame: str = FRAME
) -> Loaded:
    """Load a text behind the frame, or a file as it is."""
    source = text if isinstance(text, Path) else frame + dedent(text)
    return load(source, REGISTRY, environ or {})


def problems(
    text: str | Path, environ: Mapping[str, str] | None = None, *, frame: str = FRAME
) -> list[str]:
    """Give the problems of a text, without the name of the file."""
    try:
        loaded(text, environ, frame=frame)
    except ConfigError as error:
        return [line.removeprefix("<configuration>:") for line in error.problems]
    return []


def told(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Give the problems without their lines: `key: what was expected`."""
    return [line.partition(": ")[2] for line in problems(text, environ)]


def warned(text: str) -> list[str]:
    """Give the warnings without their lines."""
    return [line.partition(": ")[2] for line in loaded(text).warnings]


def route(rest: str) -> str:
    """Write a configuration with one route that has these keys besides."""
    first = "{id: a, match: {path: /a}, provider: main, upstream: api, "
    return f"{TABLES}routes:\n  - {first}{rest}}}\n"


def provider(text: str, routes: str = "") -> str:
    """Write a configuration with one provider, `p`, and one upstream, `api`."""
    upstreams = 'upstreams: {api: {targets: ["https://api.example"]}}\n'
    return f"providers:\n  p: {{{text}}}\n{upstreams}{routes}"
