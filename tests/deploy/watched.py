"""A Prometheus that watches a gateway, and a world for it that can be broken."""

import asyncio
import io
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

import yaml
from aiohttp import web

from deploy.grafana.dashboard import PANELS, Query
from tests.deploy.rules import FILES
from tests.functional.harness import (
    Backstage,
    Gateway,
    bearer,
    exchange,
    free_ports,
    head,
    running,
)

SCALE: Final = 30
"""By how much rules are quicker than those that are committed."""

LABELS: Final = {"job": "token-gateway", "namespace": "shop", "pod": "gateway-0"}
HOUSES: Final = 12
"""Known tokens that ask for something all the time."""

CONFIG: Final = """
version: 1
listen: {{proxy: "127.0.0.1:{proxy}", status: "127.0.0.1:{status}", admin: "127.0.0.1:{admin}"}}
secret: a-secret-of-the-watched-gateway-0123456789
store: {{url: "{store}"}}
limits: {{unknown_tokens: {{burst: 60, per_minute: 120}}}}
log: {{access: false}}
tracing: {{enabled: true}}
providers:
  acme:
    verify: [introspection]
    introspection: {{url: "http://127.0.0.1:{idp}/introspect", client_id: us, client_secret: secret}}
    cache: {{ttl: 3s, negative_ttl: 1s, grace: 10m}}
upstreams:
  orders: {{targets: ["http://127.0.0.1:{upstream}"]}}
routes:
  - {{id: read, match: {{path: "/orders/**", methods: [GET]}}, provider: acme, upstream: orders, require: {{scopes: [read]}}}}
  - {{id: write, match: {{path: "/orders/**", methods: [POST]}}, provider: acme, upstream: orders, require: {{scopes: [write]}}}}
  - {{id: open, match: {{path: "/open/**"}}, access: public, upstream: orders}}
"""


class Issuer:
    """Introspection, until it is `down`."""

    def __init__(self) -> None:
        self.down = False
        self.port = 0

    async def start(self) -> web.AppRunner:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_post("/introspect", self.introspect)
        app.router.add_post("/v1/traces", self.collect)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        return runner

    async def collect(self, request: web.Request) -> web.Response:
        """Take spans, as a collector does; nobody looks at them here."""
        await request.read()
        return web.Response()

    async def introspect(self, request: web.Request) -> web.Response:
        """Tell what a token is, in some time."""
        token = str((await request.post())["token"])
        await asyncio.sleep(0.005)
        if self.down:
            return web.Response(status=500)
        known = token.startswith("good")
        told = {"active": known, "scope": "read", "client_id": "app", "sub": "ada"}
        return web.json_response(told if known else {"active": False})


class Upstream:
    """An API that is good but for `/failing`, and hangs up once in a while."""

    def __init__(self) -> None:
        self.port = 0

    async def start(self) -> asyncio.Server:
        """Listen on a free port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            for number in itertools.count():
                request = await reader.readuntil(b"\r\n\r\n")
                if number and b"/hanging-up" in request:
                    # On a connection that was used: the gateway may ask again.
                    break
                await asyncio.sleep(0.004)
                status = b"500 No" if b"/failing" in request else b"200 OK"
                writer.write(b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\n{}" % status)
        writer.close()


class Load:
    """Clients of all kinds, some forty requests a second, until it ends."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _work(self) -> None:
        for number in itertools.count():
            if self._end.wait(0.015):
                return
            method, path, token = _request(number)
            lines = [bearer(token), ("Connection", "close")] if token else []
            body = b"{}" if method == "POST" else None
            with suppress(OSError):
                exchange(
                    self._port, head(method, path, "shop.example", lines, body), method
                )


def _request(number: int) -> tuple[str, str, str]:
    """Give one in turn: mostly known tokens, and one each of what goes wrong."""
    known = f"good-{number // 10 % HOUSES}"
    others = {
        3: ("POST", "/orders/1", known),  # lacks the scope
        4: ("GET", "/open/failing", ""),
        5: ("GET", "/open/hanging-up", ""),
        6: ("GET", f"/orders/{number}", f"bad-{number}"),
        7: ("GET", "/nowhere", known),
        8: ("GET", "/orders/1", f"good-{number}"),
    }
    return others.get(number % 10, ("GET", "/orders/1", known))


@contextmanager
def world(folder: Path, store: str) -> Iterator[tuple[Gateway, Issuer]]:
    """Run a gateway between its provider and its upstream."""
    stage, issuer, upstream = Backstage(), Issuer(), Upstream()
    runner, server = stage.run(issuer.start()), stage.run(upstream.start())
    ports = free_ports()
    (folder / "gateway.yaml").write_text(
        CONFIG.format(
            store=store, idp=issuer.port, upstream=upstream.port, **ports._asdict()
        )
    )
    collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{issuer.port}"}
    gateway = Gateway(
        ["run", "-c", "gateway.yaml"],
        ports=ports,
        environ={**os.environ, **collector},
        folder=folder,
    )
    try:
        with running(gateway):
            yield gateway, issuer
    finally:
        stage.call(server.close)
        stage.run(runner.cleanup())
        stage.close()


# ---------------------------------------------------------------------- Prometheus


class Prometheus:
    """A real one, with our rules made quicker."""

    def __init__(self, folder: Path, status_port: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        folder.mkdir()
        for path in FILES:
            (folder / path.name).write_text(quicker(path))
        target = {"targets": [f"127.0.0.1:{status_port}"], "labels": LABELS}
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [path.name for path in FILES],
            "scrape_configs": [{"job_name": "gateway", "static_configs": [target]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        words = [
            str(shutil.which("prometheus")),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--enable-feature=exemplar-storage",
        ]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)  # noqa: S603
        self.since = time.time()  # noqa: TID251 -- Prometheus has the real clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def ask(self, path: str, **parameters: object) -> Any:
        """Ask its API; an error of a query is an error here."""
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}"
        with urllib.request.urlopen(url, timeout=10) as response:
            told = json.load(response)
        assert told["status"] == "success", told
        return told["data"]

    def answers(self) -> bool:
        """Tell whether it is up and has scraped the gateway."""
        with suppress(OSError):
            return bool(self.ask("query", query="up == 1")["result"])
        return False

    def alerts(self, state: str = "firing") -> dict[str, dict[str, Any]]:
        """Give the alerts that are on, by name."""
        return {
            each["labels"]["alertname"]: each
            for each in self.ask("alerts")["alerts"]
            if each["state"] == state
        }

    def exemplars(self, query: Query) -> list[dict[str, Any]]:
        """Give the traces that are named beside what an expression asks for."""
        now = time.time()  # noqa: TID251 -- likewise
        found = self.ask(
            "query_exemplars", query=chosen(query.expr), start=self.since, end=now
        )
        return [each["labels"] for one in found for each in one["exemplars"]]

    def series(self, query: Query) -> list[dict[str, Any]]:
        """Answer one expression of the dashboard for all that has happened."""
        now = time.time()  # noqa: TID251 -- likewise
        found: list[dict[str, Any]] = self.ask(
            "query_range", query=chosen(query.expr), start=self.since, end=now, step=1
        )["result"]
        return [
            {
                **each,
                "values": [(float(at), float(what)) for at, what in each["values"]],
            }
            for each in found
        ]


def quicker(path: Path) -> str:
    """Give a file of rules whose durations are shorter; all else is what is committed."""
    document = yaml.safe_load(path.read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["expr"] = _DURATION.sub(_shorter, rule["expr"])
            if "for" in rule:
                rule["for"] = _shorter_one(rule["for"])
    return yaml.safe_dump(document)


_DURATION: Final = re.compile(r"(?<=\[)\d+[smhd](?=\])|(?<=offset )\d+[smhd]")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _shorter(found: re.Match[str]) -> str:
    return _shorter_one(found[0])


def _shorter_one(duration: str) -> str:
    seconds = int(duration[:-1]) * _SECONDS[duration[-1]] // SCALE
    # Nothing is told of less than two scrapes.
    return f"{max(seconds, 2)}s" if seconds else "0s"


def chosen(expr: str) -> str:
    """Put in what Grafana does: everything is chosen, and the rate interval."""
    expr = expr.replace("$__rate_interval", "10s")
    return re.sub(r"\$(namespace|pod|route)\b", ".*", expr)


@contextmanager
def watching(folder: Path, gateway: Gateway) -> Iterator[Prometheus]:
    """Run a Prometheus that watches this gateway."""
    with Prometheus(folder, gateway.ports.status) as prometheus:
        yield prometheus


def unanswered(prometheus: Prometheus) -> list[str]:
    """Give the panels' expressions that have no number to show."""
    return [
        f"{panel.title}: {query.expr}"
        for panel in PANELS
        for query in panel.queries
        if not any(
            value == value  # noqa: PLR0124 -- NaN is what has no number
            for series in prometheus.series(query)
            for _, value in series["values"]
        )
    ]


# ------------------------------------------------------------------------ a picture


def draw(prometheus: Prometheus, place: Path) -> None:
    """Draw every panel from what its queries were answered."""
    import matplotlib as mpl  # noqa: PLC0415 -- extra `bench`

    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    plt.rcParams.update({"font.size": 6, "axes.grid": True, "grid.alpha": 0.3})
    figure, axes = plt.subplots(4, 3, figsize=(13, 9), dpi=72)
    for panel, left in zip(PANELS, axes.flat, strict=True):
        left.set_title(panel.title, fontsize=8, loc="left")
        right, colours = None, itertools.cycle(range(10))
        for query in panel.queries:
            if query.axis and right is None:
                right = left.twinx()
                right.grid(visible=False)
            axis = right if query.axis and right is not None else left
            for series in prometheus.series(query):
                name = query.legend
                for label, value in series["metric"].items():
                    name = name.replace("{{" + label + "}}", value)
                moments = [at - prometheus.since for at, _ in series["values"]]
                values = [value for _, value in series["values"]]
                axis.plot(
                    moments,
                    values,
                    "--" if query.axis else "-",
                    label=name,
                    color=f"C{next(colours)}",
                    linewidth=0.9,
                )
        left.set_ylim(bottom=0, top=1.05 if panel.is_stat else None)
        lines = [
            line for axis in (left, right) if axis is not None for line in axis.lines
        ]
        left.legend(
            lines[:9],
            [line.get_label() for line in lines[:9]],
            fontsize=4.5,
            loc="upper left",
        )
    figure.tight_layout()
    drawn = io.BytesIO()
    figure.savefig(drawn)
    # A few colours are enough, and a third of the bytes.
    Image.open(drawn).convert("RGB").quantize(32).save(place, optimize=True)
