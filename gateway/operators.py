"""The operators' door: what a process needs to open its admin listener. Floor 5.

The same for a process alone and for the parent of workers: who may come in, by which
certificate, and what is counted of those who may not.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial

from gateway.admin.guards import Doorkeeper
from gateway.admin.guesses import REFUSALS as GUESSED
from gateway.admin.guesses import Guesses
from gateway.certificates import Renewal, Watch
from gateway.config.model import Config
from gateway.fronts.handshakes import REFUSALS as UNHEARD
from gateway.observe.logs import Log
from gateway.ports import Clock
from gateway.wire.tls import Certificates


class Operators:
    """The door of one process."""

    def __init__(
        self, config: Callable[[], Config], *, log: Log, clock: Clock, watch: Watch
    ) -> None:
        """`config` gives the one in force. Raises `TlsUnusable`."""
        begun = config()
        self.renewal: Renewal | None = None
        """What looks after its certificate, if it has one."""
        if begun.admin.tls is not None:
            self.renewal = Renewal("admin", begun.admin.tls, log)
            self.renewal.show(watch)
        guesses = Guesses(clock.monotonic)
        self.keeper = Doorkeeper(
            token=lambda: config().admin.token,
            guesses=guesses,
            now=clock.now,
            hosts=(begun.listen.admin.host,),
            names=self._names,
        )
        self.unheard = Counter[str]()
        """Connections that did not come through a handshake, by why."""
        for counted, reasons in ((self.unheard, UNHEARD), (guesses.counted, GUESSED)):
            for why in reasons:
                watch("admin_refused_total", partial(counted.__getitem__, why), why)

    def __repr__(self) -> str:
        return f"<Operators: {self.renewal or 'no TLS'}>"

    @property
    def certificates(self) -> Certificates | None:
        """Give what handshakes are made with, None where there are none."""
        return None if self.renewal is None else self.renewal.certificates

    def _names(self) -> frozenset[str]:
        found = self.certificates
        return frozenset() if found is None else found.names
