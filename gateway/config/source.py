"""Where a configuration comes from, and whether to read it again. Floor 2: reads files.

Why polled, and by content: a mounted ConfigMap is a chain of symbolic links of which
one is swapped, which file notifications are easily lost on, on network file systems
altogether; a few small files cost a thread a fraction of a millisecond.
"""

from collections.abc import Mapping
from pathlib import Path

from gateway.config.load import Loaded, load
from gateway.config.registry import Registry
from gateway.config.traces import Look, Traces


class Source:
    """A configuration file and all that belongs to it. For one thread at a time."""

    def __init__(
        self, path: Path, registry: Registry, environ: Mapping[str, str]
    ) -> None:
        self.path = path
        self._registry = registry
        self._environ = environ
        self._traces = Traces()
        self._read: Look = {}
        self._seen: Look = {}

    def __repr__(self) -> str:
        return f"<Source {self.path}: {self._traces}>"

    def load(self) -> Loaded:
        """Read it; raises `ConfigError` with every problem there is."""
        # What changes while it is read was not read: that is noticed next time.
        before = self._traces.look()
        traces = Traces()
        try:
            loaded = load(self.path, self._registry, self._environ, traces=traces)
        except BaseException:
            # What it would be made of is not fully known: the former files may be it.
            traces.add(self._traces)
            raise
        finally:
            self._traces = traces
            found = traces.look()
            known = {each: told for each, told in before.items() if each in found}
            self._read = self._seen = found | known
        return loaded

    def changed(self) -> bool:
        """Tell whether it is not what was read last, and has come to rest.

        Who writes a file by and by is given time: two looks must agree.
        """
        found = self._traces.look()
        rests = found == self._seen
        self._seen = found
        return rests and found != self._read
