from pathlib import Path
from types import SimpleNamespace

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.fields import Model
from gateway.config.load import load, load_again
from gateway.config.registry import Registry
from gateway.errors import ConfigError
from tests.config.texts import (
    FRAME,
    REGISTRY,
    ROUTE,
    SECRET,
    TABLES,
    loaded,
    problems,
    told,
)


def test_a_configuration_may_be_almost_nothing():
    """A version and a secret; everything else has a default."""
    config = loaded("").config

    assert (SECRET,) == config.secret
    assert ("0.0.0.0", 8080) == config.listen.proxy
    assert () == config.routes


def test_a_configuration_shows_no_secret():
    """A log of it is harmless."""
    text = repr(loaded(f"{TABLES}admin: {{token: '{SECRET}'}}").config)

    assert SECRET not in text
    assert "a-key-of-more-than" not in text


def test_all_problems_are_told_at_once():
    """Of the YAML, the references, the model and the rules between keys."""
    text = """\
        listen: {proxy: nowhere, statsu: "a:1"}
        listen: {}
        admin: {token: "${env:NOT_SET}"}
        providers:
          good: {verify: [userinfo], userinfo: {url: "https://a.example"}}
          bad: {verify: [jwtt]}
        upstreams:
          good: {targets: ["http://a"]}
          bad: {targets: ["http://a/path"]}
        routes:
          - {id: a, match: {path: /a}, provider: good, upstream: god}
          - {id: b, match: {path: /a//b}, provider: good, upstream: good}
          - {id: a, match: {path: /a}, provider: good, upstream: good, require: {scopes: [x]}}
          - {id: c, match: {path: /c}, provider: bad, upstream: good}
          - {id: d, match: {path: /d}, provider: good, upstream: bad}
        """

    assert [
        '3: listen.proxy: expected host:port, such as 127.0.0.1:8080, found "nowhere"',
        "3: listen.statsu: unknown key (did you mean `status`?)",
        "4: listen: expected once, but line 3 has it too",
        "5: admin.token: ${env:NOT_SET} is not set",
        (
            "8: providers.bad.verify[0]: expected 'jwt', 'introspection', 'userinfo' or "
            "'learned', found \"jwtt\""
        ),
        (
            "11: upstreams.bad.targets[0]: expected http://host:port or "
            "https://host:port, without a path; dns: in front of it for every address "
            'of the host; or unix:/path/of/socket, found "http://a/path"'
        ),
        (
            '13: routes[0].upstream: expected a known upstream, found "god" '
            "(did you mean `good`?)"
        ),
        (
            "14: routes[1].match.path: expected no empty segments ('//') in a path "
            'pattern, found "/a//b"'
        ),
        (
            "15: routes[2].require.scopes: expected a provider that can tell it: none of "
            "userinfo knows the scope of a token, and assume_scopes is empty"
        ),
        (
            "15: routes[2].id: expected an id of its own: the route at "
            "<configuration>:13 has the same"
        ),
        (
            "15: routes[2].match: expected another host, path or methods: the route at "
            "<configuration>:13 has the same"
        ),
    ] == problems(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1: expected a mapping, found nothing"]),
        ("[1]", ["1: expected a mapping, found a list"]),
        (
            "a: b: c",
            ["1: expected YAML: mapping values are not allowed in this context"],
        ),
        ("version: 1", ["1: secret: expected this key"]),
        (
            f"version: 2\nsecret: {SECRET}",
            ["1: version: expected 1, found 2"],
        ),
    ],
)
def test_what_is_no_configuration_is_refused(text, expected):
    """Shortly."""
    assert expected == problems(text, frame="")


@pytest.mark.parametrize("table", ["providers", "upstreams", "routes", "store"])
@pytest.mark.parametrize("value", ["5", "[5]", "{a: 5}", "text", "null"])
def test_a_table_that_is_none_is_one_problem(table, value):
    """And what is sound besides is checked all the same."""
    other = {
        "providers": f"upstreams: {{}}\n{ROUTE}",
        "upstreams": f"providers: {{}}\n{ROUTE}",
        "routes": TABLES,
        "store": TABLES + ROUTE,
    }[table]

    assert any(table in line for line in told(f"{other}{table}: {value}\n"))


def test_a_missing_file_is_a_problem(tmp_path):
    """Named, with what the system says."""
    file = tmp_path / "gone.yaml"

    assert [f"{file}: cannot be read: No such file or directory"] == problems(file)


def test_included_files_are_checked_like_our_own(tmp_path):
    """An error names the file it is in, and its own numbers."""
    main, other = tmp_path / "main.yaml", tmp_path / "other.yaml"
    main.write_text(f"{FRAME}include: [other.yaml]\n{TABLES}{ROUTE}")
    other.write_text(
        "routes:\n"
        "- {id: b, match: {path: /b}, provider: main, upstream: api}\n"
        "- {id: a, match: {path: /a}, provider: none, upstream: api}\n"
        "- {id: c, match: {path: c}, provider: main, upstream: api}\n"
    )

    assert [
        f'{other}:3: routes[1].provider: expected a known provider, found "none"',
        (
            f"{other}:3: routes[1].id: expected an id of its own: "
            f"the route at {main}:12 has the same"
        ),
        (
            f"{other}:3: routes[1].match: expected another host, path or methods: "
            f"the route at {main}:12 has the same"
        ),
        (
            f"{other}:4: routes[2].match.path: expected a path pattern that begins with "
            "'/', found \"c\""
        ),
    ] == problems(main)


def test_files_of_settings_are_found_beside_the_configuration(tmp_path):
    """So a mounted folder is all there is to mount."""
    (tmp_path / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
    file = tmp_path / "main.yaml"
    file.write_text(
        f"{FRAME}upstreams: {{a: {{targets: ['https://a'], ca_file: ca.pem}}}}"
    )

    assert tmp_path / "ca.pem" == loaded(file).config.upstreams["a"].ca_file


def test_warnings_come_with_a_good_configuration():
    """They keep nothing from starting."""
    text = f"{TABLES}{ROUTE}".replace(
        "upstream: api}", "upstream: api, token_from: [query]}"
    )

    [warning] = loaded(text).warnings
    assert warning.startswith("<configuration>:11: routes[0].token_from: a token in a")


# ------------------------------------------------------------------------- secrets


class Careless(Model):
    """A plug-in's settings that say too much."""

    key: str

    def model_post_init(self, context: object) -> None:
        message = f"bad key {self.key!s}"
        raise ValueError(message)


CARELESS = Registry(
    dialects=REGISTRY.dialects,
    verifiers={"careless": SimpleNamespace(Settings=Careless, knows=lambda _: ())},
    store_schemes=REGISTRY.store_schemes,
)


def all_told(error: BaseException) -> str:
    """Everything that a log of this error could show."""
    chain = [error]
    while (link := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(link)
    return "".join(f"{link}{link!r}" for link in chain)


def test_a_careless_plug_in_tells_no_secret():
    """What came from outside is struck out of any message."""
    text = f"{FRAME}providers: {{p: {{verify: [careless], careless: {{key: '${{env:K}}'}}}}}}"

    with pytest.raises(ConfigError) as caught:
        load(text, CARELESS, {"K": "hunter2hunter2"})

    assert "hunter2" not in all_told(caught.value)
    assert [
        "<configuration>:3: providers.p.careless: expected bad key (not shown)"
    ] == (caught.value.problems)


PLACES = [
    "secret: ['{}']",
    "admin: {{token: '{}'}}",
    "store: {{url: '{}'}}",
    "listen: {{proxy: '{}'}}",
    "workers: '{}'",
    "limits: {{target: '{}', header_count: '{}'}}",
    "trusted_proxies: ['{}']",
    "drain: {{deadline: '{}'}}",
    "log: {{access: '{}', level: '{}'}}",
    "include: ['{}']",
    "providers: {{p: {{verify: ['{}'], scopes: ['{}'], realm: '{}', cache: '{}'}}}}",
    "providers: {{p: {{verify: [jwt], jwt: {{algorithms: ['{}'], key: '{}'}}}}}}",
    "providers: {{p: {{verify: [jwt], jwt: {{algorithms: [RS256], key: '{}'}}}}}}",
    "providers: {{p: {{verify: [learned], learned: {{token_endpoint: '{}'}}}}}}",
    "upstreams: {{u: {{targets: ['{}'], host: '{}', ca_file: '{}'}}}}",
    "identity_headers: {{subject: '{}', claims: {{X: '{}'}}}}",
    "routes: [{{id: '{}', match: {{path: '{}', host: '{}', methods: ['{}']}}}}]",
    "routes: [{{id: a, match: {{path: /a}}, provider: '{}', upstream: '{}'}}]",
    "routes: [{{id: a, match: {{path: /a}}, upstream: u, require: {{scopes: ['{}']}}}}]",
    "routes: ['{}']",
    "version: '{}'",
    "'{}'",
]


@given(st.sampled_from(PLACES), st.text("aZ0 /.:@{}$*_-é", min_size=8, max_size=60))
def test_no_value_from_outside_is_ever_told(place, value):
    """Wherever it stands, whatever is wrong with it."""
    secret = f"x{value}x"
    text = place.format(*["${env:HIDDEN}"] * 4)

    with pytest.raises(ConfigError) as caught:
        load(text, REGISTRY, {"HIDDEN": secret})

    assert secret not in all_told(caught.value)
    assert secret.strip() not in all_told(caught.value)


@pytest.mark.parametrize(
    "place",
    [
        "secret: {}",
        "secret: [{}]",
        "admin: {{token: {}}}",
        "store: {{url: 'hunter2{}://x'}}",
        "providers: {{p: {{verify: [jwt], jwt: {{algorithms: [HS256], key: {}}}}}}}",
        (
            "providers: {{p: {{verify: [introspection], introspection: "
            "{{url: 'https://a', client_id: a, client_secret: [{}], bearer_token: {}}}}}}}"
        ),
    ],
)
@pytest.mark.parametrize("value", ["hunter2", "8123456", "[8123456]", "{hunter2: 1}"])
def test_a_secret_key_never_shows_its_value(place, value):
    """Though it be written in the file, and as a number."""
    with pytest.raises(ConfigError) as caught:
        load(place.format(value, value), REGISTRY, {})

    told = all_told(caught.value).replace("hunter2: unknown", "")
    assert "hunter2" not in told
    assert "8123456" not in told


def test_another_process_loads_the_same_without_the_files(tmp_path):
    """What was read, references and included routes and all, in its own directory."""
    (tmp_path / "key").write_text(SECRET)
    (tmp_path / "more.yaml").write_text(ROUTE)
    (tmp_path / "ca.pem").write_text("a certificate")
    path = tmp_path / "gateway.yaml"
    path.write_text(
        "version: 1\nsecret: ${file:key}\ninclude: [more.yaml]\n"
        + TABLES.replace("verify: [jwt]", "verify: [jwt]\n    ca_file: ca.pem")
    )
    first = load(path, REGISTRY, {})
    for name in ("key", "more.yaml", "gateway.yaml"):
        (tmp_path / name).unlink()

    again = load_again(first.document, first.base, REGISTRY)

    assert first.config.model_dump() == again.config.model_dump()
    assert SECRET not in repr(first)

    (tmp_path / "ca.pem").unlink()
    with pytest.raises(ConfigError) as caught:
        load_again(first.document, first.base, REGISTRY)
    assert ["providers.main.ca_file: not what it was any more"] == caught.value.problems


def test_the_working_directory_is_where_a_text_starts(monkeypatch, tmp_path):
    """A configuration on standard input may name files too."""
    (tmp_path / "key").write_text(SECRET)
    monkeypatch.chdir(tmp_path)

    assert (SECRET,) == loaded(
        "version: 1\nsecret: ${file:key}", frame=""
    ).config.secret
    assert Path.cwd() == tmp_path
