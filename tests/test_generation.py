import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from gateway.app import App
from gateway.errors import ConfigError, GatewayError
from gateway.generation import Generation
from gateway.tasks import running
from gateway.values import MarkKind, Secret
from tests.stores.servers import serving
from tests.wired import SIGNED, configured, issuer, token, until, wired

UPSTREAM = "upstreams: {api: {targets: ['http://127.0.0.1:9']}}\n"
ROUTE = "{id: read, match: {path: /read}, provider: lab, upstream: api"


def text(provider: str = SIGNED, route: str = "", more: str = "") -> str:
    """Write a configuration."""
    return (
        f"{more}providers: {{lab: {{{provider}}}}}\n{UPSTREAM}"
        f"routes: [{ROUTE}{route}}}]\n"
    )


def asking(url: str, more: str = "") -> str:
    """Write a provider that is asked."""
    asked = f'introspection: {{url: "{url}", client_id: us, client_secret: hunter2}}'
    return f"verify: [introspection], {asked}{more}"


@asynccontextmanager
async def serving_app(first: str, folder: Path) -> AsyncIterator[App]:
    """Run an app whose generations leave at once."""
    async with wired(first, folder, afterlife=0.0) as app:
        await app.start()
        yield app


async def reload(app: App, changed: str) -> None:
    """Put another configuration in force."""
    await app.reload(await asyncio.to_thread(configured, changed))


async def reason(app: App, bearer: str) -> object:
    """Put a token to the gateway; gives why it is refused, or None."""
    told = await app.explainer.explain("GET", "http://h/read", {}, Secret(bearer))
    return told.get("reason")


# -------------------------------------------------------------------- handed on


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ("", 1),
        ("limits: {connections: 7}\n", 1),
        ("identity_headers: {claims: {X-Auth-Level: level}}\n", 2),
        ("limits: {unknown_tokens: {burst: 5}}\n", 2),
    ],
)
async def test_facts_in_memory_stay_where_nothing_about_them_changed(
    tmp_path, change, asked
):
    """A claim that nobody asked for before is in no fact that was kept."""
    async with issuer() as lab:
        lab.tokens["T1"] = {"sub": "ada"}
        async with serving_app(text(asking(lab.url)), tmp_path) as app:
            assert await reason(app, "T1") is None
            await reload(app, text(asking(lab.url), more=change))
            assert await reason(app, "T1") is None

        assert asked == len(lab.asked)


async def test_another_provider_is_asked_afresh_and_the_former_is_let_go(tmp_path):
    """Its settings changed, so what it said is another's word."""
    async with issuer() as lab, issuer() as other:
        lab.tokens["T1"] = {"sub": "ada"}
        async with serving_app(text(asking(lab.url)), tmp_path) as app:
            assert await reason(app, "T1") is None
            before = app.providers["lab"]
            await reload(app, text(asking(other.url)))
            refused = await reason(app, "T1")
            await until(lambda: not lab.connections)

            assert "inactive" == refused
            assert app.providers["lab"] is not before


async def test_a_key_that_a_file_holds_is_read_again(tmp_path):
    """The setting is the same, what it names is not."""
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    provider = f"{SIGNED}, ca_file: '{file}'"
    async with serving_app(text(provider), tmp_path) as app:
        first = app.providers["lab"]
        await reload(app, text(provider))
        same = app.providers["lab"]
        await asyncio.to_thread(trustme.CA().cert_pem.write_to_path, str(file))
        await reload(app, text(provider))

        assert same is first
        assert app.providers["lab"] is not first


async def test_connections_of_an_upstream_stay_where_it_is_the_same(tmp_path):
    """And another one has connections of its own; nobody is asked for the former."""
    more = text().replace("{targets", "{keepalive: 9s, targets")
    async with serving_app(text(), tmp_path) as app:
        first = app.pools["api"]
        await reload(app, text(route=", pass_token: true"))
        same = app.pools["api"]
        await reload(app, more)

        assert same is first
        assert 9.0 == app.pools["api"].settings.keepalive


async def test_rules_are_those_of_the_new_configuration_at_once(tmp_path):
    """Facts are kept, verdicts never are."""
    async with serving_app(text(), tmp_path) as app:
        bearer = token(scope="read")
        before = await reason(app, bearer)
        await reload(app, text(route=", require: {scopes: [write]}"))

        assert (None, "insufficient_scope") == (before, await reason(app, bearer))


# ----------------------------------------------------------------------- its life


async def test_what_is_left_is_closed_after_the_last_request_and_not_before(tmp_path):
    """A request under way may still need its upstream, for the first time."""
    async with serving_app(text(), tmp_path) as app:
        old, reception = app.pools["api"], app.reception
        reception.in_flight += 1
        await reload(app, text().replace("{targets", "{keepalive: 9s, targets"))
        await asyncio.sleep(0.5)
        before = old._closed
        total = app.in_flight
        reception.in_flight -= 1
        await until(lambda: old._closed)

        assert (False, 1, 0) == (before, total, app.in_flight)
        assert not app.pools["api"]._closed


async def test_nobody_begins_twice_with_the_same_part(tmp_path):
    """A worker may be told another configuration before it lets anybody in."""
    health = "{health: {path: /ok, interval: 1h}, targets"
    first = text().replace("{targets", health)
    more = first.replace(
        "upstreams: {", f"upstreams: {{more: {health}: ['http://[::1]:9']}}, "
    )
    async with wired(first, tmp_path, afterlife=0.0) as app:
        await reload(app, more)
        await app.start()
        checked = [task for task in running() if "health" in task.get_name()]
        await reload(app, first)
        await until(lambda: not app._leaving)
        left = [task for task in running() if "health" in task.get_name()]

    assert (2, 1) == (len(checked), len(left))


async def test_requests_of_all_generations_are_counted(tmp_path):
    """Each by its own; the numbers go on, so that no two requests have one."""
    async with serving_app(text(), tmp_path) as app:
        first = app.reception
        one = first.request_id()
        first.in_flight += 1
        await reload(app, text(route=", pass_token: true"))
        app.reception.in_flight += 2
        other = app.reception.request_id()
        counted = app.metrics_registry.get_sample_value(
            "gateway_http_requests_in_flight"
        )
        first.in_flight -= 1

        assert (3, 2) == (counted, app.in_flight)
        assert one != other
        assert one.partition(b"-")[0] == other.partition(b"-")[0]


async def test_an_app_that_closes_lets_go_of_every_generation(tmp_path):
    """Also of one whose last request never ends."""
    async with wired(text(), tmp_path) as app:
        await app.start()
        pools = [app.pools["api"]]
        app.reception.in_flight += 1
        for keepalive in (7, 8):
            await reload(
                app, text().replace("{targets", f"{{keepalive: {keepalive}s, targets")
            )
            pools.append(app.pools["api"])

    assert [True] * 3 == [pool._closed for pool in pools]
    assert frozenset() == running()


# ------------------------------------------------------------------- revocations


async def test_a_revocation_outlives_every_change(tmp_path):
    """By token and by name, whatever becomes of the provider and the secret."""
    bearer = token()
    async with serving_app(text(), tmp_path) as app:
        await app.desk.revoke("lab", MarkKind.TOKEN, Secret(bearer))
        await app.desk.revoke("lab", MarkKind.SUBJECT, Secret("bob"))
        told = []
        for changed in (
            text(route=", pass_token: true"),
            text(f"{SIGNED}, token_lifetime: 1h"),
            text().replace("providers:", "revocation: {blind_ttl: 1s}\nproviders:"),
        ):
            await reload(app, changed)
            told.append((await reason(app, bearer), len(app.marks.list())))

        assert [("revoked", 2)] * 3 == told


async def test_how_long_tokens_live_is_judged_by_what_is_configured_now(tmp_path):
    """`token_lifetime` tells when a token without `iat` may have been issued."""
    async with serving_app(text(), tmp_path) as app:
        bearer = token()
        await app.desk.revoke("lab", MarkKind.SUBJECT, Secret("ada"))
        before = await reason(app, bearer)
        await reload(app, text(f"{SIGNED}, token_lifetime: 1s"))

        assert ("revoked", None) == (before, await reason(app, bearer))


async def test_a_new_store_tells_its_revocations_and_is_told_ours(tmp_path):
    """Nobody who was shut out is let in, here or by others who share it."""
    ours, theirs = token(), token(sub="eve")
    with serving("valkey") as store:
        shared = f"store: {{url: '{store.url}'}}\n"
        async with serving_app(text(more=shared), tmp_path) as other:
            await other.desk.revoke("lab", MarkKind.SUBJECT, Secret("eve"))
            async with serving_app(text(), tmp_path) as app:
                await app.desk.revoke("lab", MarkKind.TOKEN, Secret(ours))
                before = await reason(app, theirs)
                await reload(app, text(more=shared))
                after = [await reason(app, each) for each in (ours, theirs)]
                sees = not app.revocation.sight.blind
                await until(lambda: other.marks.covers("lab", ours, None))
                told = await reason(other, ours)

        assert (None, ["revoked", "revoked"], True) == (before, after, sees)
        assert "revoked" == told


async def test_a_new_store_that_does_not_answer_changes_nothing(tmp_path):
    """Not the store, and nothing else."""
    async with serving_app(text(), tmp_path) as app:
        generation = app.generation
        with pytest.raises(GatewayError, match="the store does not answer"):
            await reload(
                app,
                text(
                    route=", require: {scopes: [x]}",
                    more="store: {url: 'redis://127.0.0.1:9'}\n",
                ),
            )

        assert generation is app.generation
        assert await reason(app, token()) is None
    assert frozenset() == running()


async def test_a_rotated_secret_takes_all_revocations_along(tmp_path):
    """They are in books of their own under each secret, and copied into the new one."""
    bearer, another = token(sub="eve"), "another-secret-of-these-tests-012345"
    with serving("valkey") as store:
        shared = text(more=f"store: {{url: '{store.url}'}}\n")
        rotated = await asyncio.to_thread(configured, shared, another)
        async with serving_app(shared, tmp_path) as app:
            await app.desk.revoke("lab", MarkKind.SUBJECT, Secret("eve"))
            await app.reload(rotated)
            after = await reason(app, bearer)
            async with serving_app(text(), tmp_path) as successor:
                await successor.reload(rotated)
                kept = await reason(successor, bearer)
                if kept is None:  # written there once the books have been compared
                    await until(successor.marks.list)
                    kept = await reason(successor, bearer)

        assert ("revoked", "revoked") == (after, kept)


async def test_what_cannot_be_built_changes_nothing(tmp_path):
    """A file that is gone between the check and the building."""
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    async with serving_app(text(), tmp_path) as app:
        loaded = configured(text(f"{SIGNED}, ca_file: '{file}'"))
        file.unlink()
        with pytest.raises((ConfigError, GatewayError)):
            await app.reload(loaded)

        assert await reason(app, token()) is None


def generations() -> list[Generation]:
    """Find all that the collector knows of."""
    return [each for each in gc.get_objects() if isinstance(each, Generation)]


async def test_no_generation_is_left_behind(tmp_path):
    """However often the configuration changes: only the one in force stays."""
    # Held, so that they stay told apart: other tests' may wait for the collector.
    others = generations()
    async with serving_app(text(), tmp_path) as app:
        bearer = token()
        for number in range(20):
            await reason(app, bearer)
            await reload(app, text(route=f", add_prefix: /v{number}"))
        await until(lambda: not app._leaving)
        gc.collect()

        assert [app.generation] == [
            each for each in generations() if each not in others
        ]
