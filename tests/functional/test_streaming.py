"""Bodies that flow: ranges, bulk both ways, events, and what outlives its token."""

import asyncio
import contextlib
import hashlib
import http.client
import json
import shutil
import socket
import statistics
import subprocess
import threading
import time

import pytest

from gateway.sandbox import sound
from tests.functional.harness import (
    bearer,
    connect,
    eventually,
    head,
    read_answer,
    running,
)
from tests.functional.lab import MIB, PIECE, digest, sign
from tests.functional.partner import Partner
from tests.functional.sockets import open_raw
from tests.functional.weight import Weight

TRACK = "/oauth/delivery/tracks/1001"
ETAG = f'"chords-{sound.key_of("1001")}"'
SECOND_BYTES = 2 * sound.RATE
BULK = 200


@pytest.fixture(scope="module")
def melon(gateway):
    """A partner of melon."""
    return Partner("melon", gateway)


@pytest.fixture(scope="module")
def player(melon):
    """A token that may stream."""
    return melon.token()


@pytest.fixture
def waiting(lab):
    """The laboratory, waiting for the test's word."""
    lab.wait()
    yield lab
    lab.go()


def track(start: int = 0, stop: int = sound.SIZE_BYTES) -> bytes:
    """Compute these bytes of the track, past the gateway."""
    return b"".join(sound.read(sound.key_of("1001"), range(start, stop)))


@contextlib.contextmanager
def opened(gateway, target, token, *headers, method="GET"):
    """Send a request, read the head of its answer, and leave the rest to the test."""
    with connect(gateway.ports.proxy) as line:
        line.sendall(head(method, target, "lab", [bearer(token), *headers]))
        response = http.client.HTTPResponse(line, method=method)
        try:
            response.begin()
            yield response
        finally:
            response.close()


# ------------------------------------------------------------------------- ranges


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-200999", 1000, 201_000),
        ("bytes=-500", sound.SIZE_BYTES - 500, sound.SIZE_BYTES),
        (f"bytes={sound.SIZE_BYTES - 10}-", sound.SIZE_BYTES - 10, sound.SIZE_BYTES),
    ],
)
def test_a_range_of_a_track(melon, player, asked, start, stop):
    """206 and exactly these bytes, with the token in the header or the query."""
    by_header = melon.ask("GET", TRACK, ("Range", asked), token=player)
    by_query = melon.ask("GET", f"{TRACK}?access_token={player}", ("Range", asked))

    for answer in (by_header, by_query):
        assert 206 == answer.status
        assert f"bytes {start}-{stop - 1}/{sound.SIZE_BYTES}" == (
            answer.header("Content-Range")
        )
        assert track(start, stop) == answer.body


def test_the_whole_track(melon, player):
    """A WAV file, byte for byte."""
    answer = melon.ask("GET", TRACK, token=player)

    assert (200, "audio/wav") == (answer.status, answer.header("Content-Type"))
    assert "bytes" == answer.header("Accept-Ranges")
    assert track() == answer.body


def test_head_of_a_track(melon, player):
    """Length and type, no bytes; a range means nothing to HEAD."""
    answer = melon.ask("HEAD", TRACK, ("Range", "bytes=0-9"), token=player)

    assert (200, b"") == (answer.status, answer.body)
    assert str(sound.SIZE_BYTES) == answer.header("Content-Length")


@pytest.mark.parametrize(("etag", "status"), [(ETAG, 206), ('"another"', 200)])
def test_if_range(melon, player, etag, status):
    """RFC 9110 §13.1.5: the upstream's to judge, passed on unjudged."""
    headers = [("Range", "bytes=10-19"), ("If-Range", etag)]

    answer = melon.ask("GET", TRACK, *headers, token=player)

    assert status == answer.status
    assert (track(10, 20) if status == 206 else track()) == answer.body


def test_a_range_beyond_the_end(melon, player):
    """416, the upstream's, with the size."""
    asked = ("Range", f"bytes={sound.SIZE_BYTES}-")

    answer = melon.ask("GET", TRACK, asked, token=player)

    assert 416 == answer.status
    assert f"bytes */{sound.SIZE_BYTES}" == answer.header("Content-Range")


# -------------------------------------------------------------- with people's tools


def tool(name: str, *arguments: str, fails: bool = False) -> bytes:
    """Run a program to its end; gives its output."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run(  # noqa: S603
        [program, *arguments], capture_output=True, timeout=30, check=False
    )
    assert fails == bool(done.returncode), done.stderr.decode()
    return done.stdout


@pytest.fixture
def curl(gateway, player):
    """Get a track with curl."""

    def curl(*options: str, token: str = player, fails: bool = False) -> bytes:
        return tool(
            "curl",
            *("--silent", "--show-error", "--fail", "--http1.1"),
            *("--header", "Host: melon.localhost", "--oauth2-bearer", token),
            *options,
            f"http://127.0.0.1:{gateway.ports.proxy}{TRACK}",
            fails=fails,
        )

    return curl


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("1000-200999", 1000, 201_000),
        ("-500", sound.SIZE_BYTES - 500, sound.SIZE_BYTES),
        (f"{sound.SIZE_BYTES - 10}-", sound.SIZE_BYTES - 10, sound.SIZE_BYTES),
    ],
)
def test_curl_gets_a_range(curl, asked, start, stop):
    """Exactly these bytes; without a good token, none."""
    assert track(start, stop) == curl("--range", asked)
    assert b"" == curl("--range", asked, token="wrong", fails=True)


def test_curl_continues_a_download(curl, tmp_path):
    """What is there already is not fetched again."""
    saved = tmp_path / "track.wav"
    saved.write_bytes(track(0, 500_000))

    fetched = curl("-C", "-", "-o", str(saved), "--write-out", "%{size_download}")

    assert sound.SIZE_BYTES - 500_000 == int(fetched)
    assert track() == saved.read_bytes()


def test_ffmpeg_seeks_in_a_track(gateway, player):
    """A player jumps to the middle by asking for a range."""
    fields = f"Host: melon.localhost\r\nAuthorization: Bearer {player}\r\n"
    place = f"http://127.0.0.1:{gateway.ports.proxy}{TRACK}"
    options = ["-v", "error", "-headers", fields, "-ss", "20", "-i", place]

    heard = tool("ffmpeg", *options, "-t", "1", "-f", "s16le", "-")

    start = sound.HEADER_BYTES + 20 * SECOND_BYTES
    assert track(start, start + SECOND_BYTES) == heard


def test_ffprobe_knows_how_long_a_track_is(gateway, player):
    """With the token in the address, as players that cannot send headers have it."""
    fields = "Host: melon.localhost\r\n"
    place = f"http://127.0.0.1:{gateway.ports.proxy}{TRACK}?access_token={player}"
    shown = ["-show_entries", "format=duration", "-of", "csv=p=0"]

    told = tool("ffprobe", "-v", "error", "-headers", fields, *shown, place)

    assert sound.SIZE_BYTES // SECOND_BYTES == round(float(told))


# --------------------------------------------------------------------------- bulk


def test_a_long_download_passes_with_flat_memory(lab_gateway):
    """200 MiB of unknown length, every byte, on less than 30 MiB."""
    whole, size = hashlib.sha256(), 0
    with opened(lab_gateway, f"/bulk/{BULK}", sign()) as response:
        weight = Weight(lab_gateway)
        while piece := response.read(4 * MIB):
            whole.update(piece)
            size += len(piece)
            weight.look()

    assert BULK * MIB == size
    assert digest(BULK) == whole.hexdigest()
    assert weight.growth < 30 * MIB


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_upload_passes_with_flat_memory(lab_gateway, chunked):
    """200 MiB with a length, and without one, every byte, on less than 30 MiB."""
    framing = ("Transfer-Encoding", "chunked")
    if not chunked:
        framing = ("Content-Length", str(BULK * MIB))
    lines = [bearer(sign()), framing]
    with connect(lab_gateway.ports.proxy) as line:
        line.sendall(head("PUT", "/bulk/upload", "lab", lines))
        weight = Weight(lab_gateway)
        for _ in range(BULK):
            line.sendall(b"%x\r\n%b\r\n" % (MIB, PIECE) if chunked else PIECE)
            weight.look()
        if chunked:
            line.sendall(b"0\r\n\r\n")
        answer = read_answer(line, "PUT")

    assert {"bytes": BULK * MIB, "sha256": digest(BULK)} == answer.json
    assert weight.growth < 30 * MIB


def test_a_client_that_does_not_read_slows_the_upstream(lab_gateway, lab):
    """Back-pressure: what nobody reads is not fetched, and not held."""
    before = lab.sent
    with opened(lab_gateway, f"/bulk/{BULK}", sign()):
        weight = Weight(lab_gateway)
        seen = [-1, 0]
        while seen[-1] != seen[-2]:
            time.sleep(0.2)
            seen.append(lab.sent)
            weight.look()

        assert lab.sent - before < 64 * MIB
        assert weight.growth < 30 * MIB


def test_an_upstream_that_does_not_read_slows_the_client(lab_gateway, waiting):
    """Back-pressure the other way; then all of it arrives."""
    lines = [bearer(sign()), ("Content-Length", str(BULK * MIB))]
    with connect(lab_gateway.ports.proxy) as line:
        line.sendall(head("PUT", "/bulk/upload?wait", "lab", lines))
        weight = Weight(lab_gateway)
        stuck_at = send_while_taken(line, 0, 0.5, weight)
        waiting.go()
        sent = send_while_taken(line, stuck_at, 10.0, weight)
        answer = read_answer(line, "PUT")

    assert stuck_at < 64 * MIB
    assert BULK * MIB == sent
    assert {"bytes": BULK * MIB, "sha256": digest(BULK)} == answer.json
    assert weight.growth < 30 * MIB


def send_while_taken(
    line: socket.socket, sent: int, patience: float, weight: Weight
) -> int:
    """Upload on from `sent` until the end, or until nothing more is taken."""
    line.settimeout(patience)
    with contextlib.suppress(TimeoutError):
        while sent < BULK * MIB:
            sent += line.send(PIECE[sent % MIB :])
            weight.look()
    return sent


def test_an_upload_beyond_the_routes_limit(lab_gateway):
    """413 before a byte of it is read, or as soon as it shows."""
    announced = lab_gateway.ask("PUT", "/small", body=bytes(1025))
    with connect(lab_gateway.ports.proxy) as line:
        line.sendall(head("PUT", "/small", "lab", [("Transfer-Encoding", "chunked")]))
        line.sendall(b"401\r\n" + bytes(1025) + b"\r\n0\r\n\r\n")
        found_out = read_answer(line, "PUT")

    for answer in (announced, found_out):
        assert 413 == answer.status
        assert b'"error":"content_too_large"' in answer.body


def test_authentication_comes_before_100_continue(lab_gateway, lab):
    """Who has no token is refused without having sent the body; others are waved on."""
    expects = [("Expect", "100-continue"), ("Content-Length", "5")]
    with connect(lab_gateway.ports.proxy) as line:
        line.sendall(head("PUT", "/bulk/upload", "lab", expects))
        refused = line.recv(65536)
    with connect(lab_gateway.ports.proxy) as line:
        line.sendall(head("PUT", "/bulk/upload", "lab", [*expects, bearer(sign())]))
        waved_on = line.recv(65536)
        line.sendall(b"hello")
        answer = read_answer(line, "PUT")

    assert refused.startswith(b"HTTP/1.1 401 ")
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == waved_on
    assert 5 == answer.json["bytes"]


# ----------------------------------------------------- what comes around an answer


@pytest.fixture(scope="module")
def raw(backstage):
    """An upstream that says what a test wants."""
    with open_raw(backstage) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def raw_gateway(start_lab, raw):
    """`gateway run` in front of it."""
    text = (
        f'upstreams: {{raw: {{targets: ["http://127.0.0.1:{raw.port}"]}}}}\n'
        "routes: [{id: all, match: {path: /**}, access: public, upstream: raw}]\n"
    )
    with running(start_lab(text)) as process:
        yield process


def test_early_hints_come_early(raw_gateway, raw):
    """A 103 is relayed while the answer is still being thought of, a 102 as well."""
    hinted = threading.Event()

    async def hint(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await asyncio.to_thread(hinted.wait, 10)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok")

    raw.script = hint
    with connect(raw_gateway.ports.proxy) as line:
        line.sendall(head("GET", "/", "raw"))
        hints = b""
        while hints.count(b"\r\n\r\n") < 2:
            hints += line.recv(65536)
        hinted.set()
        answer = read_answer(line)

    first, second, rest = hints.split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n")
    assert second.startswith(b"HTTP/1.1 102 Processing\r\n")
    assert b"" == rest
    assert (200, b"ok") == (answer.status, answer.body)


def test_trailers_become_nobodys_headers(raw_gateway, raw):
    """RFC 9110 §6.5.1: merged, they could say anything; they are dropped both ways."""
    heard = []

    async def trail(reader, writer):
        heard.append(await reader.readuntil(b"\r\n0\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nTrailer: Set-Cookie\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nSet-Cookie: a=b\r\n\r\n"
        )
        heard.append(await reader.read())

    raw.script = trail
    lines = [("Transfer-Encoding", "chunked"), ("Trailer", "X-Auth-Subject")]
    body = b"2\r\nhi\r\n0\r\nX-Auth-Subject: root\r\n\r\n"
    with connect(raw_gateway.ports.proxy) as line:
        line.sendall(head("PUT", "/", "raw", [*lines, ("Connection", "close")]) + body)
        answer = b""
        while piece := line.recv(65536):
            answer += piece

    request = b"".join(heard).lower()
    assert request.endswith(b"\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
    assert b"root" not in request
    assert b"trailer" not in request
    assert answer.endswith(b"\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    assert b"cookie" not in answer.lower()


# ---------------------------------------------------------- what outlives a token


def test_events_come_as_they_happen(lab_gateway, waiting):
    """Nothing waits for a buffer to fill: the second is sent after the first is read."""
    with opened(lab_gateway, "/bulk/events", sign()) as response:
        first = response.readline(), response.readline()
        waiting.go()
        second = response.readline(), response.readline()

        assert "text/event-stream" == response.headers["Content-Type"]
    assert (b"data: one\n", b"\n") == first
    assert (b"data: two\n", b"\n") == second


def test_the_first_event_comes_at_once(lab_gateway):
    """Its way through the gateway is no wait at all: no buffer, no timer."""
    waits = []
    for _ in range(5):
        begun = time.monotonic()
        with opened(lab_gateway, "/bulk/events", sign()) as response:
            assert b"data: one\n" == response.readline()
        waits.append(time.monotonic() - begun)

    assert statistics.median(waits) < 0.1


def test_events_end_with_their_token(lab_gateway, waiting):
    """At `exp`, and visibly: a cut, not an end."""
    begun = time.monotonic()
    with opened(lab_gateway, "/bulk/events", sign(1.2)) as response:
        assert b"data: one\n" == response.readline()
        with pytest.raises((ConnectionError, http.client.IncompleteRead)):
            response.read()

    assert 1.0 < time.monotonic() - begun < 3.0


def test_a_download_outlives_its_token(lab_gateway, waiting):
    """A song is longer than 299 seconds: what has begun is finished."""
    with opened(lab_gateway, "/bulk/halves", sign(0.8)) as response:
        first = response.read(MIB)
        time.sleep(1.0)
        waiting.go()
        second = response.read()

    assert (PIECE, PIECE) == (first, second)


def test_a_download_that_must_end_with_its_token(lab_gateway, waiting):
    """`end_with_token`: cut, so that nobody takes the half for the whole."""
    with (
        opened(lab_gateway, "/cut/halves", sign(0.8)) as response,
        pytest.raises((ConnectionError, http.client.IncompleteRead)),
    ):
        response.read()


def test_a_client_that_leaves_takes_the_upstreams_work_along(lab_gateway, lab):
    """Nobody computes what nobody will read."""
    before = lab.cancelled
    with connect(lab_gateway.ports.proxy) as line:
        line.sendall(head("GET", "/bulk/never", "lab", [bearer(sign())]))
        eventually(lambda: lab_gateway.metric("http_requests_in_flight") > 0)

    eventually(lambda: lab.cancelled > before)
    eventually(lambda: lab_gateway.metric("http_requests_in_flight") == 0)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upstream_that_breaks_off_is_not_covered_up(lab_gateway, framing):
    """A body that ended too early is never made to look whole."""
    with (
        opened(lab_gateway, f"/bulk/broken/{framing}", sign()) as response,
        pytest.raises((ConnectionError, http.client.IncompleteRead)),
    ):
        response.read()


def test_keep_alive_serves_request_after_request(lab_gateway):
    """One connection; a refusal in between harms nothing."""
    with connect(lab_gateway.ports.proxy) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = http.client.HTTPConnection("127.0.0.1", lab_gateway.ports.proxy)
        wire.sock = line
        statuses = []
        for token in (sign(), "wrong", sign(), None, sign()):
            headers = {} if token is None else dict([bearer(token)])
            wire.request("GET", "/page/one", headers=headers)
            answer = wire.getresponse()
            answer.read()
            statuses.append(answer.status)

    assert [200, 401, 200, 401, 200] == statuses


def test_json_of_an_upload_is_not_touched(lab_gateway):
    """A body passes as it came, whatever it is."""
    body = json.dumps({"access_token": "not ours"}).encode()

    answer = lab_gateway.ask("PUT", "/bulk/upload", bearer(sign()), body=body)

    assert hashlib.sha256(body).hexdigest() == answer.json["sha256"]
