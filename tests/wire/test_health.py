"""Proves that a target is asked as requests ask it, and that only a good answer counts."""

import asyncio
import ssl

import pytest
import trustme

from gateway.tasks import running
from gateway.values import HealthCheck, Origin, UpstreamSettings, UpstreamTls
from gateway.wire.dial import Dialler
from gateway.wire.health import Prober
from gateway.wire.targets import Target
from tests.wire.harness import (
    HandLoop,
    Script,
    Upstream,
    repeats,
    replies,
    turns,
    until,
)

CHECK = HealthCheck(target=b"/up?deep=1", timeout=5.0, status=(200, 204))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


async def ask(
    script: Script,
    *,
    check: HealthCheck = CHECK,
    origin: Origin | None = None,
    server_tls: ssl.SSLContext | None = None,
    tls: UpstreamTls | None = None,
    host: bytes | None = None,
) -> tuple[bool, bytes]:
    """Ask a target that follows a script; give the verdict and what it received."""
    upstream = Upstream(script)
    if origin is not None and origin.scheme == "unix":
        server = await asyncio.start_unix_server(upstream.serve, origin.host)
    else:
        server = await asyncio.start_server(
            upstream.serve, "127.0.0.1", 0, ssl=server_tls
        )
        scheme = "https" if server_tls else "http"
        port = server.sockets[0].getsockname()[1]
        origin = Origin(scheme, "127.0.0.1", port)
    settings = UpstreamSettings(
        name="u", origins=(origin,), tls=tls or UpstreamTls(), host=host
    )
    prober = Prober(settings, Dialler(settings), HandLoop().deadlines())
    try:
        well = await prober.is_well(Target(origin, origin.host), check)
        # The connection goes with the question.
        await until(lambda: all(each.is_closing() for each in upstream._writers))
    finally:
        server.close()
        upstream.close()
        await turns(20)
        assert not running()
    return well, b"".join(upstream.received).replace(b"%d" % origin.port, b"PORT")


async def test_the_question_is_an_ordinary_request_without_a_token():
    """To the byte."""
    well, received = await ask(repeats(OK))

    assert well
    assert (
        b"GET /up?deep=1 HTTP/1.1\r\nhost: 127.0.0.1:PORT\r\n"
        b"user-agent: token-gateway\r\nconnection: close\r\n\r\n"
    ) == received


async def test_the_host_is_the_upstreams():
    """A server of many names answers for the one that requests go to."""
    _, received = await ask(repeats(OK), host=b"api.example")

    assert b"\r\nhost: api.example\r\n" in received


@pytest.mark.parametrize(
    ("status", "well"), [(200, True), (204, True), (205, False), (199, False)]
)
async def test_a_status_is_good_within_the_range(status, well):
    """From the first to the last; a 1xx is none."""
    answer = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status
    wait = HealthCheck(target=b"/", timeout=0.05, status=(199, 204))
    found, _ = await ask(replies(answer), check=wait)

    assert well == found


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", OK[:9]],
)
async def test_what_is_no_answer_is_no_sign_of_health(answer):
    """The strict reading of every response."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    assert not (await ask(script))[0]


async def test_an_endless_body_is_not_waited_for():
    """The head says everything."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nhi"

    assert (await ask(replies(answer)))[0]


async def test_the_whole_check_has_one_deadline():
    """A target that hangs is not well."""
    hasty = HealthCheck(target=b"/", timeout=0.02)

    assert not (await ask(replies(), check=hasty))[0]


async def test_nobody_there_is_not_well():
    """Refused, or no such name."""
    origin = Origin("http", "127.0.0.1", 9)
    settings = UpstreamSettings(name="u", origins=(origin,))
    prober = Prober(settings, Dialler(settings), HandLoop().deadlines())

    for host in ("127.0.0.1", "a..b", "no-such-name.invalid"):
        assert not await prober.is_well(Target(origin, host), CHECK)
    assert "<Prober through <Dialler: plain>>" == repr(prober)


async def test_a_target_behind_a_socket_is_asked_there(tmp_path):
    """By a name that every server takes."""
    origin = Origin("unix", str(tmp_path / "app.sock"), 0)
    well, received = await ask(repeats(OK), origin=origin)

    assert well
    assert b"\r\nhost: localhost\r\n" in received


async def test_a_target_behind_tls_must_prove_itself(tmp_path):
    """As for any request: an impostor is not well."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = UpstreamTls(ca_file=str(tmp_path / "ca.pem"))

    assert (await ask(repeats(OK), server_tls=context, tls=trusting))[0]
    assert not (await ask(repeats(OK), server_tls=context))[0]
