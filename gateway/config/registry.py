"""What configuration must know of the plug-ins. Floor 2: Protocols only.

`app.py` knows the plug-ins and hands them in, so nothing here imports upward.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel

from gateway.ports import Dialect


class VerifierPlugin(Protocol):
    """A module of `gateway.verifiers`, as far as configuration is concerned."""

    @property
    def Settings(self) -> type[BaseModel]:  # noqa: N802 -- a class in a module
        """The model of this verifier's own section."""
        ...

    def knows(self, settings: Any, /) -> Collection[str]:
        """Name the facts it can tell: `scope`, `client`, `expiry`, `device`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The plug-ins, each under the name it has in a configuration file."""

    dialects: Mapping[str, Dialect]
    verifiers: Mapping[str, VerifierPlugin]
    store_schemes: Collection[str]
    lacking: Mapping[str, str] = field(default_factory=dict)
    """What listeners need that is not installed, by their keys: how to install it."""
