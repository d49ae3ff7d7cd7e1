"""Ask a provider over HTTP, with everything bounded. Floor 3.

A provider's answer decides who is let in, and a provider can be slow, broken, hostile
or somebody else. So: no redirect is followed (it could lead a token anywhere), no
cookie kept, nothing decompressed, every certificate checked, 64 KiB read at most, one
deadline for all tries, a cap on questions under way and on those that wait, and at
most one further try, paid for from a budget that an outage soon exhausts: a provider
that falls over is not asked twice as often (SECURITY §1 G, §5). After some failures in
a row it is left alone for a while (`breaker`), which costs nobody a wait.

What comes back is an answer worth reading, or `ProviderUnavailable`. No message here
quotes the provider, the token or the URL.
"""

import asyncio
import random
import ssl
import time
from typing import Final, Self

import aiohttp
from yarl import URL

from gateway.breaker import Breaker, BreakerSettings, BreakerState
from gateway.errors import ConfigError, ProviderUnavailable
from gateway.ports import ProviderEvents, Question, Reply

ANSWER_LIMIT_BYTES: Final = 64 * 1024
QUESTIONS_AT_ONCE: Final = 32
QUESTIONS_WAITING: Final = 256
RETRY_PAUSE: Final = 0.1

_BUDGET: Final = 10.0
_EARNED_BY_AN_ANSWER: Final = 0.1

_HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "token-gateway"}


class _NoReply(ProviderUnavailable):
    """Why one try gave nothing to read; `again` when a second may do better."""

    def __init__(self, code: str, told: str, *, again: bool = False) -> None:
        super().__init__(told)
        self.code = code
        self.again = again


class _Unobserved:
    """Nobody watches."""

    def provider_request(
        self, provider: str, endpoint: str, code: str, seconds: float
    ) -> None:
        """Take no note."""


class ProviderClient:
    """Keeps the promise `ProviderHttp` for one provider.

    `ca_file` replaces the system's authorities with those in that file. Close it when
    done; it opens itself with the first question.
    """

    def __init__(
        self,
        provider: str,
        *,
        ca_file: str | None = None,
        at_once: int = QUESTIONS_AT_ONCE,
        waiting: int = QUESTIONS_WAITING,
        breaker: BreakerSettings | None = None,
        retry_pause: float = RETRY_PAUSE,
        events: ProviderEvents | None = None,
    ) -> None:
        self._provider = provider
        self._tls = _authorities(provider, ca_file)
        self._at_once = at_once
        self._slots = asyncio.Semaphore(at_once)
        self._queue = waiting
        self._waiting = 0
        self._under_way = 0
        self._breaker = Breaker(breaker or BreakerSettings(), time.monotonic)
        self._retry_pause = retry_pause
        self._budget = _BUDGET
        self._events = events or _Unobserved()
        self._opened: aiohttp.ClientSession | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<ProviderClient {self._provider}: {self._waiting} waiting>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of every connection; whoever still asks gets no answer."""
        self._closed = True
        if self._opened is not None:
            await self._opened.close()

    @property
    def breaker_state(self) -> BreakerState:
        """Tell whether it may be asked."""
        return self._breaker.state

    @property
    def under_way(self) -> int:
        """Tell how many questions are being asked."""
        return self._under_way

    @property
    def waiting(self) -> int:
        """Tell how many questions wait for their turn."""
        return self._waiting

    async def ask(self, question: Question) -> Reply:
        """Ask within the deadline; raises `ProviderUnavailable` (see the promise)."""
        deadline = asyncio.get_running_loop().time() + question.deadline
        self._check_breaker(question)
        await self._enter(question, deadline)
        self._under_way += 1
        try:
            # Those who waited were let in before it fell silent.
            self._check_breaker(question)
            return await self._watched(question, deadline)
        finally:
            self._under_way -= 1
            self._slots.release()

    def _check_breaker(self, question: Question) -> None:
        wait = self._breaker.refusal()
        if wait:
            self._events.provider_request(
                self._provider, question.endpoint, "open", 0.0
            )
            msg = f"{self._provider}: does not answer and is left alone for a while"
            raise ProviderUnavailable(msg, retry_after=wait)

    async def _watched(self, question: Question, deadline: float) -> Reply:
        """Ask, and let the breaker know how that went."""
        probe = self._breaker.begin()
        try:
            reply = await self._tries(question, deadline)
        except ProviderUnavailable:
            self._breaker.failed(probe=probe)
            raise
        except BaseException:
            self._breaker.gave_up(probe=probe)
            raise
        self._breaker.succeeded()
        return reply

    async def _enter(self, question: Question, deadline: float) -> None:
        """Wait for a free slot; a full queue and a passed deadline are refusals."""
        if self._waiting < self._queue:
            self._waiting += 1
            try:
                async with asyncio.timeout_at(deadline):
                    await self._slots.acquire()
            except TimeoutError:
                pass
            else:
                return
            finally:
                self._waiting -= 1
        self._events.provider_request(self._provider, question.endpoint, "busy", 0.0)
        msg = f"{self._provider}: too many questions are under way"
        raise ProviderUnavailable(msg)

    async def _tries(self, question: Question, deadline: float) -> Reply:
        loop = asyncio.get_running_loop()
        tries_left = question.retries
        while True:
            try:
                reply = await self._try(question, deadline)
            except _NoReply as failure:
                pause = self._retry_pause * random.uniform(0.5, 1.5)  # noqa: S311 -- jitter
                late = loop.time() + pause >= deadline
                if late or not tries_left or not failure.again or self._budget < 1:
                    raise
                self._budget -= 1
                tries_left -= 1
                await asyncio.sleep(pause)
            else:
                self._budget = min(_BUDGET, self._budget + _EARNED_BY_AN_ANSWER)
                return reply

    async def _try(self, question: Question, deadline: float) -> Reply:
        """Ask once, and tell how it went, however it went."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        code = "cancelled"
        try:
            async with asyncio.timeout_at(deadline):
                reply = await self._exchange(question)
            code = str(reply.status)
        except TimeoutError as error:
            code = "timeout"
            msg = f"{self._provider}: no answer in {question.deadline:g} s"
            raise _NoReply(code, msg) from error
        except _NoReply as failure:
            code = failure.code
            raise
        else:
            return reply
        finally:
            self._events.provider_request(
                self._provider, question.endpoint, code, loop.time() - started
            )

    async def _exchange(self, question: Question) -> Reply:
        try:
            async with self._session().request(
                question.method,
                URL(question.url, encoded=True),
                headers=question.headers,
                data=question.form,
                allow_redirects=False,
            ) as response:
                # Leaving early closes the connection: nobody reads the rest.
                return await self._read(response)
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            raise self._no_reply("tls", "TLS failed") from error
        except aiohttp.ClientConnectorError as error:
            raise self._no_reply("refused", "no connection", again=True) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # `from None`: a parser's complaint quotes the line it stumbled over.
            told = f"broken answer ({type(error).__name__})"
            raise self._no_reply("broken", told, again=True) from None

    async def _read(self, response: aiohttp.ClientResponse) -> Reply:
        status = response.status
        if not (200 <= status < 300 or 400 <= status < 500) or status == 429:
            told = f"answered {status}"
            raise self._no_reply(str(status), told, again=status >= 500)
        headers: dict[str, str] = {}
        for name, value in response.headers.items():
            known = headers.get(name.lower())
            headers[name.lower()] = value if known is None else f"{known}, {value}"
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise self._no_reply("encoded", "compressed its answer unasked")
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > ANSWER_LIMIT_BYTES:
                raise self._no_reply("oversize", "answered more than 64 KiB")
        return Reply(status=status, headers=headers, body=bytes(body))

    def _no_reply(self, code: str, told: str, *, again: bool = False) -> _NoReply:
        return _NoReply(code, f"{self._provider}: {told}", again=again)

    def _session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise self._no_reply("closed", "nobody is asked any more")
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls, limit=self._at_once),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                # Our own deadlines bound every try from end to end.
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
            )
        return self._opened


def _authorities(provider: str, ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one too
        problem = f"providers.{provider}.ca_file: expected a file of PEM certificates"
        raise ConfigError([problem]) from error
