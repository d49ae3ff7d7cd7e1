import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from gateway.client import AdminListener, TlsFiles
from gateway.options import asks

HEAVY = ("aiohttp", "pydantic", "cryptography")


def test_light_commands_stay_light():
    """`gateway health` runs every few seconds: it does not load what others need."""
    told = subprocess.run(
        [sys.executable, "-c", "import sys, gateway.cli; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert not {*HEAVY} & {*told.stdout.split()}


@click.command()
@asks(right=True)
def ask(admin: AdminListener) -> None:
    """Tell what would be asked."""
    click.echo(repr((admin.base, admin.token, admin.tls)))


@pytest.fixture
def files(tmp_path):
    """Three files that are there."""
    found = [tmp_path / name for name in ("ca", "cert", "key")]
    for file in found:
        file.touch()
    return found


def test_where_the_admin_listener_is_and_by_what_right_are_options(files):
    """Named as curl names them."""
    ca, cert, key = files
    words = ["--admin", "https://h:1", "--ca", ca, "--cert", cert, "--key", key]
    done = CliRunner().invoke(ask, [str(each) for each in words])

    tls = TlsFiles(ca=ca, cert=cert, key=key)
    assert f"{('https://h:1', None, tls)!r}\n" == done.output


def test_all_but_the_address_may_be_in_the_environment(files):
    """As the token should be."""
    names = ("GATEWAY_ADMIN_CA", "GATEWAY_ADMIN_CERT", "GATEWAY_ADMIN_KEY")
    env = dict(zip(names, map(str, files), strict=True))
    done = CliRunner().invoke(ask, [], env={**env, "GATEWAY_ADMIN_TOKEN": "a-token"})

    tls = TlsFiles(**dict(zip(("ca", "cert", "key"), files, strict=True)))
    assert f"{('http://127.0.0.1:9091', 'a-token', tls)!r}\n" == done.output


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "expected GATEWAY_ADMIN_TOKEN, or a certificate (--cert)"),
        (["--ca", "ca"], "expected GATEWAY_ADMIN_TOKEN, or a certificate (--cert)"),
        (["--key", "key"], "expected --cert along with --key"),
        (["--cert", "nowhere"], "'nowhere' does not exist"),
    ],
)
def test_wrong_use_is_told(files, monkeypatch, given, expected):
    """Before anybody is asked."""
    monkeypatch.chdir(files[0].parent)
    done = CliRunner().invoke(ask, given)

    assert 2 == done.exit_code
    assert expected in done.output
