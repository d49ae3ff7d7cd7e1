import pytest

from tests.sandbox.partner import AUTHORIZE, CALLBACK, SERVERS, Form

PROVIDERS = sorted(AUTHORIZE)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_form_asks_what_was_asked(partner, provider):
    """By GET to the same path, with the parameters as they came and a decision."""
    page = await partner.authorize(provider, state="", extra="kept & <held>")
    form = Form(page.body.decode())

    assert {"class": "card", "method": "get"} == form.attributes
    assert [("decision", "deny"), ("decision", "allow")] == form.buttons
    assert ("demo", "", "kept & <held>", CALLBACK) == tuple(
        form.fields[name] for name in ("client_id", "state", "extra", "redirect_uri")
    )


async def test_submitted_decision_is_not_asked_again(partner):
    """Own fields never come back as hidden ones, which would repeat them."""
    page = await partner.authorize(
        "melon", decision="perhaps", **{"scope.streaming": "on"}
    )
    form = Form(page.body.decode())

    assert 200 == page.status
    assert {"response_type", "client_id", "redirect_uri", "state", "scope"} == set(
        form.fields
    )


async def test_required_scope_is_shown_as_fixed(partner):
    """`user-private-read` cannot be unticked, and is granted unticked."""
    page = await partner.authorize("melon")
    form = Form(page.body.decode())
    tokens = await partner.exchange(
        "melon",
        await partner.code(
            "melon", untick=frozenset({"scope.streaming", "scope.user-like-read"})
        ),
    )
    told = await partner.introspect("melon", tokens.json["access_token"])

    assert {"scope.user-private-read"} == form.fixed
    assert {"scope.streaming", "scope.user-like-read"} == form.ticks
    assert "user-private-read" == told["scope"]


async def test_only_ticked_scopes_are_granted(partner):
    """What a person unticks is not in the token, nor what was never asked for."""
    code = await partner.code("ottm", untick=frozenset({"scope.profile"}))
    tokens = await partner.exchange("ottm", code)
    sly = await partner.decide("ottm", scope="profile", **{"scope.openid": "on"})
    other = await partner.exchange("ottm", sly.answered["code"])

    assert ("openid", "profile") == (tokens.json["scope"], other.json["scope"])


async def test_nothing_ticked_is_a_denial(partner):
    """Allowing nothing gives no code."""
    answer = await partner.decide(
        "ottm", untick=frozenset({"scope.openid", "scope.profile"})
    )

    assert "access_denied" == answer.answered["error"]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_denial_says_access_denied(partner, provider):
    """Spelt as in melon's guide, a space as %20."""
    answer = await partner.decide(provider, "deny")

    assert 302 == answer.status
    assert answer.headers["Location"].endswith(
        "error=access_denied&error_description=User%20denied%20access&state=xyz"
    )


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_state_returns_as_it_was(partner, provider):
    """To the byte, whatever it holds; an empty one stays empty."""
    odd = "a b&c=d/é한#%"
    answer = await partner.decide(provider, state=odd)
    empty = await partner.decide(provider, state="")

    assert odd == answer.answered["state"]
    assert empty.headers["Location"].endswith("&state=")


@pytest.mark.parametrize("provider", ["melon", "ottm"])
async def test_state_may_be_left_out(partner, provider):
    """Recommended, not required; none comes back."""
    answer = await partner.decide(provider, state=None)

    assert {"code"} == set(answer.answered)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": CALLBACK + "/"},
        {"redirect_uri": None},
        {"client_id": "stranger"},
        {"client_id": ""},
    ],
    ids=str,
)
async def test_doubtful_address_is_never_redirected_to(partner, provider, changes):
    """RFC 6749 §4.1.2.1: the person is told instead."""
    answer = await partner.authorize(provider, decision="allow", **changes)

    assert answer.status in {400, 401}
    assert "Location" not in answer.headers
    assert b"evil" not in answer.body


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_repeated_parameter_is_refused(partner, provider):
    """RFC 6749 §3.1."""
    answer = await partner.ask(
        "GET", f"{AUTHORIZE[provider]}?client_id=demo&client_id=demo"
    )

    assert 400 == answer.status


@pytest.mark.parametrize("method", ["HEAD", "POST"])
async def test_authorize_is_get_only(partner, method):
    """A HEAD must not make a code."""
    answer = await partner.ask(method, AUTHORIZE["melon"])

    assert (405, "GET") == (answer.status, answer.headers["Allow"])


async def test_code_belongs_to_its_client_and_address(partner):
    """Another client, or the same with another address, spends it in vain."""
    for changes in (
        {"client_id": "demo-code-only", "client_secret": "demo-code-only-secret"},
        {"redirect_uri": "https://partner.site.com/other"},
    ):
        code = await partner.code("melon")
        refused = await partner.exchange("melon", code, **changes)
        late = await partner.exchange("melon", code)

        assert "invalid_grant" == refused.json["error"]
        assert "invalid_grant" == late.json["error"]


def test_every_provider_is_tried():
    """The tables above know the same providers."""
    assert PROVIDERS == sorted(SERVERS)
