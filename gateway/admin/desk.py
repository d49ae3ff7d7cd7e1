"""What stands behind the admin listener: explaining and revoking. Floor 4.

An explanation walks the very path of a request (routing, credentials, the gatekeeper,
the rules) and tells what each step said. It is no dry run for the cache: a token that
nobody knew is asked about, as the next request would have done. The token is in no
explanation.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from gateway.errors import StoreUnavailable
from gateway.gatekeeper import Gatekeeper
from gateway.ports import Clock, Dialect, FactsSource, Marker, Revocations
from gateway.rules.credentials import (
    find_credentials,
    named_device,
    redact,
    upstream_target,
)
from gateway.rules.headers import HeaderRules
from gateway.rules.policy import Case, trace
from gateway.rules.routing import Routes
from gateway.rules.target import canonical_host, parse_target, split_absolute
from gateway.values import (
    Answer,
    Credentials,
    Decision,
    Denial,
    Invalid,
    Knowledge,
    Mark,
    MarkKind,
    NoRoute,
    Pending,
    Permit,
    Reason,
    RequestHead,
    Route,
    Secret,
    TokenFacts,
    UpstreamSettings,
)

_NAMED_BY: Final = {
    MarkKind.TOKEN_ID: "token_id",
    MarkKind.SUBJECT: "subject",
    MarkKind.CLIENT: "client",
    MarkKind.SESSION: "session_id",
}
"""The facts that marks go by."""

_HIDDEN: Final = frozenset({b"authorization", b"cookie", b"referer"})


class MarkBook(Revocations, Marker, Protocol):
    """The marks, as far as a desk needs them."""

    async def lift(self, kind: MarkKind, provider: str, name: str) -> bool:
        """Take a mark back; tell whether there was one."""
        ...

    def list(self) -> tuple[Mark, ...]:
        """Give the marks in force."""
        ...


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration in force, as far as it judges requests."""

    routes: Routes
    gatekeeper: Gatekeeper
    sources: Mapping[str, FactsSource]
    revocations: MarkBook
    headers: HeaderRules
    upstreams: Mapping[str, UpstreamSettings]
    dialects: Mapping[str, Dialect]
    clock: Clock


class Explanations:
    """Keeps `admin.views.Explainer`; `judged` gives what is in force now."""

    def __init__(self, judged: Callable[[], Judged]) -> None:
        self._judged = judged

    async def explain(
        self, method: str, url: str, headers: Mapping[str, str], token: Secret | None
    ) -> Mapping[str, object]:
        """Tell what would become of this request, and why."""
        judged = self._judged()
        head = _request_head(method, url, headers, token)
        if head is None:
            denial = Denial(reason=Reason.BAD_TARGET)
            return {"route": None, **_verdict(judged, None, denial)}
        route = judged.routes.find(head)
        if isinstance(route, NoRoute):
            decision, _ = await _decide(judged, head)
            return {"route": None, **_verdict(judged, head, decision)}
        credentials = find_credentials(head, route)
        told: dict[str, object] = {
            "route": _shown_route(route),
            "credentials": credentials.place.value
            if isinstance(credentials, Credentials)
            else None,
        }
        decision, learned = await _decide(judged, head)
        if isinstance(credentials, Credentials):
            remembered = judged.sources[route.provider].recall
            knowledge = learned or remembered(credentials.token)
            told |= _shown_facts(judged, head, route, credentials, knowledge)
        return told | _verdict(judged, head, decision)


class Desk:
    """Keeps `admin.views.RevocationDesk`."""

    def __init__(
        self, marks: MarkBook, sources: Callable[[], Mapping[str, FactsSource]]
    ) -> None:
        self._marks = marks
        self._sources = sources

    async def revoke(self, provider: str, kind: MarkKind, name: Secret) -> Mark:
        """Make a mark, and drop the facts of a token that is at hand."""
        source = self._sources()[provider]
        if kind is MarkKind.TOKEN:
            mark = self._marks.mark_token(provider, name, expiry(source, name))
        else:
            mark = self._marks.mark(kind, provider, str(name))
        await self._marks.add(mark)
        if kind is MarkKind.TOKEN:
            # The mark is in force already; a lost store costs nothing but memory.
            with contextlib.suppress(StoreUnavailable):
                await source.forget(name, source="admin")
        return mark

    async def marks(self) -> Sequence[Mark]:
        """Give the marks in force."""
        return self._marks.list()

    async def lift(self, mark: Mark) -> None:
        """Take a mark back."""
        await self._marks.lift(mark.kind, mark.provider, mark.name)


def expiry(source: FactsSource, token: str) -> float | None:
    """Tell the `exp` of a token whose facts are at hand."""
    knowledge = source.recall(token)
    if knowledge is None or isinstance(knowledge.found, Invalid):
        return None
    return knowledge.found.expires_at


def _request_head(
    method: str, url: str, headers: Mapping[str, str], token: Secret | None
) -> RequestHead | None:
    absolute = split_absolute(_raw(url))
    authority, raw = absolute if absolute is not None else (b"", _raw(url))
    lines = [(_raw(name.lower()), _raw(value)) for name, value in headers.items()]
    if token is not None:
        lines.append((b"authorization", b"Bearer " + _raw(token)))
    authority = authority or dict(lines).get(b"host", b"")
    host, target = canonical_host(authority), parse_target(raw)
    if host is None or target is None:
        return None
    return RequestHead(
        method=method,
        target=target,
        host=host,
        authority=authority,
        headers=[line for line in lines if line[0] != b"host"],
        peer="127.0.0.1",
        scheme="https" if url.startswith("https:") else "http",
    )


def _raw(text: str) -> bytes:
    # Bytes of a command line that are no UTF-8 reach Python as surrogates.
    return text.encode("utf-8", "surrogateescape")


async def _decide(
    judged: Judged, head: RequestHead
) -> tuple[Decision | Answer, Knowledge | None]:
    """Decide, and tell what was learned for it, if that was necessary."""
    keeper = judged.gatekeeper
    decision = keeper.decide(head)
    if not isinstance(decision, Pending):
        return decision, None
    knowledge = await keeper.inquire(decision)
    credentials = decision.credentials
    if isinstance(knowledge, Denial):
        return keeper.enforced(knowledge, credentials), None
    judged_so = keeper.conclude(decision, knowledge)
    return keeper.enforced(judged_so, credentials), knowledge


def _hits(
    marks: MarkBook, provider: str, token: str, facts: TokenFacts | None
) -> list[dict[str, object]]:
    """Tell which marks refuse this token, by kind and moment; never their names.

    Each is tried alone, by facts that hold nothing else it could go by.
    """
    if not marks.covers(provider, token, facts):
        return []
    names = {
        MarkKind.TOKEN: marks.mark_token(provider, token).name,
        MarkKind.PROVIDER: "",
    }
    if facts is not None:
        whole = marks.covers(provider, "", _only(facts))
        if not whole:
            del names[MarkKind.PROVIDER]
        for kind, field in () if whole else _NAMED_BY.items():
            if marks.covers(provider, "", _only(facts, field)):
                names[kind] = getattr(facts, field)
    return [
        {"kind": mark.kind.value, "moment": mark.moment}
        for mark in marks.list()
        if mark.provider == provider and names.get(mark.kind) == mark.name
    ]


def _only(facts: TokenFacts, *kept: str) -> TokenFacts:
    """Give the facts without the names that marks go by, but for those kept."""
    others = {field: None for field in _NAMED_BY.values() if field not in kept}
    return msgspec.structs.replace(facts, **others)


# --------------------------------------------------------------------- wording


def _shown_route(route: Route) -> dict[str, object]:
    return {
        "id": route.id,
        "host": route.host,
        "path": route.path,
        "methods": sorted(route.methods),
        "kind": route.kind.value,
        "access": route.access.value,
        "provider": route.provider,
        "upstream": route.upstream,
    }


def _shown_facts(
    judged: Judged,
    head: RequestHead,
    route: Route,
    credentials: Credentials,
    knowledge: Knowledge | None,
) -> dict[str, object]:
    facts = knowledge.found if knowledge is not None else None
    hits = _hits(
        judged.revocations,
        route.provider,
        credentials.token,
        facts if isinstance(facts, TokenFacts) else None,
    )
    if knowledge is None:
        return {"facts": None, "marks": hits, "rules": []}
    found = knowledge.found
    now = judged.clock.now()
    told: dict[str, Any] = {
        "source": knowledge.source.value,
        "age": round(max(0.0, now - knowledge.obtained_at), 3),
    }
    if isinstance(found, Invalid):
        told["invalid"] = found.reason.value
        return {"facts": told, "marks": hits, "rules": []}
    revoked = judged.revocations.covers(route.provider, credentials.token, found)
    rule = route.require.device
    device = None if rule is None else named_device(head, rule)
    case = Case(route, found, now, revoked, device)
    told |= {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in msgspec.structs.asdict(found).items()
        if value not in (None, {})
    }
    rules = [
        {"rule": name, "outcome": "pass" if reason is None else reason.value}
        for name, reason in trace(case)
    ]
    return {"facts": told, "marks": hits, "rules": rules}


def _verdict(
    judged: Judged, head: RequestHead | None, decision: Decision | Answer
) -> dict[str, object]:
    match decision:
        case Answer() as answer:
            return {"decision": "preflight", "answer": _shown_answer(answer)}
        case Denial() as denial:
            answer = judged.dialects[denial.dialect].answer(denial)
            return {
                "decision": "deny",
                "reason": denial.reason.value,
                "source": denial.source.value,
                "answer": _shown_answer(answer),
            }
        case Permit() as permit:
            told: dict[str, object] = {
                "decision": "allow",
                "source": permit.source.value,
            }
            if permit.shadow is not None:
                # It is refused but for the route's `enforce: shadow`.
                told |= {"decision": "shadow", "reason": permit.shadow.value}
            if head is not None:
                told["upstream"] = _shown_upstream(judged, head, permit)
            return told


def _shown_answer(answer: Answer) -> dict[str, object]:
    return {
        "status": answer.status,
        "headers": [_line(name, value) for name, value in answer.headers],
        "body": answer.body.decode(),
    }


def _shown_upstream(
    judged: Judged, head: RequestHead, permit: Permit
) -> dict[str, object]:
    name = permit.route.upstream
    if not name:
        # A provider's logouts go no further.
        return {"name": None}
    headers = judged.headers.upstream_headers(
        head, permit, request_id=b"explain", host=judged.upstreams[name].host
    )
    if isinstance(headers, Reason):
        return {"refused": headers.value}
    return {
        "name": name,
        # A public route leaves a token in the query to its upstream, not to us.
        "target": redact(upstream_target(head.target, permit)).decode("latin-1"),
        "headers": [_line(*header) for header in headers if header[0] not in _HIDDEN],
    }


def _line(name: bytes, value: bytes) -> str:
    return f"{name.decode('latin-1')}: {value.decode('latin-1')}"
