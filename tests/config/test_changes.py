from gateway.config.changes import compare, fixed, version
from gateway.config.load import load
from gateway.values import Secret
from tests.config.texts import REGISTRY
from tests.wire.pki import Pki
from tests.wired import SIGNED, configured

PROVIDER = f"lab: {{{SIGNED}}}"
UPSTREAM = "api: {targets: ['http://127.0.0.1:9']}"
ROUTE = "{id: read, match: {path: /read}, provider: lab, upstream: api"


def text(
    routes: str = f"{ROUTE}}}",
    upstreams: str = UPSTREAM,
    providers: str = PROVIDER,
    more: str = "",
) -> str:
    """Write a configuration."""
    return (
        f"{more}providers: {{{providers}}}\nupstreams: {{{upstreams}}}\n"
        f"routes: [{routes}]\n"
    )


def changes(before: str, after: str) -> str:
    """Tell what a change comes to."""
    return str(compare(configured(before).config, configured(after).config))


def test_nothing_changed():
    """Each loading makes classes of its own, which is no difference."""
    assert "routes: +0 ~0 -0" == changes(text(), text())


def test_routes_come_change_and_go():
    """By their ids, wherever they stand."""
    one = "{id: one, match: {path: /1}, access: public, upstream: api}"
    two = "{id: two, match: {path: /2}, access: public, upstream: api}"
    before, after = (
        text(f"{ROUTE}}}, {one}"),
        text(f"{two}, {ROUTE}, pass_token: true}}"),
    )
    told = compare(configured(before).config, configured(after).config)

    assert "routes: +1 ~1 -1" == str(told)
    assert (("two",), ("read",), ("one",)) == (
        told.added["routes"],
        told.changed["routes"],
        told.removed["routes"],
    )


def test_providers_upstreams_and_other_sections():
    """By name; never a value."""
    secret = SIGNED.replace("key: ", "key: another-")
    after = text(
        upstreams=f"{UPSTREAM}, new: {{targets: ['http://127.0.0.1:8']}}",
        providers=f"lab: {{{secret}}}",
        more="limits: {connections: 5}\ndrain: {deadline: 1s}\n",
    )

    assert (
        "routes: +0 ~0 -0; providers: +0 ~1 -0; upstreams: +1 ~0 -0;"
        " also: limits, drain"
    ) == changes(text(), after)


def test_what_a_running_process_cannot_change_is_named_with_its_line(tmp_path):
    """A listener's address, TLS, and the number of workers."""
    path = tmp_path / "gateway.yaml"
    frame = "version: 1\nsecret: a-secret-of-these-tests-0123456789\n"
    path.write_text(f"{frame}listen:\n  proxy: '127.0.0.1:1'\n  admin: '127.0.0.1:2'\n")
    before = load(path, REGISTRY, {})
    path.write_text(
        f"{frame}listen:\n  proxy: '127.0.0.1:1'\n  admin: '127.0.0.1:3'\n"
        "store: {url: 'redis://127.0.0.1'}\nworkers: 2\ntracing: {enabled: true}\n"
    )
    problems = fixed(before.config, load(path, REGISTRY, {}))

    assert [
        (
            f"{path}:5: listen.admin: expected what it was when the process started:"
            " listeners, workers and tracing change with a restart"
        ),
        (
            f"{path}:7: workers: expected what it was when the process started:"
            " listeners, workers and tracing change with a restart"
        ),
        (
            f"{path}:8: tracing.enabled: expected what it was when the process"
            " started: listeners, workers and tracing change with a restart"
        ),
    ] == problems
    assert [] == fixed(before.config, before)


def test_the_admin_listeners_tls_stays_and_its_token_does_not(tmp_path):
    """The one belongs to a socket, the other is asked for by each request."""
    Pki(tmp_path)
    path = tmp_path / "gateway.yaml"
    frame = "version: 1\nsecret: a-secret-of-these-tests-0123456789\n"
    path.write_text(f"{frame}admin: {{token: a-token-of-yesterday}}\n")
    before = load(path, REGISTRY, {})
    tls = "tls: {certificate: tls.crt, key: tls.key}"
    path.write_text(f"{frame}admin:\n  token: a-token-of-today\n  {tls}\n")

    (problem,) = fixed(before.config, load(path, REGISTRY, {}))
    assert problem.startswith(f"{path}:5: admin.tls: expected what it was when")


def test_a_key_that_is_gone_is_named_too(tmp_path):
    """What stood in the old file and is left to its default now."""
    loaded = configured(text())
    before = loaded.config.model_copy(update={"workers": 4})

    (problem,) = fixed(before, loaded)
    assert "workers: expected what it was" in problem


def test_one_configuration_has_one_version_in_every_process():
    """A set has no order: replicas that run the same file must tell the same."""
    # In a small set these three collide, so that the first to come stays first.
    first, second = (
        configured(text(f"{ROUTE}, require: {{claims: {{level: {levels}}}}}}}")).config
        for levels in ("[0, 8, 16]", "[16, 8, 0]")
    )

    assert repr(first) != repr(second)
    assert first.routes == second.routes
    assert version(first) == version(second)


def test_the_version_tells_configurations_apart_but_knows_no_secret():
    """It is shown to everybody who may scrape."""
    config = configured(text()).config
    changed = configured(text(f"{ROUTE}, pass_token: true}}")).config
    rotated = config.model_copy(update={"secret": (Secret("another" * 8),)})

    assert version(config) != version(changed)
    assert version(config) == version(rotated)
