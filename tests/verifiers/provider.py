"""A provider at the promise `ProviderHttp`, and what a verifier is built with."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from gateway.errors import ProviderUnavailable, StoreUnavailable
from gateway.ports import Question, Reply, VerifierContext
from gateway.values import Grant
from tests.fakes import Clock


class ScriptedProvider:
    """Answers by URL, and remembers what it was asked. What it lacks is an outage."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.answers: dict[str, Reply] = {}
        self.open = asyncio.Event()
        self.open.set()

    def says(
        self,
        url: str,
        body: Any = b"",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer this from now on; what is not bytes is said as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers[url] = Reply(status, headers or {}, raw)

    def is_down(self) -> None:
        """Answer nothing any more."""
        self.answers.clear()

    def asked(self, endpoint: str) -> int:
        """Count the questions to an endpoint."""
        return sum(question.endpoint == endpoint for question in self.questions)

    async def ask(self, question: Question) -> Reply:
        self.questions.append(question)
        await self.open.wait()
        if question.url not in self.answers:
            msg = "the provider is down"
            raise ProviderUnavailable(msg)
        return self.answers[question.url]


class RememberedGrants:
    """Grants by provider and token, or a store that is down."""

    def __init__(self, grants: Mapping[tuple[str, str], Grant] | None = None) -> None:
        self._grants = grants

    async def recall(self, provider: str, token: str) -> Grant | None:
        if self._grants is None:
            msg = "the store is down"
            raise StoreUnavailable(msg)
        return self._grants.get((provider, token))


def context(http: ScriptedProvider, clock: Clock, **changes: Any) -> VerifierContext:
    """Give the context of a verifier of melon."""
    given = {"provider": "melon", "grants": RememberedGrants({}), **changes}
    return VerifierContext(http=http, clock=clock, **given)
