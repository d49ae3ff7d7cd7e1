"""Change the configuration of a gateway that serves. Floor 5.

A reload is asked for by a signal (SIGHUP), by the files (a look every few seconds), or
by the admin API. One at a time: read and check the files, compare them with what is in
force, build and prove what they say beside what serves, and only then take it over,
all of it in one step. Whatever goes wrong before that changes nothing, and is told: in
the log, the metrics, and to whoever asked.
"""

import asyncio
from typing import Final, Protocol

from gateway.config.changes import Changes, compare, fixed, version
from gateway.config.load import Loaded
from gateway.config.model import Config
from gateway.config.source import Source
from gateway.errors import ConfigError, GatewayError
from gateway.observe.logs import Log
from gateway.ports import Clock
from gateway.tasks import spawn, uncollected
from gateway.values import Reload

IDLE: Final = 5.0
"""Seconds between two looks whether the files are to be looked at again."""

RETRY: Final = 30.0
"""Seconds after which a configuration without fault is tried again that could not be
put in force for other reasons: a new store that does not answer."""

SHOWN: Final = 20
"""How many names of a kind are told at most."""


class Subject(Protocol):
    """What a configuration is put in force in: one process, or several."""

    @property
    def config(self) -> Config:
        """Give the configuration in force."""
        ...

    async def reload(self, loaded: Loaded) -> None:
        """Put another one in force, whole or not at all.

        Raises `ConfigError` or another `GatewayError` when it could not be.
        """
        ...


class ReloadEvents(Protocol):
    """Something that counts what comes of changes. Never raises, never blocks."""

    def reloaded(self, at: float | None) -> None:
        """Count one; `at` is since when (Unix time) it is in force, None: it is not."""
        ...


class Reloads:
    """Keeps `ports.Reloader`."""

    def __init__(
        self,
        source: Source,
        subject: Subject,
        *,
        log: Log,
        clock: Clock,
        counts: ReloadEvents,
        by_signal: bool = True,
        idle: float = IDLE,
        retry: float = RETRY,
    ) -> None:
        """`by_signal`: SIGHUP asks for one; else it ends the process, as ever."""
        self._idle, self._retry = idle, retry
        self.by_signal = by_signal
        self._source = source
        self._subject = subject
        self._log = log
        self._clock = clock
        self._counts = counts
        self._turn = asyncio.Lock()
        self._again_at: float | None = None
        self._watching: asyncio.Task[None] | None = None
        self._version = version(subject.config)
        """Names what is in force."""
        self.last = Reload(
            ok=True, at=clock.now(), trigger="start", version=self._version
        )
        """What came of the last one."""

    def __repr__(self) -> str:
        return f"<Reloads of {self._source}: {'good' if self.last.ok else 'refused'}>"

    def ask(self, trigger: str) -> None:
        """Reload soon."""
        _ = self._begin(trigger)

    async def reload(self, trigger: str) -> Reload:
        """Reload, and tell what came of it; whoever stops waiting stops nothing."""
        return await asyncio.shield(self._begin(trigger))

    def _begin(self, trigger: str) -> asyncio.Future[Reload]:
        outcome: asyncio.Future[Reload] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            outcome.set_result(await self._reload(trigger))

        _ = spawn(run(), name="reload")
        return outcome

    def watch(self) -> None:
        """Begin to look at the files now and then."""
        self._watching = spawn(self._watch(), name="watch-configuration")

    def close(self) -> None:
        """Look no more."""
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        while True:
            every = self._subject.config.reload.watch
            await asyncio.sleep(every or self._idle)
            if every and await self._is_due():
                await self._reload("files")

    async def _is_due(self) -> bool:
        async with self._turn:
            changed = await asyncio.to_thread(self._source.changed)
        again_at = self._again_at
        return changed or (again_at is not None and self._clock.monotonic() >= again_at)

    async def _reload(self, trigger: str) -> Reload:
        async with self._turn:
            begun = self._clock.monotonic()
            self._again_at = None
            try:
                with uncollected():
                    loaded, changes, name = await asyncio.to_thread(self._read)
                    await self._subject.reload(loaded)
            except ConfigError as error:
                return self._refused(trigger, error.problems)
            except GatewayError as error:
                self._again_at = self._clock.monotonic() + self._retry
                return self._refused(trigger, [str(error)])
            except Exception as error:  # noqa: BLE001 -- what serves goes on serving
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "reload crashed", "exception": error}
                )
                return self._refused(trigger, ["it crashed; the log tells where"])
            self._version = name
            return self._done(trigger, loaded, changes, begun)

    def _read(self) -> tuple[Loaded, Changes, str]:
        """Read the files, compare them, and give their version; for a thread."""
        loaded = self._source.load()
        config = self._subject.config
        if problems := fixed(config, loaded):
            raise ConfigError(problems)
        return loaded, compare(config, loaded.config), version(loaded.config)

    def _refused(self, trigger: str, problems: list[str]) -> Reload:
        self.last = Reload(
            ok=False,
            at=self._clock.now(),
            trigger=trigger,
            version=self._version,
            problems=tuple(problems),
        )
        self._counts.reloaded(None)
        self._log.warning(
            "config_refused",
            trigger=trigger,
            problems=problems[:SHOWN],
            count=len(problems),
            in_force=self.last.version,
        )
        return self.last

    def _done(
        self, trigger: str, loaded: Loaded, changes: Changes, begun: float
    ) -> Reload:
        self.last = Reload(
            ok=True,
            at=self._clock.now(),
            trigger=trigger,
            version=self._version,
            changes=str(changes),
            warnings=loaded.warnings,
        )
        self._counts.reloaded(self.last.at)
        for warning in loaded.warnings:
            self._log.warning("configuration", text=warning)
        names = {
            kind: [*getattr(changes, kind)["routes"][:SHOWN]]
            for kind in ("added", "changed", "removed")
        }
        self._log.info(
            "config_reloaded",
            trigger=trigger,
            changes=self.last.changes,
            version=self.last.version,
            seconds=round(self._clock.monotonic() - begun, 3),
            **{f"routes_{kind}": each for kind, each in names.items() if each},
        )
        return self.last
