"""Proves the door itself: who is let in, under which setup, and how it is closed."""

import asyncio
import dataclasses

import pytest

from gateway.rules.forwarded import TrustedProxies
from tests.fronts.house import door, read_responses, request
from tests.wire.harness import until


async def test_connections_are_counted_and_bounded():
    """One too many is reset, and costs no other."""
    async with door(connection_limit=2) as d:
        first, second = await d.connect(), await d.connect()
        await until(lambda: len(d.front) == 2)
        third = await d.connect()
        refused = await third.read_all()
        first.writer.close()
        await until(lambda: len(d.front) == 1)
        told = await d.ask("GET /public/a")
        for client in (second, third):
            client.writer.close()

        assert refused in (b"", b"<reset>")
        assert 200 == told.status
        await until(lambda: repr(d.front) == "<ProxyFront: 0 connections>")


async def test_a_message_that_is_none_is_answered_and_recorded():
    """In the standard's words: no route was found to say whose else."""
    async with door() as d:
        (told,) = read_responses(await d.exchange(b"GET / HTTP/1.1\r\n\r\n"))
        exchange = d.only()

        assert (400, b"close") == (told.status, told.value(b"connection"))
        assert b"no-store" == told.value(b"cache-control")
        assert exchange.request_id.encode() == told.value(b"x-request-id")
        assert ("", "", "", "deny", "bad_message") == (
            exchange.method,
            exchange.host,
            exchange.path,
            exchange.decision,
            exchange.reason,
        )
        assert "127.0.0.1" == exchange.peer


async def test_a_refused_message_may_have_been_a_head_request():
    """Nothing is recorded as sent that was not."""
    async with door() as d:
        answer = await d.exchange(b"HEAD / HTTP/1.1\r\n\r\n")
        (told,) = read_responses(answer, bodiless=True)

        assert 400 == told.status
        assert 0 == d.only().response_bytes


async def test_a_new_setup_is_for_the_next_request():
    """One that is under way keeps the setup it began with."""
    async with door(trusted="127.0.0.0/8") as d:
        d.facts.gate.clear()
        client = await d.connect()
        spoof = "X-Forwarded-For: 203.0.113.7"
        await client.send(
            request("GET /api/a", spoof, token="Tr", close=False)
            + request("GET /api/b", spoof, token="Tr")
        )
        await until(lambda: d.facts.asked)
        d.front.setup = dataclasses.replace(d.front.setup, proxies=TrustedProxies())
        d.facts.gate.set()
        await client.read_all()
        client.writer.close()
        trails = [each.values(b"x-forwarded-for") for each in d.upstream.requests]

        assert ["203.0.113.7", "127.0.0.1"] == [each.peer for each in d.exchanges]
        assert [[b"203.0.113.7", b"127.0.0.1"], [b"127.0.0.1"]] == trails


@pytest.mark.parametrize("status", [200, 401])
async def test_draining_ends_every_connection_in_good_order(status):
    """Idle ones now, busy and new ones with their next answer (SECURITY §5)."""
    token = "Tr" if status == 200 else "Tx"
    async with door() as d:
        idle, busy = await d.connect(), await d.connect()
        d.facts.gate.clear()
        await busy.send(
            request("GET /api/a", token=token, close=False) + request("GET /public/b")
        )
        await until(lambda: d.facts.asked and len(d.front) == 2)
        d.front.drain()
        assert b"" == await idle.read_all()
        late = await d.connect()
        await late.send(request("GET /public/late", close=False))
        (told_late,) = read_responses(await late.read_all())
        d.facts.gate.set()
        (told,) = read_responses(await busy.read_all())
        for client in (idle, busy, late):
            client.writer.close()
        await until(lambda: not len(d.front))

        assert (status, b"close") == (told.status, told.value(b"connection"))
        assert (200, b"close") == (told_late.status, told_late.value(b"connection"))


async def test_the_last_call_closes_nobody():
    """Whoever has a connection is answered once more, and told that it was the last."""
    async with door() as d:
        idle = await d.connect()
        await until(lambda: len(d.front) == 1)
        d.front.last_call()
        await idle.send(request("GET /public/a", close=False))
        (told,) = read_responses(await idle.read_all())
        idle.writer.close()

        assert (200, b"close") == (told.status, told.value(b"connection"))


async def test_an_answer_that_had_begun_is_finished_while_draining():
    """Its connection closes after it, though it had not said so."""
    go = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nla")
        await go.wait()
        writer.write(b"la")

    async with door(script) as d:
        client = await d.connect()
        await client.send(request("GET /public/a", close=False))
        await client.read_head()
        d.front.drain()
        go.set()

        assert b"lala" == await client.read_all()
        client.writer.close()


async def test_aborting_cuts_what_is_left():
    """Nobody takes a part for the whole: the connection is reset."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nla")
        await reader.read()

    async with door(script) as d:
        client = await d.connect()
        await client.send(request("GET /public/a", close=False))
        await client.read_head()
        d.front.abort()

        assert b"la<reset>" == await client.read_all()
        client.writer.close()
        await until(lambda: d.exchanges)
        assert "client gone" == d.only().failure


async def test_what_goes_on_in_the_name_of_a_revoked_token_is_ended():
    """An answer in progress is cut; others, and those without a token, go on."""
    go = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nla")
        await go.wait()
        writer.write(b"la")

    async with door(script) as d:
        clients = [await d.connect() for _ in range(4)]
        asked = [("/api/a", "Tr"), ("/api/a", "Tra"), ("/public/a", None)]
        for client, (path, token) in zip(clients, asked, strict=False):
            await client.send(request(f"GET {path}", token=token, close=False))
            await client.read_head()
        d.ledger.revoked.add("Tr")
        for _ in range(3):
            d.front.end_revoked()

        assert b"la<reset>" == await clients[0].read_all()
        await until(lambda: d.exchanges)
        assert "token revoked" == d.only().failure
        go.set()
        d.front.drain()
        for client in clients[1:3]:
            assert b"lala" == await client.read_all()
        for client in clients:
            client.writer.close()


async def test_an_answer_that_had_not_begun_becomes_a_refusal():
    """The client hears the same as with its next request."""
    begun = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        begun.set()
        await reader.read()

    async with door(script) as d:
        client = await d.connect()
        await client.send(request("GET /api/a", token="Tr"))
        await begun.wait()
        d.ledger.revoked.add("Tr")
        d.front.end_revoked()
        (told,) = read_responses(await client.read_all())
        client.writer.close()

        assert 401 == told.status
