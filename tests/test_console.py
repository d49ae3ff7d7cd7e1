import pytest

from gateway.admin.troubles import Workers
from gateway.console import Console, Observatory, settled
from gateway.values import Secret
from tests.admin.samples import exchange
from tests.wired import SIGNED, token, wired

CONFIG = f"""
providers: {{acme: {{{SIGNED}}}}}
upstreams: {{orders: {{targets: ["http://127.0.0.1:9"]}}}}
routes:
  - {{id: orders, match: {{path: /orders/**}}, provider: acme, upstream: orders}}
"""


@pytest.fixture
async def app(tmp_path):
    """A gateway that has no listener."""
    async with wired(CONFIG, tmp_path) as app:
        yield app


@pytest.fixture
def observatory(app):
    """It has started, and has its store."""
    return Observatory(app, lambda: (True, False, True))


async def test_a_picture_is_of_the_parts_as_they_are(app, observatory):
    """Nothing is asked anybody for it."""
    good = Secret(token())
    await app.explainer.explain("GET", "http://a/orders/1", {}, good)
    app.reception.in_flight += 1
    app.reception.ended(exchange(route="orders"))
    picture = observatory.picture(3)

    assert (3, True, False) == (picture.worker, picture.started, picture.draining)
    assert ["acme"] == [each.provider for each in picture.providers]
    assert 1 == picture.providers[0].tokens
    assert 0 == picture.providers[0].breaker
    assert ["orders"] == [each.upstream for each in picture.upstreams]
    assert ("memory", False, True) == (
        picture.store.kind,
        picture.store.shared,
        picture.store.up,
    )
    assert [("orders", "allow", "ok", 1)] == [
        (each.route, each.decision, each.reason, each.count)
        for each in picture.total.decided
    ]


async def test_the_last_exchanges_are_kept_by_the_app(app, observatory):
    """Every door's: they all tell the reception."""
    app.reception.in_flight += 1
    app.reception.ended(exchange())
    console = Console(observatory, app)

    assert [exchange()] == [each.exchange for each in await console.recent()]
    assert [0] == [each.worker for each in await console.recent()]


async def test_what_is_settled_is_told_from_the_files(app, observatory):
    """Routes as they are understood, values as they may be shown."""
    console = Console(observatory, app)
    told = console.settled()

    assert settled(app.loaded) == told
    assert (("acme",), ["orders"]) == (told.providers, [r.id for r in told.routes])
    assert told.digest == (await console.picture()).config
    assert Workers() == console.workers()
    assert abs(app.clock.now() - console.now()) < 5


async def test_a_shared_store_is_told_with_its_sight(tmp_path, unused_tcp_port):
    """A process that never read the marks is blind."""
    url = f"redis://user:SECRET@127.0.0.1:{unused_tcp_port}"
    async with wired(f"store: {{url: '{url}'}}\n{CONFIG}", tmp_path) as app:
        store = Observatory(app, lambda: (False, True, False)).picture().store

    assert ("redis", True, False) == (store.kind, store.shared, store.up)
    assert (True, True, False) == (store.blind, store.lost, store.evicts)
