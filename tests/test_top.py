import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

from gateway.admin.overview import overview
from gateway.admin.troubles import Workers
from gateway.top import picture as draw
from gateway.top import show
from tests.admin.samples import NOW, picture, pool, provider, store, target
from tests.test_cli import listener as listener  # noqa: PLC0414 -- the fixture itself
from tests.test_cli import run


def look(**changes: Any) -> dict[str, Any]:
    """Make what the admin listener tells."""
    told = overview(picture(**changes), now=NOW, version="1.2.3", workers=Workers())
    members: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(told))
    return members


def drawn(told: dict[str, Any], width: int = 100) -> str:
    """Draw it as a terminal of this width shows it."""
    console = Console(width=width, file=io.StringIO())
    with console.capture() as capture:
        console.print(draw(told))
    return capture.get()


def test_what_is_wrong_comes_first():
    """As on the page."""
    lines = drawn(
        look(
            store=store(up=False),
            providers=(provider(breaker=2),),
            upstreams=(pool(target(addresses={"serving": 0, "ejected": 1})),),
        )
    ).splitlines()

    assert lines[0].startswith("✕ 3 wrong")
    assert any("The store (redis) does not answer" in line for line in lines[:5])


def test_all_is_well_without_any_request():
    """An idle gateway is no special case."""
    text = drawn(look(beats=(), providers=(), upstreams=()))

    assert text.startswith("✓ all is well")
    assert "0.0/s" in text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_it_fits_any_terminal(width):
    """Nothing is wrapped into the next line's place."""
    text = drawn(look(), width)

    assert all(len(line) <= width for line in text.splitlines())
    assert "melon" in text


def test_every_part_is_there():
    """Traffic, reasons, sources, providers, upstreams, store."""
    text = drawn(look())

    for part in (
        "90",
        "8 (8.0 %)",
        "insufficient_scope",
        "memory (L1)",
        "closed",
        "1 serving",
        "revocations in force 1",
    ):
        assert part in text


def test_one_look_after_the_other_is_shown(capsys):
    """Not in place where nobody looks at a screen."""
    show([look(), look()], live=False)

    assert 2 == capsys.readouterr().out.count("serving for")


def test_the_command_shows_it_once(listener):
    """From a running gateway's overview."""
    listener.says(look())
    done = run("top", "--once", "--admin", listener.base)

    assert ("GET", "/api/overview") == listener.requests[0][:2]
    assert 0 == done.exit_code
    assert "token-gateway 1.2.3" in " ".join(done.stdout.split())
