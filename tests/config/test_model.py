from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from gateway.config.model import Config, language
from gateway.values import Access, RouteKind, TokenPlace
from tests.config.texts import (
    REGISTRY,
    SECRET,
    TABLES,
    loaded,
    problems,
    provider,
    route,
    told,
)

LANGUAGE = language(REGISTRY)


def test_every_default_is_a_value_that_may_be_written():
    """What is left out is what the tables of config/README.md say."""
    config = loaded(
        f"{TABLES}routes: [{{id: a, match: {{path: /a}}, provider: main, upstream: api}}]"
    ).config

    assert "memory://" == config.store.url
    assert config.admin.token is None
    assert ("127.0.0.1", 9091) == config.listen.admin
    assert (RouteKind.API, Access.REQUIRED) == (
        config.routes[0].kind,
        config.routes[0].access,
    )
    assert frozenset({TokenPlace.HEADER}) == config.routes[0].token_from


def test_a_secret_may_be_one_or_several():
    """Of several the first seals and all open."""
    text = f"version: 1\nsecret: [{SECRET}, {SECRET[::-1]}]"

    assert (SECRET, SECRET[::-1]) == loaded(text, frame="").config.secret


def test_a_claim_may_have_one_value_or_several_of_any_kind():
    """Compared exactly, so the types are kept."""
    require = loaded(route("require: {claims: {a: x, b.c: [1, '1'], d: true}}")).config

    claims = require.routes[0].require.claims
    assert {"a": {"x"}, "b.c": {1, "1"}, "d": {True}} == claims
    assert bool is type(next(iter(claims["d"])))


def test_a_verifier_that_needs_no_settings_needs_no_section():
    """And one that does is asked for them by name."""
    [problem] = told(
        provider("verify: [learned, userinfo], userinfo: {url: 'https://a'}")
    )

    assert "providers.p.learned.token_endpoint: expected this key" == problem


@pytest.mark.parametrize(
    "verify", ["5", "[[1]]", "[{a: 1}]", "[dialect]", "[]", "null"]
)
def test_an_odd_list_of_verifiers_is_refused(verify):
    """Whatever it is."""
    lines = told(provider(f"verify: {verify}"))

    assert lines
    assert all(line.startswith("providers.p.verify") for line in lines)


def test_a_provider_gives_the_settings_of_its_verifiers():
    """By the verifier's name."""
    settings = loaded(TABLES).config.providers["main"].settings("jwt")

    assert ("HS256",) == settings.model_dump()["algorithms"]


def test_a_device_is_named_in_one_place():
    """A header or a query parameter."""
    claim = "device_claim: dvc, algorithms"
    text = route("require: {device: {query: d}}").replace("algorithms", claim)
    device = loaded(text).config.routes[0].require.device

    assert device is not None
    assert (None, "d") == (device.header, device.query)


@pytest.mark.parametrize(("workers", "number"), [("1", 1), ("'1'", 1), ("64", 64)])
def test_the_number_of_workers(workers, number):
    """Written either way; several need a store that they share."""
    store = "store: {url: 'redis://h'}\n"

    assert number == loaded(f"{store}workers: {workers}").config.workers
    assert 1 == loaded("").config.workers


# One meaningful slip for each family of keys: what an operator is likely to write.
SLIPS = [
    ("version: 2", "version"),
    ("include: routes.d/*.yaml", "include"),
    ("listen: {proxy: 8080}", "listen.proxy"),
    ("listen: {status: ':9090'}", "listen.status"),
    ("listen: {admin: 'localhost'}", "listen.admin"),
    ("store: {url: 'mysql://db'}", "store.url"),
    ("secret: short", "secret"),
    (f"secret: [{SECRET}, short]", "secret[1]"),
    ("admin: {token: short}", "admin.token"),
    ("admin: {token: ''}", "admin.token"),
    ("trusted_proxies: [0.0.0.0/0]", "trusted_proxies[0]"),
    ("trusted_peers: ['::/0']", "trusted_peers[0]"),
    ("decisions: {max_age: 61s}", "decisions.max_age"),
    ("listen: {authz: 'unix:/run/authz.sock'}", "listen.authz"),
    ("limits: {target: 8KB}", "limits.target"),
    ("limits: {header_count: 0}", "limits.header_count"),
    ("timeouts: {header: 0s}", "timeouts.header"),
    ("drain: {deadline: 1d}", "drain.deadline"),
    ("log: {access: yes}", "log.access"),
    ("log: {level: verbose}", "log.level"),
    ("workers: 0", "workers"),
    ("workers: 65", "workers"),
    ("workers: 4", "workers"),
    ("workers: true", "workers"),
    (provider("verify: [jwtt]"), "providers.p.verify[0]"),
    (
        provider("verify: [jwt], jwt: {algorithms: [none]}"),
        "providers.p.jwt.algorithms[0]",
    ),
    (
        provider("verify: [userinfo], userinfo: {url: 'http://a.example'}"),
        "providers.p.userinfo.url",
    ),
    (provider("verify: [userinfo], dialect: nougat"), "providers.p.dialect"),
    (provider("verify: [userinfo], realm: 'a\"b'"), "providers.p.realm"),
    (provider("verify: [userinfo], scopes: [a b]"), "providers.p.scopes[0]"),
    (
        provider("verify: [userinfo], token_shape: {max: 0}"),
        "providers.p.token_shape.max",
    ),
    (provider("verify: [userinfo], cache: {ttl: -1s}"), "providers.p.cache.ttl"),
    (provider("verify: [userinfo], clock_skew: 301s"), "providers.p.clock_skew"),
    (provider("verify: [userinfo], ca_file: no.pem"), "providers.p.ca_file"),
    ("upstreams: {u: {targets: []}}", "upstreams.u.targets"),
    ("upstreams: {u: {targets: ['http://a/b']}}", "upstreams.u.targets[0]"),
    ("upstreams: {u u: {targets: ['http://a']}}", "upstreams.u u"),
    ("upstreams: {u: {targets: ['http://a'], ca_file: no}}", "upstreams.u.ca_file"),
    ("identity_headers: {subject: X_Subject}", "identity_headers.subject"),
    ("identity_headers: {claims: {Host: sub}}", "identity_headers.claims.Host"),
    ("identity_headers: {device: X-Auth-Stale}", "identity_headers.device"),
    ("identity_headers: {client: X.Request.Id}", "identity_headers.client"),
    ("identity_headers: {claims: {X-Name: a..b}}", "identity_headers.claims.X-Name"),
    (route("methods: [GET]"), "routes[0].methods"),
    (route("kind: oauth"), "routes[0].kind"),
    (route("access: none"), "routes[0].access"),
    (route("token_from: [cookie]"), "routes[0].token_from[0]"),
    (route("require: {scopes: read}"), "routes[0].require.scopes"),
    (route("require: {scopes: ['']}"), "routes[0].require.scopes"),
    (route("require: {clients: [1234]}"), "routes[0].require.clients[0]"),
    (route("require: {claims: {a: []}}"), "routes[0].require.claims.a"),
    (route("require: {claims: {a: [1.5]}}"), "routes[0].require.claims.a[0]"),
    (route("require: {device: {}}"), "routes[0].require.device"),
    (route("require: {device: {header: a, query: b}}"), "routes[0].require.device"),
    (route("require: {max_fact_age: 0s}"), "routes[0].require.max_fact_age"),
    (route("strip_prefix: a"), "routes[0].strip_prefix"),
    (route("cors: {origins: [app.example]}"), "routes[0].cors.origins[0]"),
    (route("upgrades: [h2c]"), "routes[0].upgrades[0]"),
    (route("timeouts: {idle: 0s}"), "routes[0].timeouts.idle"),
    (route("body_limit: 1MB"), "routes[0].body_limit"),
]


@pytest.mark.parametrize(
    ("text", "key"), SLIPS, ids=[f"{n}-{key}" for n, (_, key) in enumerate(SLIPS)]
)
def test_a_slip_is_told_at_its_key(text, key):
    """Once, in plain words."""
    frame = f"version: 1\nsecret: {SECRET}\n"
    for name in ("version", "secret"):
        if text.startswith(f"{name}:"):
            frame = frame.replace(
                f"{name}: {'1' if name == 'version' else SECRET}\n", ""
            )
    lines = [line.partition(": ")[2] for line in problems(text, frame=frame)]
    lines = [line for line in lines if line.startswith(f"{key}: ")]

    assert 1 == len(lines)
    assert "expected" in lines[0] or "unknown key" in lines[0]


# ------------------------------------------------------------ not one key is ignored


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Name every key of the language, `*` for a name and `[]` for an item."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        inner, mark = section(field.annotation)
        if inner is not None:
            yield from keys(inner, f"{prefix}{name}{mark}.")


def section(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """Find the section that an annotation holds, and how it is held."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        kinds = [section(one) for one in arguments if one is not NoneType]
        return next((kind for kind in kinds if kind[0]), (None, ""))
    if origin is dict:
        return section(arguments[1])[0], ".*"
    if origin is tuple:
        return section(arguments[0])[0], "[]"
    if get_origin(annotation) is None and isinstance(annotation, type):
        return (annotation if issubclass(annotation, BaseModel) else None), ""
    return section(arguments[0]) if arguments else (None, "")


def written(path: str, value: object) -> Any:
    """Write a document that holds `value` at `path`, and nothing else."""
    for part in reversed(path.replace("[]", ".[]").split(".")):
        value = [value] if part == "[]" else {part.replace("*", "x"): value}
    return value


@pytest.mark.parametrize("path", sorted(keys(LANGUAGE)))
def test_no_key_takes_whatever_it_is_given(path):
    """A key that is read is a key that can be wrong (CVE-2021-21411)."""
    for nonsense in ({"no such key": [None]}, [{"no such key": None}]):
        with pytest.raises(ValidationError) as caught:
            LANGUAGE.model_validate(written(path, nonsense))
        told = [
            [part for part in error["loc"] if "[" not in str(part)]
            for error in caught.value.errors()
        ]
        place = path.replace("*", "x").replace("[]", ".0").split(".")

        assert place in [[*map(str, loc[: len(place)])] for loc in told]


def test_the_language_has_the_plug_ins_names():
    """So that editors can offer them."""
    fields = language(REGISTRY).model_fields["providers"].annotation

    assert "providers" in Config.model_fields
    assert REGISTRY.verifiers.keys() <= get_args(fields)[1].model_fields.keys()
