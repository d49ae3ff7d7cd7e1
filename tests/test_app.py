import asyncio
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.app import App, SystemClock
from gateway.config.changes import version
from gateway.errors import ConfigError
from gateway.fronts.oauth import TokenEndpoint
from gateway.generation import Part, teachers
from gateway.tasks import running
from gateway.values import Exchange, MarkKind, Origin, Secret
from tests.facts.doubles import Cupboard
from tests.wired import SIGNED, configured, issuer, token, wired

UPSTREAM = 'upstreams: {api: {targets: ["http://127.0.0.1:9"]}}\n'
ROUTE = "{id: read, match: {path: /read}, provider: lab, upstream: api"
LOCAL = f"{{{SIGNED}}}"
CLIENT = "client_id: us, client_secret: hunter2"


def one(provider: str, route: str = "", *, more: str = "") -> str:
    """Write a configuration of one provider and one route for its tokens."""
    return (
        f"providers: {{lab: {provider}}}\n{UPSTREAM}routes: [{ROUTE}{route}}}]\n{more}"
    )


def asking(url: str, more: str = "") -> str:
    """Write a provider that is asked."""
    asked = f'introspection: {{url: "{url}", {CLIENT}}}'
    return f"{{verify: [introspection], {asked}{more}}}"


async def decided(app: App, bearer: str) -> tuple[object, object]:
    """Put a token to the gateway; gives the decision and its reason."""
    told = await explained(app, bearer)
    return told["decision"], told.get("reason")


async def explained(app: App, bearer: str) -> Mapping[str, Any]:
    """Put a token to the gateway; gives the whole explanation."""
    return await app.explainer.explain("GET", "http://h/read", {}, Secret(bearer))


def reading(app: App, name: str, **labels: str) -> float | None:
    """Scrape one value."""
    return app.metrics_registry.get_sample_value(f"gateway_{name}", labels)


def events(folder: Path) -> list[dict[str, Any]]:
    """Read what was told in the log of an app that is closed."""
    lines = (folder / "events.log").read_text().splitlines()
    return [json.loads(line) for line in lines]


EXCHANGE = Exchange(
    request_id="r-1",
    started_at=0.0,
    duration=0.1,
    upstream_wait=0.05,
    method="GET",
    host="h",
    path="/read",
    status=200,
    decision="allow",
    reason="ok",
    source="l1",
    route="read",
    provider="lab",
    upstream="api",
    client="shop",
    peer="192.0.2.7",
    scheme="http",
    request_bytes=0,
    response_bytes=2,
)


def test_the_system_clock_tells_two_times():
    """The one that can be set, and the one that cannot."""
    clock = SystemClock()

    assert 1_700_000_000 < clock.now()
    assert clock.monotonic() <= clock.monotonic()


# ------------------------------------------------------------------------ providers


async def test_a_provider_may_have_its_own_authority(tmp_path):
    """`ca_file`: its certificate is trusted; without it the same provider is not."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with issuer(ssl=tls) as lab:
        assert lab.url.startswith("https://")
        lab.tokens["T1"] = {"sub": "ada"}
        own = f", ca_file: {tmp_path / 'ca.pem'}"
        async with wired(one(asking(lab.url, own)), tmp_path) as app:
            trusting = await decided(app, "T1")
        async with wired(one(asking(lab.url)), tmp_path) as app:
            doubting = await decided(app, "T1")

    assert ("allow", None) == trusting
    assert ("deny", "provider_unavailable") == doubting


@pytest.mark.parametrize(
    ("settings", "questions"),
    [
        ("", 1),
        (", cache: {ttl: 0s}", 2),
        (", cache: {memory: 1B}", 2),
        (", expiry_margin: 400s", 2),
    ],
)
async def test_facts_are_kept_as_configured(tmp_path, settings, questions):
    """Each setting of the cache reaches it."""
    async with issuer() as lab, wired(one(asking(lab.url, settings)), tmp_path) as app:
        lab.tokens["T1"] = {"sub": "ada", "exp": int(app.clock.now()) + 300}
        assert ("allow", None) == await decided(app, "T1")
        assert ("allow", None) == await decided(app, "T1")

    assert questions == len(lab.asked)


@pytest.mark.parametrize(
    ("settings", "questions"), [("", 1), (", cache: {negative_ttl: 0s}", 2)]
)
async def test_verdicts_are_kept_as_configured(tmp_path, settings, questions):
    """They have a time of their own."""
    async with issuer() as lab, wired(one(asking(lab.url, settings)), tmp_path) as app:
        assert ("deny", "inactive") == await decided(app, "T1")
        assert ("deny", "inactive") == await decided(app, "T1")

    assert questions == len(lab.asked)


@pytest.mark.parametrize(
    ("scope_claim", "expected"),
    [("null", ("allow", None)), ("scope", ("deny", "insufficient_scope"))],
)
async def test_assumed_scopes_are_of_tokens_that_do_not_tell(
    tmp_path, scope_claim, expected
):
    """An operator's word; what the provider says goes before it."""
    provider = LOCAL.replace("jwt: {", f"jwt: {{scope_claim: {scope_claim}, ")
    text = one(provider, ", require: {scopes: [read]}")
    text = text.replace("{verify:", "{assume_scopes: [read], verify:")
    async with wired(text, tmp_path) as app:
        assert expected == await decided(app, token(scope="write"))


async def test_only_claims_that_somebody_asks_for_are_kept(tmp_path):
    """Routes and identity headers ask."""
    route = ", require: {claims: {plan: gold}}"
    headers = "identity_headers: {claims: {X-Auth-Team: org.team}}"
    bearer = token(plan="gold", org={"team": "blue", "site": "S"}, email="a@b.example")
    async with wired(one(LOCAL, route, more=headers), tmp_path) as app:
        told = await explained(app, bearer)

    assert "allow" == told["decision"]
    assert {"plan": "gold", "org.team": "blue"} == told["facts"]["claims"]


async def test_the_skew_of_a_providers_clock_reaches_rules_and_verifier(tmp_path):
    """A token that ran out a moment ago is still good."""
    late = token(exp=int(SystemClock().now()) - 20)
    async with wired(one(f"{{{SIGNED}, clock_skew: 60s}}"), tmp_path) as app:
        assert ("allow", None) == await decided(app, late)
    async with wired(one(LOCAL), tmp_path) as app:
        assert ("deny", "expired") == await decided(app, late)


async def test_a_provider_that_fails_is_counted_and_told(tmp_path):
    """In the metrics and in the log, once each."""
    async with wired(one(asking("http://127.0.0.1:9/introspect")), tmp_path) as app:
        assert ("deny", "provider_unavailable") == await decided(app, "T1")
        counted = reading(
            app,
            "idp_requests_total",
            provider="lab",
            endpoint="introspect",
            code="refused",
        )

    (event,) = events(tmp_path)
    assert 1 <= (counted or 0)
    assert ("provider_failing", "lab", "refused") == (
        event["event"],
        event["provider"],
        event["code"],
    )


# ------------------------------------------------------------------------ revocation


async def test_the_word_of_a_provider_that_is_asked_ends_a_mark(tmp_path):
    """Whoever logs in again is let in: the provider vouched for the new token."""
    async with issuer() as lab, wired(one(asking(lab.url)), tmp_path) as app:
        lab.tokens = {"T1": {"sub": "ada"}, "T2": {"sub": "ada"}}
        assert ("allow", None) == await decided(app, "T1")
        await app.desk.revoke("lab", MarkKind.SUBJECT, Secret("ada"))

        assert ("deny", "revoked") == await decided(app, "T1")
        assert ("allow", None) == await decided(app, "T2")


async def test_a_signature_that_is_checked_again_ends_no_mark(tmp_path):
    """Nobody was asked: the token says only what it always said."""
    async with wired(one(LOCAL), tmp_path) as app:
        await app.desk.revoke("lab", MarkKind.SUBJECT, Secret("ada"))

        assert ("deny", "revoked") == await decided(app, token(jti="1"))
        assert ("deny", "revoked") == await decided(app, token(jti="2"))
        assert ("allow", None) == await decided(app, token(sub="bob"))


async def test_a_known_lifetime_tells_when_a_token_was_issued(tmp_path):
    """`token_lifetime` less than what it has left: it is younger than the mark."""
    async with wired(one(f"{{{SIGNED}, token_lifetime: 100s}}"), tmp_path) as app:
        await app.desk.revoke("lab", MarkKind.SUBJECT, Secret("ada"))
        now = app.clock.now()

        assert ("deny", "revoked") == await decided(app, token(exp=now + 90))
        assert ("allow", None) == await decided(app, token(exp=now + 110))


# --------------------------------------------------------------------------- grants


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://ID.example/oauth/token", Origin("https", "id.example", 443)),
        ("http://127.0.0.1/oauth/token", Origin("http", "127.0.0.1", 80)),
        ("http://127.0.0.1:9100/oauth/token", Origin("http", "127.0.0.1", 9100)),
    ],
)
def test_a_learning_provider_names_the_endpoint_that_teaches(url, origin):
    """Exactly one place, with the port that its scheme implies."""
    verify = f'verify: [learned, jwt], learned: {{token_endpoint: "{url}"}}'
    both = f"{{lab: {{{SIGNED.replace('verify: [jwt]', verify)}}}, other: {LOCAL}}}"

    found = teachers(configured(f"providers: {both}").config)

    assert {"lab": TokenEndpoint(origin, b"/oauth/token")} == found


# -------------------------------------------------------------------------- metrics


async def test_the_metrics_show_what_is_true_now(tmp_path):
    """Read when they are scraped."""
    async with wired(one(LOCAL), tmp_path) as app:
        names = ("cache_entries", "revocation_marks", "http_requests_in_flight")
        labels: list[dict[str, str]] = [{"tier": "l1"}, {}, {}]

        def readings() -> list[float | None]:
            return [
                reading(app, name, **each)
                for name, each in zip(names, labels, strict=True)
            ]

        before = readings()
        await decided(app, token())
        await app.desk.revoke("lab", MarkKind.SUBJECT, Secret("bob"))
        app.reception.in_flight += 1

        assert [0, 0, 0] == before
        assert [1, 1, 1] == readings()
        assert 1 == reading(app, "config_info", hash=version(app.config))


async def test_every_exchange_is_told_to_the_metrics_and_to_the_observers(tmp_path):
    """One record, many readers."""
    told: list[Exchange] = []

    class Observer:
        def observe(self, exchange: Exchange) -> None:
            told.append(exchange)

    async with wired(one(LOCAL), tmp_path, observers=(Observer(),)) as app:
        app.reception.in_flight += 1
        app.reception.ended(EXCHANGE)
        counted = reading(
            app, "http_requests_total", route="read", method="GET", code="200"
        )

    assert [EXCHANGE] == told
    assert 1 == counted


# ---------------------------------------------------------------------- life and end


async def test_each_process_has_a_pseudonym_of_its_own(tmp_path):
    """Two gateways in a row do not take each other for a loop (RFC 9110 §7.6.3)."""
    names = set()
    for _ in range(2):
        async with wired(one(LOCAL), tmp_path) as app:
            headers = (await explained(app, token()))["upstream"]["headers"]
            names |= {line for line in headers if line.startswith("via: 1.1 gateway-")}

    assert 2 == len(names)


async def test_it_knows_whether_the_store_answers(tmp_path):
    """Now, not as of some moment before."""
    cupboard = Cupboard()
    async with wired(one(LOCAL), tmp_path) as app:
        app.generation.store = cupboard
        well = await app.store_answers()
        cupboard.fails = True
        lost = await app.store_answers()

    assert (True, False) == (well, lost)


async def test_a_shared_store_is_closed_with_the_app(tmp_path):
    """As is every connection to a provider and to an upstream."""
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        gone.set()
        writer.close()

    class Kept(Cupboard):
        closed = False

        async def close(self) -> None:
            self.closed = True

    store = Kept()
    upstream = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    async with issuer() as lab:
        lab.tokens["T1"] = {"sub": "ada"}
        text = one(asking(lab.url)).replace("127.0.0.1:9", f"127.0.0.1:{port}")
        async with wired(text, tmp_path) as app:
            app.generation.parts["store", ""] = Part(b"", store, store.close)
            assert ("allow", None) == await decided(app, "T1")
            await app.pools["api"].take()
            assert not gone.is_set()
            assert 1 == lab.connections
        async with asyncio.timeout(5):
            await gone.wait()
            while lab.connections:  # noqa: ASYNC110 -- it has no event
                await asyncio.sleep(0)
    upstream.close()

    assert store.closed
    assert frozenset() == running()


async def test_an_unusable_certificate_file_is_a_problem_of_the_configuration(tmp_path):
    """Told before anything is served."""
    (tmp_path / "ca.pem").write_text("no certificate")
    text = one(asking("https://id.example/", f", ca_file: {tmp_path / 'ca.pem'}"))

    with pytest.raises(ConfigError, match=r"providers\.lab\.ca_file"):
        async with wired(text, tmp_path):
            pass


async def test_it_tells_how_much_it_serves(tmp_path):
    """In a line of a log."""
    async with wired(one(LOCAL), tmp_path) as app:
        assert "<App: 1 routes>" == repr(app)
