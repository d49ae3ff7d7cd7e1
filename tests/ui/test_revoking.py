"""What is done in the console has its effect at the clients' door."""

import pytest

from tests.functional.harness import eventually
from tests.ui.conftest import new_token, nothing_unwanted

pytestmark = [pytest.mark.ui, pytest.mark.timeout(120)]

ASK = """(bearer) => fetch('/oauth/likes', {headers: {Authorization: 'Bearer ' + bearer}})
    .then((answer) => answer.status)"""


@pytest.fixture
def client(chromium, demo):
    """A page of a partner's, whose own client uses a token: gives what it is answered."""
    context = chromium.new_context()
    page = context.new_page()
    bearer = new_token(demo, "melon", "streaming user-like-read")
    page.goto(
        f"http://melon.localhost:{demo.ports.proxy}"
        f"/oauth/delivery/streaming_path.json?access_token={bearer}"
    )
    yield lambda: page.evaluate(ASK, bearer), bearer, page.url
    context.close()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_a_revocation_stops_a_client_that_is_at_it(tab, demo, client, scripts):
    """Asked for, confirmed, in force; lifted, and the client goes on."""
    answered, bearer, _ = client
    assert answered() == 200
    opened = tab(demo, java_script_enabled=scripts)
    page = opened.page
    opened.goto("/sign-in?to=/revocations")
    page.locator("[name=provider]").select_option("melon")
    page.locator("[name=kind]").select_option("token")
    page.get_by_label("The token itself").fill(bearer)
    page.get_by_role("button", name="Revoke…").click()
    assert "Revoke one token?" in page.locator("h1").inner_text()
    assert bearer not in page.content()
    assert answered() == 200

    page.get_by_role("button", name="Revoke now").click()
    assert "✓ Revoked" in page.get_by_role("status").inner_text()
    assert bearer not in page.content()
    assert answered() == 401

    page.get_by_role("link", name="Lift").first.click()
    page.get_by_role("button", name="Lift it").click()
    assert "✓ Lifted." in page.get_by_role("status").inner_text()
    eventually(lambda: answered() == 200)
    if scripts:
        opened.check()


def test_the_keyboard_is_enough(tab, demo, client):
    """From the first key to the revocation: nothing needs a mouse."""
    answered, bearer, _ = client
    with nothing_unwanted(tab(demo)) as opened:
        page = opened.page
        opened.sign_in()
        page.keyboard.press("Tab")
        assert "Skip to the content" == page.evaluate(
            "document.activeElement.innerText"
        )
        for _ in range(20):
            page.keyboard.press("Tab")
            if "Revocations" == page.evaluate("document.activeElement.innerText"):
                break
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert "solid" == page.evaluate(outline)
        page.keyboard.press("Enter")
        page.wait_for_url("**/revocations")
        for _ in range(40):
            page.keyboard.press("Tab")
            if "provider" == page.evaluate("document.activeElement.name"):
                break
        page.keyboard.type("melon")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.type(bearer)
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Revoke one token?")
        for _ in range(20):
            page.keyboard.press("Tab")
            if "Revoke now" == page.evaluate("document.activeElement.innerText"):
                break
        assert answered() == 200
        page.keyboard.press("Enter")
        page.wait_for_selector("text=✓ Revoked")
        assert answered() == 401


def test_another_site_cannot_revoke(chromium, tab, demo, client):
    """Its form arrives with the browser's credentials, and is refused."""
    answered, _, elsewhere = client
    opened = tab(demo)
    opened.sign_in()
    page = opened.page.context.new_page()
    page.goto(elsewhere)
    page.evaluate(
        """(action) => {
            const form = document.createElement('form');
            form.method = 'post';
            form.action = action;
            for (const [name, value] of [['provider', 'melon'], ['kind', 'provider']]) {
                const field = document.createElement('input');
                field.name = name;
                field.value = value;
                form.append(field);
            }
            document.body.append(form);
            form.submit();
        }""",
        f"{opened.base}/revocations",
    )
    page.wait_for_url("**/revocations")

    assert "our own page" in page.content()
    assert answered() == 200
