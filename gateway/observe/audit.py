"""Write down who changed what through the admin listener. Floor 4.

One line among the events, `event: "audit"`, whatever `log.level` says: a change that
nobody can be asked about afterwards is worse than a talkative log. Who was turned away
changed nothing and may come a thousand times: that is told once in a while, by address
and by why.
The writer is the events' own, which never makes anybody wait.
"""

from typing import Final

from gateway.observe.logs import Log

_TURNED_AWAY: Final = "denied"


class AuditLog:
    """Keeps `admin.promises.Auditor`."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __repr__(self) -> str:
        return "<AuditLog>"

    def record(self, action: str, outcome: str, /, **fields: str | float) -> None:
        """Take note of a change, of an attempt at one, or of an explanation."""
        told = {"action": action, "outcome": outcome, **fields}
        if outcome == _TURNED_AWAY:
            key = (action, fields.get("peer", ""), fields.get("error", ""))
            self._log.repeated("audit", key, **told)
        else:
            self._log.always("audit", **told)
