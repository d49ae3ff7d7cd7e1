"""What one process tells of itself. Floor 5: reads snapshots of the parts of an `App`.

The only place where the admin's values and the parts they are of meet. Nothing here is
on the way of a request.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version

from gateway.admin.picture import Picture, ProviderPicture, StorePicture
from gateway.admin.promises import Settled
from gateway.admin.pulse import Pulse
from gateway.admin.recent import Seen
from gateway.admin.troubles import Workers
from gateway.app import App
from gateway.config.changes import version as version_of
from gateway.config.compile import compile_routes
from gateway.config.effective import settings
from gateway.config.load import Loaded
from gateway.observe.counts import BOUNDS, Counts
from gateway.values import Exchange


class Observatory:
    """Makes the pictures of one process; `run` takes its pulse."""

    def __init__(
        self, app: App, conditions: Callable[[], tuple[bool, bool, bool]]
    ) -> None:
        """`conditions` tells whether it has started, is draining, and has its store."""
        self._app = app
        self._conditions = conditions
        self._started_at = app.clock.now()
        self.pulse = Pulse(Counts(app.metrics), app.clock)

    def __repr__(self) -> str:
        return f"<Observatory: {self.pulse!r}>"

    def exchanges(self) -> tuple[Exchange, ...]:
        """Give the last exchanges."""
        return self._app.recent.exchanges()

    def picture(self, worker: int = 0) -> Picture:
        """Tell what is true now."""
        app, (started, draining, store_up) = self._app, self._conditions()
        return Picture(
            worker=worker,
            started_at=self._started_at,
            started=started,
            draining=draining,
            in_flight=app.in_flight,
            connections=len(app.front),
            marks=len(app.marks.list()),
            config=app.generation.version,
            bounds=BOUNDS,
            total=self.pulse.total(),
            beats=self.pulse.beats(),
            providers=tuple(map(self._provider, app.sources)),
            store=self._store(up=store_up),
            upstreams=tuple(pool.state() for pool in app.pools.values()),
        )

    def _provider(self, name: str) -> ProviderPicture:
        settings, client = (
            self._app.config.providers[name],
            self._app.providers[name].client,
        )
        stats = self._app.sources[name].stats()
        return ProviderPicture(
            provider=name,
            dialect=settings.dialect,
            verify=settings.verify,
            breaker=client.breaker_state,
            under_way=client.under_way,
            waiting=client.waiting,
            tokens=stats.entries,
            invalid_tokens=stats.negatives,
            memory_bytes=stats.bytes,
        )

    def _store(self, *, up: bool) -> StorePicture:
        app, stream = self._app, self._app.revocation.stream
        kind, shared = str(app.config.store.url).partition(":")[0], app.store.shared
        if stream is None:
            return StorePicture(kind=kind, shared=shared, up=up)
        return StorePicture(
            kind=kind,
            shared=shared,
            up=up,
            blind=stream.blind,
            lost=stream.lost,
            evicts=stream.evicting,
        )


class Console:
    """Keeps `admin.promises.Console` where there is but one process."""

    def __init__(self, observatory: Observatory, app: App) -> None:
        self._observatory = observatory
        self._app = app
        self._shown: tuple[Loaded, Settled] | None = None

    async def picture(self) -> Picture:
        """Tell what is true now."""
        return self._observatory.picture()

    async def recent(self) -> Sequence[Seen]:
        """Give the last exchanges."""
        return [Seen(0, each) for each in self._observatory.exchanges()]

    def settled(self) -> Settled:
        """Give the configuration in force; worded once, when somebody looks."""
        loaded = self._app.loaded
        if self._shown is None or self._shown[0] is not loaded:
            self._shown = (loaded, settled(loaded))
        return self._shown[1]

    def workers(self) -> Workers:
        """Tell that there is one."""
        return Workers()

    def now(self) -> float:
        """Tell the time."""
        return self._app.clock.now()


def settled(loaded: Loaded) -> Settled:
    """Say of a configuration what may be shown."""
    return Settled(
        version=version("token-gateway"),
        digest=version_of(loaded.config),
        routes=tuple(compile_routes(loaded.config)),
        settings=settings(loaded),
        warnings=loaded.warnings,
        providers=tuple(loaded.config.providers),
    )
