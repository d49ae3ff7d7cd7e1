"""Revocations."""

import msgspec

from gateway.values.words import MarkKind


class Mark(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A revocation: tokens of this kind and name issued up to `moment` are refused.

    `name` is a keyed fingerprint for tokens, the plain subject, client, session or
    token id otherwise, and empty for a whole provider. The mark dies at
    `expires_at`, the last moment a token it concerns could be alive.
    """

    kind: MarkKind
    provider: str
    name: str
    moment: float
    expires_at: float


class MarkRecord(msgspec.Struct, frozen=True, gc=False):
    """A mark, and when it was last lifted: 0 for never."""

    mark: Mark
    lifted_at: float = 0.0

    @property
    def in_force(self) -> bool:
        """Tell whether the mark is younger than its last lifting."""
        return self.mark.moment > self.lifted_at
