"""Clients for what a store's URL names: a server, sentinels, a cluster. Floor 3.

The name's underscore says that this is no store, but what one is made of.

Whoever waits here may give up after 50 ms, and finding out who serves now takes longer
than that when somebody is away: a dead sentinel costs its whole deadline. So the
search has a task of its own, which goes on; who comes next finds what it found.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
)
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import RedisClusterException, RedisError
from redis.maint_notifications import MaintNotificationsConfig

from gateway.config.store import StoreAccess, StoreUrl, Topology, parse_store_url
from gateway.errors import ConfigError
from gateway.tasks import spawn

SEARCH: Final = 1.0
"""Seconds a sentinel or a node of a cluster has to say who serves."""

Client = Redis | RedisCluster
Found = TypeVar("Found")
Options = dict[str, Any]


def connect(
    url: str, access: StoreAccess, *, deadline: float, connections: int
) -> Client:
    """Give a client; connections, `connections` a server, are made when needed.

    Raises `ConfigError`, which never quotes the URL.
    """
    try:
        where = parse_store_url(url)
    except ValueError as error:
        raise ConfigError([f"store.url: expected {error}"]) from None
    options = {
        **_every_connection(where, access, deadline),
        "username": access.username or where.username,
        "password": access.password or where.password,
    }
    match where.topology:
        case Topology.SINGLE:
            host, port = where.hosts[0]
            place = {"host": host, "port": port, "db": where.database}
            return Redis.from_pool(_pool({**options, **place}, connections))
        case Topology.SENTINEL:
            return _through_sentinels(where, access, options, connections)
        case Topology.CLUSTER:
            return Cluster(where, options, connections)


def connection_counts(client: Client) -> tuple[int, int]:
    """Count a client's connections: those in use, and those that are idle."""
    if isinstance(client, RedisCluster):
        nodes = client.get_nodes()
        idle = sum(len(node._free) for node in nodes)  # noqa: SLF001 -- told nowhere else
        made = sum(len(node._connections) for node in nodes)  # noqa: SLF001
        return made - idle, idle
    (idle, _), (in_use, _) = client.connection_pool.get_connection_count()
    return in_use, idle


class _TlsConnection(SSLConnection):
    """Checks by a context that was made once, not anew for every connection."""

    def __init__(self, *, tls: ssl.SSLContext, **rest: Any) -> None:
        super().__init__(**rest)
        self.ssl_context.context = tls


class _TlsMasterConnection(SentinelManagedConnection, _TlsConnection):
    """The same, to a server that sentinels name."""


def _every_connection(where: StoreUrl, access: StoreAccess, deadline: float) -> Options:
    options: Options = {
        "connection_class": Connection,
        "socket_timeout": deadline,
        "socket_connect_timeout": deadline,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 3,
        "driver_info": None,
    }
    if where.tls:
        options |= {"connection_class": _TlsConnection, "tls": _context(access)}
    return options


def _context(access: StoreAccess) -> ssl.SSLContext:
    """Make what proves the server's name, and shows ours where we have one."""
    try:
        context = ssl.create_default_context(cafile=access.ca_file)
        if access.client_cert is not None:
            context.load_cert_chain(access.client_cert, access.client_key)
    except OSError as error:
        # They were proven when the configuration was read, and are gone since.
        raise ConfigError(
            ["store: its certificates cannot be read any more"]
        ) from error
    return context


def _pool(options: Mapping[str, Any], connections: int) -> ConnectionPool:
    return ConnectionPool(
        max_connections=connections,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        **options,
    )


class _Search(Generic[Found]):
    """One question at a time, which outlives those who wait for its answer."""

    def __init__(self, ask: Callable[[], Awaitable[Found]]) -> None:
        self._ask = ask
        self._task: asyncio.Task[None] | None = None
        self._outcome: asyncio.Future[Found | Exception]

    async def result(self) -> Found:
        """Wait for the answer; begin to ask if nobody does. Raises `NotConnected`."""
        if self._task is None or self._task.done():
            self._outcome = asyncio.get_running_loop().create_future()
            self._task = spawn(self._run(), name="find the store's servers")
        outcome = await asyncio.shield(self._outcome)
        if isinstance(outcome, Exception):
            # One exception each; its words may quote an address or a user.
            raise NotConnected(type(outcome).__name__)
        return outcome

    def cancel(self) -> None:
        """Give up."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        outcome: Found | Exception = NotConnected("the search was given up")
        try:
            outcome = await self._ask()
        except (RedisError, RedisClusterException, OSError) as error:
            outcome = error
        finally:
            self._outcome.set_result(outcome)


# ------------------------------------------------------------------------ sentinels


class _MasterPool(SentinelConnectionPool):
    """Connections to the server that the sentinels call the master."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        self._search: _Search[tuple[str, int]] = _Search(super().get_master_address)

    async def get_master_address(self) -> tuple[str, int]:
        """Tell who is the master, as far as anybody knows."""
        return await self._search.result()

    async def aclose(self) -> None:
        """Let go of the master and of the sentinels."""
        self._search.cancel()
        await super().aclose()
        await self.sentinel_manager.aclose()


def _through_sentinels(
    where: StoreUrl, access: StoreAccess, options: Options, connections: int
) -> Redis:
    asking = {
        **_every_connection(where, access, SEARCH),
        "username": access.sentinel_username,
        "password": access.sentinel_password,
    }
    manager = Sentinel([])  # type: ignore[no-untyped-call]
    manager.sentinels = [
        Redis.from_pool(_pool({**asking, "host": host, "port": port}, 1))
        for host, port in where.hosts
    ]
    managed = _TlsMasterConnection if where.tls else SentinelManagedConnection
    pool = _MasterPool(
        where.service,
        manager,
        max_connections=connections,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        **{**options, "db": where.database, "connection_class": managed},
    )
    return Redis.from_pool(pool)


# ------------------------------------------------------------------------ a cluster


class Cluster(RedisCluster):
    """Nodes that divide the keys among them."""

    def __init__(self, where: StoreUrl, options: Options, connections: int) -> None:
        plain = {
            name: options[name] for name in options.keys() - {"connection_class", "tls"}
        }
        # A node's reply to COMMAND, which it is asked for first, takes its time.
        plain["socket_timeout"] = max(SEARCH, plain["socket_timeout"])
        super().__init__(
            startup_nodes=[ClusterNode(host, port) for host, port in where.hosts],
            # Who has lost some of the keys can still serve the others.
            require_full_coverage=False,
            # Connections that are being closed count too.
            max_connections=2 * connections,
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            **plain,
        )
        if where.tls:
            self._use_tls(options)
        self._last_to_be_asked: str | None = None
        self._search: _Search[None] = _Search(self._initialise)

    def _use_tls(self, options: Options) -> None:
        # The client takes no connection class, nor a context.
        self.nodes_manager.connection_kwargs.update(
            connection_class=options["connection_class"], tls=options["tls"]
        )
        for node in self.nodes_manager.startup_nodes.values():
            node.connection_class = options["connection_class"]
            node.connection_kwargs["tls"] = options["tls"]

    async def initialize(self, *hints: Any, **more_hints: Any) -> "Cluster":
        """Find out who has which keys, if that is in doubt."""
        if self._initialize:
            await self._search.result()
        return self

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Send a command to the node that has its key."""
        try:
            # Before, the client would ask any node, to be sent to the right one.
            _ = await self.initialize()
            if arguments[0] == "XREAD":
                # Else one certain node is asked which words of it are keys, dead or not.
                options["target_nodes"] = self.get_node_from_key(_key(*arguments))
            return await super().execute_command(*arguments, **options)
        except asyncio.CancelledError:
            # Whoever gives up waiting may have waited for a node that hangs.
            self._doubt(self.node_of(_key(*arguments)))
            raise
        except RedisClusterException as error:
            # No error of the client's others, though it means the same.
            raise NotConnected(type(error).__name__) from error

    async def aclose(self) -> None:
        """Let go of every connection, also while it is in doubt who has which keys."""
        self._search.cancel()
        self._initialize = False
        await super().aclose()

    def node_of(self, key: str) -> str:
        """Name the node that has `key`, as far as that is known."""
        slot = self.nodes_manager.slots_cache.get(self.keyslot(key))
        return slot[0].name if slot else ""

    def _doubt(self, node: str) -> None:
        """Ask the other nodes who has which keys, before anything else."""
        self._last_to_be_asked = node
        self.nodes_manager.move_node_to_end_of_cached_nodes(node)
        self._initialize = True

    async def _initialise(self) -> None:
        try:
            _ = await super().initialize(last_failed_node_name=self._last_to_be_asked)
        except (RedisError, OSError):
            # The first primary is asked which commands there are: another one then.
            for node in self.get_primaries()[:1]:
                self.nodes_manager.move_node_to_end_of_cached_nodes(node.name)
            raise


def _key(command: str, *words: Any) -> str:
    """Give the first key of a command that has one, else what will do as one."""
    if command == "XREAD":
        start = words.index(b"STREAMS") + 1
    else:
        start = 2 if command == "EVAL" else 0
    return str(words[start]) if len(words) > start else ""
