"""A real foreign authorization server: oidc-provider from npm, over sockets.

It comes from its registry on the first run (some 4 MB) and stays beside this file.
"""

import asyncio
import base64
import json
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from gateway.errors import ProviderUnavailable
from gateway.ports import Verifier, VerifierContext
from gateway.provider_http import ProviderClient
from gateway.values import Invalid, NotMine, Reason, TokenFacts
from gateway.verifiers import introspection, jwt, userinfo
from tests.verifiers.provider import RememberedGrants

pytestmark = [pytest.mark.engines, pytest.mark.timeout(180)]

FOLDER = Path(__file__).parent / "oidc_provider"
SECRET = "sesame+colon:and space, long enough"
BASIC, POST = "basic:client", "post-client"


class SystemClock:
    """Real time: the server judges by it too."""

    def now(self) -> float:
        return time.time()  # noqa: TID251 -- a foreign server knows no fake clock

    def monotonic(self) -> float:
        return time.monotonic()


CLOCK = SystemClock()


async def installed() -> None:
    """Fetch the server with npm, or skip and say why."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not on the path: oidc-provider cannot run")
    if (FOLDER / "node_modules" / "oidc-provider").is_dir():
        return
    npm = await asyncio.create_subprocess_exec(
        *("npm", "install", "--no-audit", "--no-fund", "--no-package-lock"),
        "--ignore-scripts",
        cwd=FOLDER,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await npm.communicate()
    if npm.returncode != 0:
        last = complaint.decode(errors="replace").strip().splitlines()[-1:]
        pytest.skip(f"npm could not install oidc-provider: {last}")


@pytest.fixture
async def server() -> AsyncIterator[dict[str, Any]]:
    """Run the server, and give what it says of itself."""
    await installed()
    node = await asyncio.create_subprocess_exec(
        *("node", "op.mjs"),
        cwd=FOLDER,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert node.stdout is not None
    try:
        async with asyncio.timeout(30):
            line = b""
            while not line.startswith(b"{"):
                line = await node.stdout.readline()
                assert line, "oidc-provider ended before it served"
        yield json.loads(line)
    finally:
        node.kill()
        await node.communicate()


@pytest.fixture
async def context() -> AsyncIterator[VerifierContext]:
    """What the verifiers are built with: a real client, real time."""
    async with ProviderClient("op") as client:
        yield VerifierContext(
            provider="op",
            http=client,
            clock=CLOCK,
            grants=RememberedGrants({}),
            claims=frozenset({"nickname"}),
        )


async def post(server: dict[str, Any], path: str, **form: str) -> dict[str, Any]:
    """Be a client of the server: post a form with our credentials."""
    mine = {"client_id": POST, "client_secret": SECRET}
    async with (
        aiohttp.ClientSession() as session,
        session.post(URL(server["issuer"] + path), data={**mine, **form}) as response,
    ):
        assert 200 == response.status
        text = await response.text()
        answer: dict[str, Any] = json.loads(text) if text else {}
        return answer


async def token_for(server: dict[str, Any], **form: str) -> str:
    """Get an access token with our own credentials."""
    answer = await post(server, "/token", grant_type="client_credentials", **form)
    return str(answer["access_token"])


def introspecting(
    server: dict[str, Any], context: VerifierContext, **changes: Any
) -> Verifier:
    """Build the introspection verifier."""
    settings = {
        "url": f"{server['issuer']}/token/introspection",
        "client_id": BASIC,
        "client_secret": SECRET,
        **changes,
    }
    return introspection.build(introspection.Settings(**settings), context)


@pytest.mark.parametrize("auth", ["basic", "post"])
async def test_introspection_tells_the_facts(server, context, auth):
    """Of an opaque token, with each way to show who we are."""
    verifier = introspecting(
        server,
        context,
        auth=auth,
        client_id=BASIC if auth == "basic" else POST,
        issuer=server["issuer"],
    )
    token = await token_for(server, scope="read write")

    found = await verifier.verify(token, CLOCK.now())

    assert isinstance(found, TokenFacts)
    assert frozenset({"read", "write"}) == found.scopes
    assert (POST, server["issuer"]) == (found.client, found.issuer)
    assert 290 < (found.expires_at or 0) - CLOCK.now() <= 300


async def test_a_revoked_token_is_inactive(server, context):
    """RFC 7009, then RFC 7662."""
    verifier = introspecting(server, context)
    token = await token_for(server, scope="read")

    before = await verifier.verify(token, CLOCK.now())
    await post(server, "/token/revocation", token=token)
    after = await verifier.verify(token, CLOCK.now())

    assert isinstance(before, TokenFacts)
    assert Invalid(Reason.INACTIVE) == after


async def test_an_unknown_token_is_inactive(server, context):
    """The server has never seen it."""
    found = await introspecting(server, context).verify("nonsense", CLOCK.now())

    assert Invalid(Reason.INACTIVE) == found


async def test_a_refresh_token_is_told_by_its_missing_type(server, context):
    """This server calls it active; `require_token_type` sees through that."""
    verifier = introspecting(server, context, require_token_type="Bearer")

    access = await verifier.verify(server["user"]["access"], CLOCK.now())
    refresh = await verifier.verify(server["user"]["refresh"], CLOCK.now())

    assert isinstance(access, TokenFacts)
    assert "ada" == access.subject
    assert Invalid(Reason.REFRESH_TOKEN) == refresh


@pytest.mark.parametrize("source", ["discovery", "jwks_url"])
async def test_a_jwt_is_proven_by_published_keys(server, context, source):
    """RFC 9068 tokens, checked here after the keys were fetched once."""
    where = {"discovery": server["issuer"], "jwks_url": f"{server['issuer']}/jwks"}
    settings = jwt.Settings(
        algorithms=["RS256"],
        issuer=server["issuer"],
        audience=[server["resource"]],
        require_typ="at+jwt",
        **{source: where[source]},
    )
    verifier = jwt.build(settings, context)
    token = await token_for(server, scope="read", resource=server["resource"])
    header, payload, signature = token.split(".")
    stranger = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"x"}').decode()

    found = await verifier.verify(token, CLOCK.now())

    assert isinstance(found, TokenFacts)
    assert frozenset({"read"}) == found.scopes
    assert (POST, (server["resource"],)) == (found.client, found.audience)
    forged = f"{header}.{payload}.{signature[4:]}{signature[:4]}"
    assert Invalid(Reason.BAD_SIGNATURE) == await verifier.verify(forged, CLOCK.now())
    # Its key may have come into force since the keys were fetched, a moment ago.
    with pytest.raises(ProviderUnavailable):
        await verifier.verify(
            f"{stranger.rstrip('=')}.{payload}.{signature}", CLOCK.now()
        )
    opaque = await token_for(server, scope="read")
    assert NotMine() == await verifier.verify(opaque, CLOCK.now())


async def test_userinfo_tells_the_subject(server, context):
    """And tells a bad token from one that may not ask."""
    settings = userinfo.Settings(url=f"{server['issuer']}/me")
    verifier = userinfo.build(settings, context)
    user = server["user"]

    found = await verifier.verify(user["access"], CLOCK.now())

    assert isinstance(found, TokenFacts)
    assert ("ada", {"nickname": "마시마렁"}) == (found.subject, found.claims)
    assert Invalid(Reason.INACTIVE) == await verifier.verify("nonsense", CLOCK.now())
    assert Invalid(Reason.INSUFFICIENT_SCOPE) == await verifier.verify(
        user["unscoped"], CLOCK.now()
    )
