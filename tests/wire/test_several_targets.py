"""Proves what a pool makes of several targets: choice, failures, queue, names."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.errors import UpstreamUnavailable
from gateway.tasks import running
from gateway.values import HealthCheck, Origin, Timeouts, UpstreamSettings
from gateway.wire.heads import ResponseHead
from gateway.wire.pool import Pool, UpstreamBusy
from gateway.wire.states import TargetState
from gateway.wire.targets import FAILURES, Target
from gateway.wire.upstream import UpstreamConnection
from tests.wire.harness import HandLoop, Script, Upstream, repeats, turns, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"


class Listener:
    """Waits for the end of an exchange."""

    def __init__(self) -> None:
        self.over: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def interim(self, head: ResponseHead) -> None:
        """Nothing to do."""

    def response(self, head: ResponseHead) -> None:
        """Nothing to do."""

    def body(self, data: bytes) -> None:
        """Nothing to do."""

    def end(self) -> None:
        self.over.set_result("end")

    def half_end(self) -> None:
        """Nothing to do."""

    def flush(self) -> None:
        """Nothing to do."""

    def failed(self, error: Exception) -> None:
        self.over.set_result(type(error))

    def pause_request(self) -> None:
        """Nothing to do."""

    def resume_request(self) -> None:
        """Nothing to do."""


class Street:
    """Servers on one port of several loopback addresses, and a pool before them."""

    def __init__(self) -> None:
        self.hand = HandLoop()
        self.events: list[tuple[str, str, str]] = []
        self.names: dict[str, list[str]] = {}
        self.upstreams: dict[str, Upstream] = {}
        self.servers: dict[str, asyncio.Server] = {}
        self.port = 0
        self.pool: Pool

    async def open(self, script: Script, *hosts: str) -> None:
        """Serve at these addresses."""
        for host in hosts:
            upstream = self.upstreams[host] = Upstream(script)
            server = await asyncio.start_server(upstream.serve, host, self.port)
            self.port = server.sockets[0].getsockname()[1]
            self.servers[host] = server

    def kill(self, host: str) -> None:
        """End a server and every connection it has."""
        self.servers.pop(host).close()
        self.upstreams[host].close()

    def target(self, upstream: str, target: str, event: str) -> None:
        """Take down what a pool tells (`PoolEvents`)."""
        self.events.append((upstream, target, event))

    async def resolve(self, host: str, port: int) -> list[str]:
        """Know the names of this street (`Resolver`)."""
        if host not in self.names:
            raise OSError
        return self.names[host]

    async def take(self, *, fresh: bool = False) -> tuple[str, UpstreamConnection]:
        """Take a connection and tell whose it is."""
        connection = await self.pool.take(fresh=fresh)
        return self.pool._open[connection].host, connection

    async def ask(self) -> tuple[str, object]:
        """Put a request; tell who got it and how it ended."""
        connection = self.pool.take_idle() or await self.pool.take()
        host = self.pool._open[connection].host
        listener = Listener()
        connection.begin(listener, "GET", GET, Timeouts(), whole=True)
        return host, await listener.over

    async def answers(self, count: int) -> Counter[str]:
        """Put requests one by one, all of them answered; count who answered."""
        found = [await self.ask() for _ in range(count)]
        assert {"end"} == {how for _, how in found}
        return Counter(host for host, _ in found)

    def state(self) -> TargetState:
        """Tell what is true of the only configured target."""
        [state] = self.pool.state().targets
        return state


A, B, C = "127.0.0.1", "127.0.0.2", "127.0.0.3"


@asynccontextmanager
async def street(
    *hosts: str,
    script: Script | None = None,
    dns: bool = False,
    **settings: Any,
) -> AsyncIterator[Street]:
    """Open servers and a pool; prove in the end that nothing is left."""
    house = Street()
    await house.open(script or repeats(OK), *hosts)
    plain = [Origin("http", host, house.port) for host in hosts]
    named = Origin("http", "api.example", house.port, resolved=True)
    house.names["api.example"] = list(hosts)
    house.pool = Pool(
        UpstreamSettings(
            name="u",
            origins=(named,) if dns else tuple(plain),
            resolve_interval=0.01,
            **settings,
        ),
        house.hand.deadlines(),
        resolver=house.resolve,
        events=house,
    )
    try:
        yield house
    finally:
        house.pool.abort()
        await until(lambda: not house.pool._open)
        for server in house.servers.values():
            server.close()
        for upstream in house.upstreams.values():
            upstream.close()
        await turns(20)
        assert not running()
        assert not house.pool._waiters
        assert not any(each.opening for each in house.pool._rotation.members)


def _member(house: Street, host: str) -> Target:
    """Find a target by its address."""
    return next(each for each in house.pool._rotation.members if each.host == host)


def started(work: Coroutine[Any, Any, Any]):
    """Begin something, in a task of its own."""
    return asyncio.get_running_loop().create_task(work)


# ------------------------------------------------------------------------- choice


async def test_requests_one_by_one_go_round():
    """Over connections that are kept: as many as there are targets."""
    async with street(A, B, C) as house:
        assert {A: 4, B: 4, C: 4} == await house.answers(12)
        assert [1, 1, 1] == [each.connections for each in house.upstreams.values()]
        assert "<Pool u: 0 busy, 3 idle>" == repr(house.pool)


async def test_a_request_goes_to_the_least_busy():
    """Though another has a connection that is ready."""
    async with street(A, B) as house:
        taken = [await house.take() for _ in range(4)]
        ready = next(each for host, each in taken if host == A)
        house.pool.give_back(ready)
        for host, connection in taken:
            if host == B:
                connection.drop()
        await until(lambda: len(house.pool._open) == 2)

        assert house.pool.take_idle() is None
        assert B == (await house.take())[0]
        assert ready is house.pool.take_idle()


async def test_no_target_has_more_connections_than_it_may():
    """Together they have more than one could."""
    async with street(A, B, connections=2) as house:
        taken = [await house.take() for _ in range(4)]
        waiting = started(house.take())
        await turns()

        assert {A: 2, B: 2} == Counter(host for host, _ in taken)
        assert not waiting.done()
        house.pool.give_back(taken[1][1])
        assert taken[1] == await waiting


# ----------------------------------------------------------------------- failures


async def test_who_cannot_be_reached_leaves_it_to_another_and_is_put_out():
    """No request fails; after a while nobody tries any more, then one does."""
    async with street(A, B) as house:
        house.kill(A)
        assert [B] * 8 == [(await house.take())[0] for _ in range(8)]
        told = ("u", f"http://{A}:{house.port}", "ejected")
        assert [told] == house.events
        await house.open(repeats(OK), A)
        assert B == (await house.take())[0]
        house.hand.advance(1.3)

        assert A == (await house.take())[0]


async def test_exchanges_without_an_answer_put_a_target_out():
    """It accepts, and says nothing: no connection fails."""

    async def mute(reader, writer):
        await reader.readuntil(b"\r\n\r\n")

    async with street(A, B) as house:
        house.kill(B)
        await house.open(mute, B)
        found = [await house.ask() for _ in range(12)]

        assert FAILURES == sum(host == B for host, _ in found)
        assert {(A, "end"), (B, UpstreamUnavailable)} == set(found)


@pytest.mark.parametrize("length", [b"Content-Length: 0\r\n", b""])
async def test_an_answer_in_between_is_forgiveness(length):
    """Only failures in a row count, also where no connection is kept."""
    turn = iter(range(1000))

    async def moody(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        if next(turn) % 3:
            answer = b"HTTP/1.1 503 Later\r\n%bConnection: close\r\n\r\n"
            writer.write(answer % length)
            await writer.drain()

    async with street(A, B, script=moody) as house:
        ends = [how for _, how in [await house.ask() for _ in range(30)]]

        assert 10 == ends.count(UpstreamUnavailable)
        assert [] == house.events


async def test_an_answer_over_a_kept_connection_is_forgiveness_too():
    """It need not be a new one."""
    async with street(A, B) as house:
        _, connection = await house.take()
        rotation, target = house.pool._rotation, house.pool._open[connection]
        for _ in range(3):
            for _ in range(FAILURES - 1):
                assert not rotation.failed(target)
            house.pool.give_back(connection)


async def test_a_connection_that_idled_too_long_is_no_failure():
    """Its server closed it, as it may; the race is nobody's fault."""

    async def once(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")

    async with street(A, B, script=once) as house:
        await asyncio.gather(*(house.ask() for _ in range(10)))
        ends = [how for _, how in [await house.ask() for _ in range(10)]]

        assert [UpstreamUnavailable] * 10 == ends
        assert [] == house.events


async def test_answers_that_do_not_come_in_time_put_a_target_out():
    """And one that began is an answer, though it does not go on."""

    async def stalls(reader, writer):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head if writer.get_extra_info("sockname")[0] == A else b"")
        await reader.read()

    async with street(A, B, script=stalls) as house:
        asked = [started(house.ask()) for _ in range(2 * FAILURES)]
        await until(lambda: len(house.pool._open) == 2 * FAILURES)
        await until(lambda: sum(each.heard for each in house.pool._open) == FAILURES)
        house.hand.advance(100)
        ends = [how for _, how in await asyncio.gather(*asked)]
        await turns()

        assert [TimeoutError] * 2 * FAILURES == ends
        assert [("u", f"http://{B}:{house.port}", "ejected")] == house.events


async def test_the_only_target_is_never_put_out():
    """However it fails."""
    async with street(A) as house:
        house.kill(A)
        for _ in range(10):
            with pytest.raises(UpstreamUnavailable):
                await house.take()
        await house.open(repeats(OK), A)

        assert A == (await house.take())[0]
        assert [] == house.events


async def test_targets_that_do_not_answer_cost_two_deadlines_at_most():
    """However many there are: the client does not wait for all of them."""
    timeouts = Timeouts(connect=0.05)
    async with street(A, B, C, timeouts=timeouts) as house:
        attempts: list[str] = []

        async def hang(target, factory):
            attempts.append(target.host)
            house.hand.advance(0.05)
            await asyncio.Event().wait()

        house.pool._dialler.dial = hang  # type: ignore[method-assign]
        with pytest.raises(TimeoutError):
            await house.take()

        assert 2 == len(attempts)


# ------------------------------------------------------------------------- queue


async def test_a_free_slot_is_for_who_waits_longest():
    """Though another asks in the very moment in which it becomes free."""
    async with street(A, connections=1) as house:
        _, connection = await house.take()
        first = started(house.take())
        await turns()
        connection.drop()
        await until(lambda: not house.pool._waiters)
        late = started(house.take())
        _, given = await first
        assert not late.done()
        house.pool.give_back(given)

        assert (A, given) == await late


async def test_who_waits_is_served_by_any_target():
    """Whichever has a connection first."""
    async with street(A, B, connections=1) as house:
        taken = dict([await house.take() for _ in range(2)])
        waiting = [started(house.take()) for _ in range(2)]
        await turns()
        house.pool.give_back(taken[B])
        assert (B, taken[B]) == await waiting[0]
        taken[A].drop()
        host, other = await waiting[1]

        assert A == host
        assert other is not taken[A]


async def test_a_target_that_comes_back_serves_those_who_wait_first():
    """Whoever comes later, and finds it, stands behind them."""
    async with street(A, B, connections=1) as house:
        house.kill(A)
        _, busy = await house.take()
        rotation, bad = house.pool._rotation, _member(house, A)
        while not rotation.failed(bad):
            pass
        first = started(house.take())
        await turns()
        await house.open(repeats(OK), A)
        house.hand.advance(1.3)
        second = started(house.take())

        assert A == (await first)[0]
        assert not second.done()
        house.pool.give_back(busy)
        assert (B, busy) == await second


async def test_who_waits_is_given_no_target_that_is_out():
    """A slot that a dead target has free is no use to anybody."""
    timeouts = Timeouts(connect=0.05)
    async with street(A, B, connections=1, timeouts=timeouts) as house:
        taken = dict([await house.take() for _ in range(2)])
        rotation, pool = house.pool._rotation, house.pool
        while not rotation.failed(pool._open[taken[A]]):
            pass
        waiting = started(house.take())
        await turns()
        taken[A].drop()

        with pytest.raises(UpstreamBusy):
            await waiting


async def test_who_waits_is_given_no_connection_to_a_target_that_is_out():
    """It is kept, for when the target is back."""
    check = HealthCheck(target=b"/", unhealthy=1)
    async with street(A, B, connections=1, health=check) as house:
        taken, pool = dict([await house.take() for _ in range(2)]), house.pool
        pool.checked(pool._open[taken[A]], well=False)
        waiting = started(house.take())
        await turns()
        pool.give_back(taken[A])
        await turns()
        assert not waiting.done()
        pool.give_back(taken[B])

        assert (B, taken[B]) == await waiting


async def test_who_waits_is_served_by_a_target_that_is_well_again():
    """At once, not when somebody else happens to come."""
    check = HealthCheck(target=b"/", unhealthy=1, healthy=1)
    async with street(A, B, connections=1, health=check) as house:
        house.pool.checked(_member(house, A), well=False)
        assert B == (await house.take())[0]
        waiting = started(house.take())
        await turns()
        house.pool.checked(_member(house, A), well=True)

        assert A == (await waiting)[0]


async def test_what_is_idle_when_a_target_comes_back_is_used_first():
    """A connection is better than the right to open one; a dead one is neither."""
    check = HealthCheck(target=b"/", unhealthy=1, healthy=1)
    async with street(A, B, connections=2, health=check) as house:
        taken = [await house.take() for _ in range(4)]
        house.pool.checked(_member(house, A), well=False)
        dead, alive = (each for host, each in taken if host == A)
        house.pool.give_back(alive)
        house.pool.give_back(dead)
        waiting = [started(house.take()) for _ in range(2)]
        await turns()
        dead.drop()
        house.pool.checked(_member(house, A), well=True)

        assert (A, alive) == await waiting[0]
        assert A == (await waiting[1])[0]


async def test_who_has_left_the_line_is_passed_over():
    """Cancelled, and not yet gone, in the moment in which something comes free."""
    async with street(A, connections=1) as house:
        _, connection = await house.take()
        gone, stays = started(house.take()), started(house.take())
        await turns()
        gone.cancel()
        house.pool.give_back(connection)

        assert (A, connection) == await stays


async def test_a_connection_that_is_gone_is_not_taken_back():
    """Who gives it back may not have heard of it yet."""
    async with street(A) as house:
        _, connection = await house.take()
        connection.drop()
        await until(lambda: not house.pool._open)
        house.pool.give_back(connection)

        assert "<Pool u: 0 busy, 0 idle>" == repr(house.pool)


async def test_the_moment_of_leaving_loses_no_slot():
    """A promise to one who has gone goes to the next."""
    async with street(A, connections=1) as house:
        _, connection = await house.take()
        gone, stays = started(house.take()), started(house.take())
        await turns()
        connection.drop()
        await until(lambda: len(house.pool._waiters) == 1)
        gone.cancel()

        assert A == (await stays)[0]
        assert gone.cancelled()


# ------------------------------------------------------------------------- names


async def test_every_address_of_a_name_is_a_target():
    """All are one in what is told."""
    async with street(A, B, dns=True) as house:
        await house.pool.start()
        assert {A: 3, B: 3} == await house.answers(6)

        state = house.state()
        assert f"dns:http://api.example:{house.port}" == state.target
        assert {"serving": 2, "ejected": 0, "unwell": 0} == state.addresses
        assert (0, 2, 0) == (state.busy, state.idle, state.opening)


async def test_a_name_with_one_address_is_as_cheap_as_an_address():
    """The next idle connection is found without a choice; until there are two."""
    async with street(A, B, dns=True) as house:
        house.names["api.example"] = [A]
        await house.pool.start()
        assert house.pool._only_idle is _member(house, A).idle
        house.names["api.example"] = [A, B]
        await until(lambda: len(house.pool._rotation.members) > 1)

        assert {A: 2, B: 2} == await house.answers(4)


async def test_new_addresses_join_and_old_ones_drain():
    """What is idle closes, what is busy finishes, then closes."""
    async with street(A, B, C, dns=True) as house:
        house.names["api.example"] = [A, B]
        await house.pool.start()
        taken = dict([await house.take() for _ in range(2)])
        await house.answers(4)
        house.names["api.example"] = [B, C]
        await until(lambda: C in {t.host for t in house.pool._rotation.members})
        house.pool.give_back(taken[B])

        assert {B: 3, C: 3} == await house.answers(6)
        assert taken[A].alive
        listener = Listener()
        taken[A].begin(listener, "GET", GET, Timeouts(), whole=True)
        assert "end" == await listener.over
        assert not taken[A].alive
        await until(lambda: len(house.pool._open) == 3)
        assert {B, C} == {each.host for each in house.pool._open.values()}


async def test_a_name_that_is_unknown_at_first_is_a_502_until_it_is_known():
    """The process starts; the failure is counted and told."""
    async with street(A, dns=True) as house:
        del house.names["api.example"]
        await house.pool.start()
        assert house.pool.take_idle() is None
        with pytest.raises(UpstreamUnavailable):
            await house.take()
        assert 1 <= house.state().unresolved
        told = ("u", f"dns:http://api.example:{house.port}", "unresolved")
        assert {told} == set(house.events)
        house.names["api.example"] = [A]
        await until(lambda: house.pool._rotation.members)

        assert {A: 2} == await house.answers(2)


async def test_a_name_that_is_lost_keeps_its_addresses():
    """A resolver that fails, or gives nothing, is no reason to stop."""
    async with street(A, dns=True) as house:
        await house.pool.start()
        house.names["api.example"] = []
        await until(lambda: house.state().unresolved)
        del house.names["api.example"]
        before = house.state().unresolved
        await until(lambda: house.state().unresolved > before + 1)

        assert {A: 2} == await house.answers(2)


async def test_who_waits_is_served_by_an_address_that_joins():
    """It has room."""
    async with street(A, B, dns=True, connections=1) as house:
        house.names["api.example"] = [A]
        await house.pool.start()
        await house.take()
        waiting = started(house.take())
        await turns()
        house.names["api.example"] = [A, B]

        assert B == (await waiting)[0]


# ------------------------------------------------------------------------- health


async def test_a_target_that_fails_its_checks_is_out_until_it_passes_them():
    """The others serve meanwhile; it is told when it changes."""
    check = HealthCheck(target=b"/up", interval=0.01, timeout=0.5)
    well = {"A": b"200 OK"}

    async def served(reader, writer):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            status = well["A"] if head.startswith(b"GET /up") else b"200 OK"
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status)

    async with street(A, B, health=check) as house:
        house.servers.pop(A).close()
        await house.open(served, A)
        await house.pool.start()
        assert 2 == len(await house.answers(2))
        well["A"] = b"503 Later"
        await until(lambda: house.events)
        told = ("u", f"http://{A}:{house.port}")
        assert (*told, "unwell") == house.events[-1]
        assert {B: 4} == await house.answers(4)
        first = house.pool.state().targets[0]
        assert {"serving": 0, "ejected": 0, "unwell": 1} == first.addresses
        well["A"] = b"200 OK"
        await until(lambda: (*told, "well") == house.events[-1])

        assert {A: 2, B: 2} == await house.answers(4)


async def test_an_address_that_joins_is_checked_and_one_that_left_is_not():
    """Checks follow the name."""
    check = HealthCheck(target=b"/up", interval=0.01, timeout=0.5)
    async with street(A, B, dns=True, health=check) as house:
        house.names["api.example"] = [A]
        await house.pool.start()
        await until(lambda: house.upstreams[A].received)
        house.names["api.example"] = [B]
        await until(lambda: house.upstreams[B].received)
        await turns(20)
        asked = len(house.upstreams[A].received)
        await until(lambda: len(house.upstreams[B].received) > 6)

        assert asked == len(house.upstreams[A].received)


async def test_a_closed_pool_looks_after_nobody():
    """Its tasks end with it."""
    check = HealthCheck(target=b"/up", interval=0.01)
    async with street(A, dns=True, health=check) as house:
        await house.pool.start()
        assert 2 == len(running())
        house.pool.close()

        await until(lambda: not running())
