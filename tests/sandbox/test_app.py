import aiohttp
import pytest

from gateway.sandbox.app import start

USERINFO = "/oauth2/v1/userinfo"


async def test_provider_is_chosen_by_host_or_by_path(partner):
    """Both doors lead to the same provider, on any port and in any case."""
    answers = [
        await partner.ask("GET", USERINFO, headers={"Host": "ottm.localhost:8080"}),
        await partner.ask("GET", USERINFO, headers={"Host": "OTTM.localhost"}),
        await partner.ask("GET", "/ottm" + USERINFO),
    ]

    assert [400, 400, 400] == [answer.status for answer in answers]
    assert 1 == len({answer.body for answer in answers})


async def test_both_doors_share_one_set_of_books(partner):
    """A token got through one door is known behind the other."""
    tokens = await partner.tokens("ottm")
    answer = await partner.ask(
        "GET",
        USERINFO,
        headers={
            "Host": "ottm.localhost",
            "Authorization": f"Bearer {tokens['access_token']}",
        },
    )

    assert 200 == answer.status


async def test_providers_do_not_meet(partner):
    """A path of one provider is unknown to another, and so is its code."""
    strange = await partner.ask("GET", USERINFO, headers={"Host": "melon.localhost"})
    nameless = await partner.ask("GET", USERINFO)
    code = await partner.code("melon")
    refused = await partner.exchange("nugu", code)

    assert [404, 404, 400] == [strange.status, nameless.status, refused.status]


async def test_start_page_leads_into_every_provider(partner, sandbox):
    """Each link opens a consent page as it stands."""
    page = (await partner.ask("GET", "/")).body.decode()
    links = [part.partition('"')[0] for part in page.split('class="button" href="')[1:]]
    opened = [await partner.ask("GET", link.replace("&amp;", "&")) for link in links]

    assert [200, 200, 200] == [answer.status for answer in opened]
    assert all(b"<form" in answer.body for answer in opened)
    assert f"{sandbox.url}/callback" in page


async def test_callback_page_shows_the_code(partner):
    """A developer copies it from there."""
    code = await partner.code("melon")
    page = await partner.ask("GET", f"/callback?code={code}&state=xyz")
    denied = await partner.ask("GET", "/callback?error=access_denied")
    nothing = await partner.ask("GET", "/callback")

    assert f">{code}</code>" in page.body.decode()
    assert "It was not allowed" in denied.body.decode()
    assert "nothing has arrived" in nothing.body.decode()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
async def test_only_loopback_is_served(host, keys, clock):
    """It hands out tokens to anybody who asks."""
    with pytest.raises(ValueError, match="loopback only"):
        await start(host, 0, keys=keys, clock=clock)


async def test_loopback_has_a_second_family(keys, clock):
    """`::1` is loopback too."""
    sandbox = await start("::1", 0, keys=keys, clock=clock)
    async with aiohttp.ClientSession() as http, http.get(sandbox.url) as answer:
        assert 200 == answer.status
    await sandbox.close()

    assert f"http://[::1]:{sandbox.port}" == sandbox.url


async def test_taken_port_is_an_error(sandbox, keys, clock):
    """Whoever starts it says so to the user."""
    with pytest.raises(OSError, match="in use"):
        await start(port=sandbox.port, keys=keys, clock=clock)


async def test_closed_sandbox_listens_no_more(keys, clock):
    """The port is free again, and the keys were never shown."""
    sandbox = await start(port=0, keys=keys, clock=clock)
    await sandbox.close()
    again = await start(port=sandbox.port, keys=keys, clock=clock)
    await again.close()

    assert keys is again.keys
    assert f"Sandbox(url={again.url!r}, port={again.port}, keys=SandboxKeys())" == repr(
        again
    )


async def test_long_body_is_refused(partner):
    """A form is small."""
    answer = await partner.post("melon", "token", code="x" * 70_000)

    assert 413 == answer.status
