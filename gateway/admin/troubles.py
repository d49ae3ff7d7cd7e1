"""What is wrong now, what it means, and what to do. Floor 4: pure.

The first thing an operator reads; nothing is listed that needs no attention.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gateway.admin.parts import ProviderView, UpstreamView
from gateway.admin.picture import Picture, StorePicture
from gateway.admin.pulse import Tally
from gateway.admin.traffic import Outcomes, outcome, reasons
from gateway.values import Reload

_FEW: Final = 20
"""Fewer requests say nothing about how many of them fail."""


class Trouble(msgspec.Struct, frozen=True):
    """Something that is wrong now: what, what it means, and what to do.

    `level` is `bad` (requests fail for it) or `warn`.
    """

    level: str
    what: str
    means: str


class Workers(msgspec.Struct, frozen=True, kw_only=True):
    """The processes that serve."""

    wanted: int = 1
    serving: int = 1
    restarts: int = 0


def troubles(
    picture: Picture,
    workers: Workers,
    providers: Iterable[ProviderView],
    upstreams: Iterable[UpstreamView],
    recent: Tally,
    requests: Outcomes,
) -> tuple[Trouble, ...]:
    """List what is wrong, the worst first."""
    found = (
        *_process(picture, workers),
        *_store(picture.store),
        *_providers(providers),
        *_upstreams(upstreams),
        *_failing(recent, requests),
    )
    return tuple(sorted(found, key=lambda each: each.level))


def refused(reload: Reload | None) -> Iterable[Trouble]:
    """Say that the files hold a configuration that is not in force."""
    if reload is not None and not reload.ok:
        problem = next(iter(reload.problems), "no reason was told")
        yield Trouble(
            "warn",
            "The configuration in the files was refused",
            f"What was in force before still serves. {problem}",
        )


def _process(picture: Picture, workers: Workers) -> Iterable[Trouble]:
    if picture.draining:
        yield Trouble(
            "warn", "The gateway is draining", "It lets nobody new in, and ends."
        )
    elif not picture.started:
        yield Trouble(
            "bad",
            "The gateway has not started yet",
            "It is not ready until clients are let in and the revocations have been"
            " read from the store.",
        )
    if workers.serving < workers.wanted:
        yield Trouble(
            "bad" if not workers.serving else "warn",
            f"{workers.serving} of {workers.wanted} workers serve",
            "The others are being replaced; the log tells why they ended.",
        )


def _store(store: StorePicture) -> Iterable[Trouble]:
    if not store.up:
        yield Trouble(
            "bad",
            f"The store ({store.kind}) does not answer",
            "Every process asks the providers for itself; revocations cannot be made,"
            " and those of other processes are not heard of.",
        )
    if store.lost:
        yield Trouble(
            "bad",
            "Revocations have been unheard of for too long",
            "Routes with revocation: strict answer 503; the others go on by what is"
            " known here. Bring the store back.",
        )
    elif store.blind:
        yield Trouble(
            "warn",
            "Revocations made elsewhere are not heard of",
            "What is known stays in force, and providers are asked more often.",
        )
    if store.evicts:
        yield Trouble(
            "warn",
            "The store may forget revocations",
            "Set its maxmemory-policy to noeviction.",
        )


def _providers(providers: Iterable[ProviderView]) -> Iterable[Trouble]:
    for each in providers:
        name, failed = each.now.provider, _counted(each.failures)
        if each.state == "bad":
            yield Trouble(
                "bad",
                f"Provider {name} is left alone after many failures",
                f"Tokens that are not known yet get 503. Lately: {failed or 'nothing'}."
                " gateway doctor tells more.",
            )
        elif each.failures:
            yield Trouble(
                "warn",
                f"Provider {name} fails now and then",
                f"Lately, of {each.asked} questions: {failed}.",
            )


def _upstreams(upstreams: Iterable[UpstreamView]) -> Iterable[Trouble]:
    for each in upstreams:
        out = [str(t.now.target) for t in each.targets if t.state != "good"]
        if each.state == "bad":
            yield Trouble(
                "bad",
                f"Upstream {each.upstream} has no target that is well",
                f"Its targets are tried all the same: {', '.join(out)}.",
            )
        elif out:
            yield Trouble(
                "warn",
                f"Upstream {each.upstream} serves without some targets",
                f"Ejected or unwell: {', '.join(out)}.",
            )


def _failing(tally: Tally, requests: Outcomes) -> Iterable[Trouble]:
    if requests.failed and requests.failed * 100 >= requests.all >= _FEW:
        counts = {
            each.reason: each.count
            for each in reasons(tally)
            if outcome(each.decision, each.reason) == "failed"
        }
        yield Trouble(
            "bad" if requests.failed * 20 >= requests.all else "warn",
            f"{requests.failed} of {requests.all} requests failed lately",
            f"By reason: {_counted(counts)}.",
        )


def _counted(counts: Mapping[str, int]) -> str:
    told = sorted(counts.items(), key=lambda each: -each[1])
    return ", ".join(f"{count} {name}" for name, count in told)
