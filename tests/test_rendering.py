from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.wired import FRAME, SIGNED, listening

ROUTES = f"""
providers: {{lab: {{{SIGNED}}}}}
upstreams: {{api: {{targets: ["http://127.0.0.1:9"]}}}}
routes:
  - {{id: likes, match: {{host: music.example, path: /likes}}, provider: lab, upstream: api}}
  - {{id: me, match: {{path: /me}}, provider: lab, upstream: api}}
"""
ASKED = "authz: 127.0.0.1:1, "


@pytest.fixture
def asked(tmp_path):
    """A file with a decision door."""
    path: Path = tmp_path / "asked.yaml"
    listen = listening().replace("listen: {", f"listen: {{{ASKED}")
    path.write_text(FRAME + listen + ROUTES)
    return path


def run(*arguments: object) -> Result:
    """Run the command as a shell would; a crash is the test's."""
    runner = CliRunner(catch_exceptions=False)
    return runner.invoke(main, [str(each) for each in arguments])


def test_an_engines_configuration_goes_to_standard_output(asked):
    """By the routes of the file, and the address that was asked for."""
    done = run("render", "nginx", "-c", asked, "--listen", "127.0.0.1:81")

    assert 0 == done.exit_code
    assert "listen 127.0.0.1:81 default_server;" in done.stdout
    assert "server 127.0.0.1:1;" in done.stdout
    assert "upstream api {" in done.stdout


def test_an_engines_files_are_written_into_a_folder(asked, tmp_path):
    """Traefik has two, of which one names the other."""
    folder = tmp_path / "traefik"
    done = run("render", "traefik", "-c", asked, "--into", folder, "--gateway", "gw")

    assert 0 == done.exit_code
    assert {"traefik.yaml", "routes.yaml"} == {each.name for each in folder.iterdir()}
    assert f"wrote {folder / 'routes.yaml'}" in done.stdout
    assert "http://gw:1/traefik/likes" in (folder / "routes.yaml").read_text()


def test_what_is_different_at_an_engine_is_told(asked):
    """On standard error: it is no part of the file."""
    text = asked.read_text().replace("path: /me}", "path: /me}, end_with_token: true")
    asked.write_text(text)
    done = run("render", "caddy", "-c", asked)

    assert 0 == done.exit_code
    assert "warning: Caddy does not see to end_with_token" in done.stderr
    assert "warning" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("envoy",), "listen.authz_grpc: expected an address, since Envoy asks there"),
        (("nginx", "--listen", "81"), "--listen: expected host:port"),
    ],
)
def test_what_cannot_be_rendered_is_told(asked, arguments, told):
    """As with every problem of a configuration."""
    done = run("render", *arguments, "-c", asked)

    assert 1 == done.exit_code
    assert told in done.stderr


def test_files_that_cannot_be_written_are_told(asked):
    """The place is somebody else's."""
    done = run("render", "nginx", "-c", asked, "--into", asked)

    assert 2 == done.exit_code
