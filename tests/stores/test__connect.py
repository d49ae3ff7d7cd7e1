import asyncio
import contextlib
import socket
import ssl
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import trustme
from redis.asyncio import Redis
from redis.asyncio.connection import SSLConnection
from redis.exceptions import TimeoutError as NotInTime

from gateway.config.store import StoreAccess
from gateway.errors import ConfigError, StoreUnavailable
from gateway.stores._connect import SEARCH, Cluster, connect
from gateway.stores.redis import DEADLINE, REST, RedisStore, open_client, open_store
from gateway.tasks import running
from gateway.values import Secret
from tests.stores.groups import SERVICE, cluster, free_port, sentinels, wait_for
from tests.stores.servers import Server, program, serving

KEYS = [f"k{number}" for number in range(30)]

RIGHTS = "~gateway:* &gateway:* +@all -@admin -@dangerous +info"
"""What config/README.md says that a user needs."""


@pytest.fixture
async def opened(clock):
    """Open stores, and close them in the end."""
    stores: list[RedisStore] = []

    # A busy machine is no fault of the store's: only tests of the deadline have it.
    def opening(
        url: str, access: StoreAccess | None = None, *, deadline: float = 5.0
    ) -> RedisStore:
        access = access or StoreAccess()
        stores.append(open_store(url, clock=clock, access=access, deadline=deadline))
        return stores[-1]

    yield opening
    for store in stores:
        await store.close()


async def until_kept(store: RedisStore, key: str, clock, value: bytes) -> float:
    """Put an entry, again and again until it is kept; tell how long that took."""
    began = time.perf_counter()
    async with asyncio.timeout(12):
        while True:
            try:
                await store.put(key, value, ttl=60)
            except StoreUnavailable:
                clock.advance(REST)
                await asyncio.sleep(0.02)
            else:
                return time.perf_counter() - began


async def used(client) -> None:
    """Use a client of one's own as streams, locks and messages do."""
    last = await client.xadd("gateway:stream{a}", {b"f": b"v"})
    assert [[b"gateway:stream{a}", [(last, {b"f": b"v"})]]] == [
        [name, entries[0]]
        for name, entries in (await client.xread({"gateway:stream{a}": "0"})).items()
    ]
    script = "redis.call('set', KEYS[2], ARGV[1]) return redis.call('get', KEYS[1])"
    assert await client.eval(script, 2, "gateway:{a}1", "gateway:{a}2", "v") is None
    assert await client.set("gateway:lock", "owner", nx=True, px=5000)
    assert not await client.set("gateway:lock", "another", nx=True, px=5000)
    listener = client.pubsub()
    await listener.subscribe("gateway:channel")
    assert "subscribe" == (await listener.get_message(timeout=5))["type"]
    await client.publish("gateway:channel", b"said")
    assert b"said" == (await listener.get_message(timeout=5))["data"]
    await listener.aclose()


# ---------------------------------------------------------------------- a server


async def test_a_client_of_ones_own_does_all_that_locks_and_streams_need():
    """It has connections of its own, and lets go of them."""
    with serving("valkey") as server:
        client = open_client(server.url, deadline=5.0)
        await used(client)
        await client.aclose()

        wait_for(lambda: b"connected_clients:1\r" in server.say("INFO", "clients"))


async def test_a_client_of_ones_own_waits_for_its_deadline_once():
    """Who holds the lock, or reads the stream, decides whether to come again."""
    with serving("valkey") as server:
        client = open_client(server.url, deadline=0.2)
        server.stop()
        began = time.perf_counter()
        with pytest.raises(NotInTime):
            await client.get("k")
        await client.aclose()

        assert 0.15 < time.perf_counter() - began < 0.6


# ---------------------------------------------------------------------- sentinels


@pytest.fixture
def guarded():
    """A primary, its replica and their sentinel."""
    with sentinels() as servers:
        yield servers


async def test_the_primary_is_lost_and_found_again_at_its_replica(
    guarded, opened, clock
):
    """Nobody restarts the gateway for that, and what was kept is still there."""
    store = opened(guarded.url)
    client = open_client(guarded.url, deadline=2.0)
    await used(client)
    await store.put("k", b"v", ttl=60)
    guarded.primary.kill()
    await until_kept(store, "other", clock, b"w")
    assert b"v" == await store.get("k")

    assert b"w" == await client.get("other")
    await client.aclose()


async def test_a_silent_sentinel_does_not_hide_the_others(guarded, opened, clock):
    """To wait for it takes longer than a command may; so the search goes on alone."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        first = guarded.url.replace("://", f"://127.0.0.1:{port},")
        store = opened(first, deadline=DEADLINE)
        with pytest.raises(StoreUnavailable, match="TimeoutError"):
            await store.get("k")

        assert await until_kept(store, "k", clock, b"v") < 5 * SEARCH


async def test_no_sentinel_is_no_store(opened, clock):
    """Nothing is told of them but that."""
    store = opened(f"redis+sentinel://127.0.0.1:1/{SERVICE}")
    with pytest.raises(StoreUnavailable, match="the store failed: ConnectionError"):
        await store.get("k")


async def test_closing_ends_a_search(clock):
    """It would keep a connection and a task."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = open_store(f"redis+sentinel://127.0.0.1:{port}/s", clock=clock)
        with pytest.raises(StoreUnavailable):
            await store.get("k")
        searches = [task for task in running() if "servers" in task.get_name()]
        await store.close()
        await asyncio.wait(searches, timeout=5)

        assert 1 == len(searches)
        assert all(task.cancelled() for task in searches)


# ---------------------------------------------------------------------- a cluster


@pytest.fixture
def nodes():
    """Three nodes that divide the keys, and a replica of the first."""
    with cluster() as servers:
        yield servers


async def test_a_node_is_lost_and_only_its_keys_are_missed_until_its_replica_serves(
    nodes, opened, clock
):
    """Those who ask the other nodes never notice, since each rests by itself."""
    store = opened(nodes.url)
    client = open_client(nodes.url, deadline=2.0)
    await used(client)
    await client.aclose()
    await store.ping()
    for key in KEYS:
        await store.put(key, b"v", ttl=60)
    lost = f"127.0.0.1:{nodes.nodes[0].port}"
    theirs = [key for key in KEYS if store._server_of(key) == lost]
    assert 0 < len(theirs) < len(KEYS)

    nodes.nodes[0].kill()
    with pytest.raises(StoreUnavailable):
        await store.ping()
    with pytest.raises(StoreUnavailable):
        await store.get(theirs[0])
    values = [await store.get(key) for key in KEYS if key not in theirs]
    assert {b"v"} == set(values)
    with pytest.raises(StoreUnavailable, match="a moment ago"):
        await store.get(theirs[0])

    await until_kept(store, theirs[0], clock, b"w")
    assert b"w" == await store.get(theirs[0])
    assert b"v" == await store.get(theirs[1])


async def test_without_a_successor_the_other_nodes_keys_are_served(
    nodes, opened, clock
):
    """Streams too, though the lost node is the one that redis-py asks by habit."""
    store = opened(nodes.url)
    client = open_client(nodes.url, deadline=2.0)
    for key in KEYS:
        await store.put(key, b"v", ttl=60)
    lost = f"127.0.0.1:{nodes.nodes[0].port}"
    there = next(key for key in KEYS if store._server_of(key) != lost)
    stream = f"{{{there}}}"
    await client.xadd(stream, {b"f": b"v"})
    for node in (nodes.nodes[3], nodes.nodes[0]):
        node.kill()

    assert 1 == len(await client.xread({stream: "0"}, block=300))
    newcomer = opened(nodes.url)
    await until_kept(newcomer, there, clock, b"w")
    assert b"w" == await store.get(there)
    await client.aclose()


async def test_a_hung_node_costs_one_deadline_and_is_left_for_its_replica(
    nodes, opened, clock
):
    """Its sockets stay open: nothing but the clock tells that it is away."""
    store = opened(nodes.url)
    for key in KEYS:
        await store.put(key, b"v", ttl=60)
    hung = f"127.0.0.1:{nodes.nodes[0].port}"
    theirs = [key for key in KEYS if store._server_of(key) == hung]
    store._deadline = 0.2
    nodes.nodes[0].stop()
    with pytest.raises(StoreUnavailable, match="TimeoutError"):
        await store.get(theirs[0])
    took = await until_kept(store, theirs[0], clock, b"w")
    nodes.nodes[0].go_on()

    assert took < 4
    assert hung != store._server_of(theirs[0])
    assert b"w" == await store.get(theirs[0])


async def test_closing_lets_go_of_every_node_also_in_doubt(clock):
    """The client itself would leave its connections open then."""
    bus = ("--cluster-port", str(free_port()))
    with serving("valkey", "--cluster-enabled", "yes", *bus) as node:
        node.say("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        url = f"redis+cluster://127.0.0.1:{node.port}"
        store = open_store(url, clock=clock, deadline=5.0)
        await asyncio.gather(*(store.ping() for _ in range(5)))
        node.stop()
        store._deadline = 0.1
        with pytest.raises(StoreUnavailable):
            await store.get("k")
        await store.close()

        assert isinstance(store._redis, Cluster)
        known = store._redis.get_nodes()
        connections = [each for node in known for each in node._connections]
        assert connections
        assert not [each for each in connections if each.is_connected]


async def test_no_node_is_no_store(opened):
    """And closing it says nothing of connections left open."""
    store = opened("redis+cluster://127.0.0.1:1,127.0.0.1:2")
    with pytest.raises(StoreUnavailable, match="the store failed: ConnectionError"):
        await store.get("k")


# ---------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """An authority, a server's certificate for 127.0.0.1, and a client's."""
    folder = tmp_path_factory.mktemp("pki")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    for name in ("127.0.0.1", "other.example", "client.example"):
        issued = authority.issue_cert(name)
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(folder / f"{name}.crt")
    trustme.CA().cert_pem.write_to_path(folder / "stranger.crt")
    return folder


def tls(pki: Path, name: str = "127.0.0.1", clients: str = "no") -> tuple[str, ...]:
    """Give the options of a server that speaks TLS."""
    return (
        *(
            "--tls-cert-file",
            f"{pki}/{name}.crt",
            "--tls-key-file",
            f"{pki}/{name}.key",
        ),
        *("--tls-ca-cert-file", f"{pki}/ca.crt", "--tls-auth-clients", clients),
    )


@pytest.fixture
def secure():
    """Run a server with TLS on a port of its own."""

    def running_on(*options: str):
        port = free_port()
        server = serving("redis-server", "--tls-port", str(port), *options)
        return server, f"rediss://127.0.0.1:{port}"

    return running_on


@pytest.mark.engines
async def test_a_server_with_a_certificate_of_the_authority_is_trusted(
    pki, secure, opened
):
    """The one that is configured, and nobody else's."""
    server, url = secure(*tls(pki))
    with server:
        store = opened(url, StoreAccess(ca_file=pki / "ca.crt"))
        await store.put("k", b"v", ttl=60)
        assert b"v" == await store.get("k")

        for access in (StoreAccess(), StoreAccess(ca_file=pki / "stranger.crt")):
            with pytest.raises(StoreUnavailable, match="ConnectionError"):
                await opened(url, access).get("k")


@pytest.mark.engines
async def test_a_certificate_for_another_host_is_refused(pki, secure, opened):
    """Whoever holds one of the authority's certificates is not yet our store."""
    server, url = secure(*tls(pki, "other.example"))
    with server, pytest.raises(StoreUnavailable, match="ConnectionError"):
        await opened(url, StoreAccess(ca_file=pki / "ca.crt")).get("k")


@pytest.mark.engines
async def test_a_server_that_asks_for_a_certificate_gets_ours(pki, secure, opened):
    """Without it nobody is let in."""
    server, url = secure(*tls(pki, clients="yes"))
    nameless = StoreAccess(ca_file=pki / "ca.crt")
    ours = StoreAccess(
        ca_file=pki / "ca.crt",
        client_cert=pki / "client.example.crt",
        client_key=pki / "client.example.key",
    )
    with server:
        await opened(url, ours).ping()
        with pytest.raises(StoreUnavailable):
            await opened(url, nameless).ping()


@pytest.mark.engines
async def test_a_user_has_its_password_in_the_url_or_beside_it(pki, secure, opened):
    """And may do what the server's list says, no more."""
    server, url = secure(*tls(pki))
    beside = StoreAccess(
        ca_file=pki / "ca.crt", username=Secret("gate"), password=Secret("p@ss/1")
    )
    with server as acl:
        acl.say("ACL", "SETUSER", "gate", "on", ">p@ss/1", *RIGHTS.split())
        acl.say("ACL", "SETUSER", "default", "off")
        await opened(url, beside).put("gateway:1", b"v", ttl=60)
        inside = url.replace("://", "://gate:p%40ss%2F1@")
        store = opened(inside, StoreAccess(ca_file=pki / "ca.crt"))
        assert b"v" == await store.get("gateway:1")

        client = open_client(
            inside, deadline=5.0, access=StoreAccess(ca_file=pki / "ca.crt")
        )
        await used(client)
        assert "maxmemory_policy" in await client.info("memory")
        await client.aclose()
        with pytest.raises(StoreUnavailable, match="NoPermissionError") as refusal:
            await store.get("others:1")
        told = "".join(traceback.format_exception(refusal.value))
        assert "p@ss" not in told + repr(store) + repr(beside)


@pytest.mark.engines
async def test_a_cluster_is_asked_by_tls(pki, secure, opened):
    """Also the nodes that others name."""
    options = (*tls(pki), "--cluster-enabled", "yes", "--tls-cluster", "yes")
    bus = free_port()
    server, url = secure(*options, "--cluster-port", str(bus))
    with server as node:
        node.say("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        access = StoreAccess(ca_file=pki / "ca.crt")
        store = opened(url.replace("rediss:", "rediss+cluster:"), access)
        await store.ping()

        assert isinstance(store._redis, Cluster)
        connections = [
            each
            for known in store._redis.get_nodes()
            for each in known._connections
            if each.is_connected
        ]
        assert connections
        assert all(
            isinstance(each, SSLConnection) and each.ssl_context.get().check_hostname
            for each in connections
        )


@pytest.mark.engines
async def test_sentinels_and_their_primary_are_asked_by_tls(pki, secure, opened):
    """Both prove who they are; each may want a password of its own."""
    server, url = secure(*tls(pki), "--requirepass", "server-pass")
    place = url.removeprefix("rediss://").replace(":", " ")
    with server, secure_sentinel(pki, place) as sentinel:
        store = opened(
            f"rediss+sentinel://127.0.0.1:{sentinel}/{SERVICE}",
            StoreAccess(
                ca_file=pki / "ca.crt",
                password=Secret("server-pass"),
                sentinel_password=Secret("sentinel-pass"),
            ),
        )
        await store.put("k", b"v", ttl=60)

        assert b"v" == await store.get("k")


@contextlib.contextmanager
def secure_sentinel(pki: Path, place: str) -> Iterator[int]:
    """Run a sentinel that speaks TLS, and give its port."""
    with tempfile.TemporaryDirectory(prefix="store-") as folder:
        sentinel = Server(program("redis-server"), Path(folder))
        port = free_port()
        (Path(folder) / "sentinel.conf").write_text(
            f"port {sentinel.port}\ntls-port {port}\ntls-replication yes\n"
            f"sentinel monitor {SERVICE} {place} 1\n"
            f"sentinel auth-pass {SERVICE} server-pass\n"
            "requirepass sentinel-pass\n"
        )
        try:
            sentinel.run("sentinel.conf", "--sentinel", *tls(pki))
            yield port
        finally:
            sentinel.kill()


# ---------------------------------------------------------------------- settings


def made(url: str, **settings) -> SimpleNamespace:
    """Give what a client would connect with."""
    client = connect(url, StoreAccess(**settings), deadline=0.5, connections=7)
    if isinstance(client, Redis):
        return SimpleNamespace(**client.connection_pool.connection_kwargs)
    return SimpleNamespace(**client.connection_kwargs)


@pytest.mark.parametrize(
    "url",
    ["redis://:p@h/3", "redis+sentinel://:p@h/s/3", "redis+cluster://:p@h"],
)
async def test_every_client_tries_once_and_not_for_long(url):
    """redis-py left to itself waits five seconds and tries ten times."""
    options = made(url)

    assert "p" == options.password
    assert options.socket_connect_timeout == 0.5
    assert 0.5 <= options.socket_timeout <= SEARCH
    assert 3 == options.protocol


async def test_the_database_is_the_urls():
    """Two gateways may share a server."""
    assert 3 == made("redis://h/3").db
    assert 3 == made("redis+sentinel://h/s/3").db


async def test_a_context_checks_name_and_certificate():
    """Nothing in a URL can turn that off."""
    context = made("rediss://h").tls

    assert context.check_hostname
    assert ssl.CERT_REQUIRED == context.verify_mode


def test_certificates_that_are_gone_are_a_config_error(tmp_path):
    """A process may start long after the configuration was proven."""
    with pytest.raises(ConfigError, match="store: its certificates"):
        connect(
            "rediss://h",
            StoreAccess(ca_file=tmp_path / "gone.crt"),
            deadline=1.0,
            connections=1,
        )


def test_an_unusable_url_is_never_quoted():
    """It may hold a password."""
    url = "redis://u:pass-word@[::1".replace("-", "_")
    with pytest.raises(ConfigError) as refusal:
        connect(url, StoreAccess(), deadline=1.0, connections=1)

    assert "store.url: expected a URL such as" in refusal.value.problems[0]
    assert "pass_word" not in "".join(traceback.format_exception(refusal.value))
