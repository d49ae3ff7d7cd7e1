"""The decision door for Envoy over gRPC: `Authorization.Check`, version 3. Floor 4.

Of Envoy's doors this is the better one: headers come one by one and byte for byte
(`encode_raw_headers`), and leave can change the target, so a token in the query is
taken out of it and the rest stays as it was (Envoy's own `query_parameters_to_remove`
would write it anew).

Needs the extra `grpc`; nothing else imports this module. The messages are an extract
of Envoy's own (`ext_authz.proto`).
"""

import asyncio
import functools
import ipaddress
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import grpc
from grpc_health.v1 import health_pb2

from gateway.config.addresses import Address
from gateway.fronts.counsel import Counsel, Door, Leave, Question, Refusal
from gateway.fronts.ext_authz_pb2 import (
    AttributeContext,
    CheckRequest,
    CheckResponse,
    HeaderValueOption,
)
from gateway.rules.engine_headers import HANDOVER, UPSTREAM_NAME
from gateway.tasks import spawn
from gateway.values import Header, Reason, WireLimits

ENVOY_GRPC: Final = Door(name="envoy_grpc", rewrites=True, drops=True, preflights=True)

SERVICE: Final = "envoy.service.auth.v3.Authorization"
_HEALTH: Final = "grpc.health.v1.Health"

_MISDIRECTED: Final = 421

# google.rpc.Code
_OK: Final = 0
_PERMISSION_DENIED: Final = 7
_UNAUTHENTICATED: Final = 16

_SCHEMES: Final = frozenset({"http", "https"})
_SPARE: Final = 0.02
"""Seconds of Envoy's patience that are left for the answer's way back."""

_LOOK: Final = 0.5
"""Seconds between two looks for whoever watches our health."""

_REPLACE: Final = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
_ADD: Final = HeaderValueOption.APPEND_IF_EXISTS_OR_ADD

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

_Context = grpc.aio.ServicerContext[Any, Any]


class ExtAuthz:
    """Answers Envoy. `trusts` tells who may ask, `ready` whether we are well."""

    def __init__(
        self,
        counsel: Counsel,
        *,
        trusts: Callable[[str], bool],
        ready: Callable[[], bool],
    ) -> None:
        self._counsel = counsel
        self._trusts = trusts
        self._ready = ready

    def __repr__(self) -> str:
        return f"<ExtAuthz: {self._counsel!r}>"

    async def check(self, asked: CheckRequest, context: _Context) -> CheckResponse:
        """Answer one question, before Envoy's deadline."""
        attributes = asked.attributes
        peer = peer_address(context.peer())
        if not self._trusts(peer):
            refusal = self._counsel.refuse(ENVOY_GRPC, peer, Reason.UNTRUSTED_PEER)
            return _denied(refusal)
        question = _question(attributes, peer, within=_patience(context))
        if question is None:
            refusal = self._counsel.refuse(ENVOY_GRPC, peer, Reason.BAD_QUESTION)
            return _denied(refusal)
        match await self._counsel.advise(question):
            case Leave() as leave:
                return _leave(leave, question.target)
            case Refusal() as refusal:
                cluster = attributes.context_extensions.get(HANDOVER)
                if cluster and refusal.answer.status == _MISDIRECTED:
                    return _handed_over(cluster)
                return _denied(refusal)

    # ---------------------------------------------------------------------- health

    async def health(
        self, asked: health_pb2.HealthCheckRequest, context: _Context
    ) -> health_pb2.HealthCheckResponse:
        """Tell whether to ask here (grpc.health.v1): as `/readyz` does."""
        if asked.service not in ("", SERVICE):
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return self._health()

    async def watch(
        self, _asked: health_pb2.HealthCheckRequest, _context: _Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Tell it now, and whenever it changes, until the asker goes away."""
        told = None
        while True:
            if (now := self._health()) != told:
                yield now
                told = now
            await asyncio.sleep(_LOOK)

    def _health(self) -> health_pb2.HealthCheckResponse:
        states = health_pb2.HealthCheckResponse
        status = states.SERVING if self._ready() else states.NOT_SERVING
        return health_pb2.HealthCheckResponse(status=status)


class GrpcDoor:
    """The listener of one process at which Envoy asks.

    `shared`: other workers listen on the same port, and the kernel deals connections.
    """

    def __init__(self, front: ExtAuthz, limits: WireLimits, *, shared: bool) -> None:
        self._front = front
        self._ending: asyncio.Task[None] | None = None
        # What is judged elsewhere by these limits is inside of one message here.
        longest = limits.target_bytes + 2 * limits.header_bytes + 16 * 1024
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", int(shared)),
                ("grpc.max_receive_message_length", longest),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ],
            maximum_concurrent_rpcs=limits.connections,
        )
        self._server.add_generic_rpc_handlers(_handlers(front))

    def __repr__(self) -> str:
        return f"<GrpcDoor: {self._front!r}>"

    async def open(self, address: Address) -> Address:
        """Let Envoy in; gives the address, with the port that the system chose.

        Raises `OSError`.
        """
        try:
            port = self._server.add_insecure_port(str(address))
        except RuntimeError as error:
            raise OSError(None, "the address cannot be had") from error
        await self._server.start()
        return address._replace(port=port)

    def drain(self, grace: float) -> None:
        """Let nobody ask any more; what was asked is answered within `grace` seconds."""
        self._ending = spawn(self._server.stop(grace), name="end-grpc")

    @property
    def ended(self) -> bool:
        """Tell whether everything that was asked has been answered."""
        return self._ending is not None and self._ending.done()

    async def close(self) -> None:
        """Cut what is left."""
        await self._server.stop(None)


def _handlers(front: ExtAuthz) -> tuple[grpc.GenericRpcHandler, ...]:
    check = grpc.unary_unary_rpc_method_handler(
        front.check,
        request_deserializer=CheckRequest.FromString,
        response_serializer=CheckResponse.SerializeToString,
    )
    asked = health_pb2.HealthCheckRequest.FromString
    told = health_pb2.HealthCheckResponse.SerializeToString
    health = grpc.unary_unary_rpc_method_handler(
        front.health, request_deserializer=asked, response_serializer=told
    )
    watch = grpc.unary_stream_rpc_method_handler(
        front.watch, request_deserializer=asked, response_serializer=told
    )
    return (
        grpc.method_handlers_generic_handler(SERVICE, {"Check": check}),
        grpc.method_handlers_generic_handler(
            _HEALTH, {"Check": health, "Watch": watch}
        ),
    )


# ------------------------------------------------------------------- the question


@functools.lru_cache(maxsize=256)
def peer_address(told: str) -> str:
    """Give the address in gRPC's name of a peer: `ipv4:127.0.0.1:80`, `ipv6:[::1]:80`."""
    family, _, rest = told.partition(":")
    if family == "unix":
        return "unix"
    host = unquote(rest).rpartition(":")[0].strip("[]")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""


def _patience(context: _Context) -> float | None:
    left: float | None = context.time_remaining()
    return None if left is None else max(0.0, left - _SPARE)


def _question(
    attributes: AttributeContext, peer: str, *, within: float | None
) -> Question | None:
    """Make a question of a call; None where something is missing."""
    http = attributes.request.http
    if not (http.method and http.host and http.path) or http.scheme not in _SCHEMES:
        return None
    return Question(
        door=ENVOY_GRPC,
        method=http.method,
        authority=http.host.encode(),
        target=http.path.encode(),
        headers=_headers(http),
        peer=attributes.source.address.socket_address.address or peer,
        scheme=http.scheme,
        within=within,
    )


def _headers(http: AttributeContext.HttpRequest) -> list[Header]:
    """Give the client's header lines; HTTP/2's pseudo-headers are told elsewhere."""
    lines: list[Header]
    if http.HasField("header_map"):
        lines = [
            (each.key.lower().encode(), each.raw_value or each.value.encode())
            for each in http.header_map.headers
        ]
    else:
        lines = [
            (key.lower().encode(), value.encode())
            for key, value in http.headers.items()
        ]
    return [(name, value) for name, value in lines if not name.startswith(b":")]


# --------------------------------------------------------------------- the answer


def _leave(leave: Leave, asked: bytes) -> CheckResponse:
    answer = CheckResponse()
    answer.status.code = _OK
    allowed = answer.ok_response
    seen = set[bytes]()
    for name, value in leave.put:
        _add(allowed.headers, name, value, _ADD if name in seen else _REPLACE)
        seen.add(name)
    _add(allowed.headers, UPSTREAM_NAME, leave.upstream.encode())
    if leave.target != asked:
        _add(allowed.headers, b":path", leave.target)
    # Envoy takes out after it has put in.
    allowed.headers_to_remove.extend(
        [name.decode("latin-1") for name in leave.drop if name != UPSTREAM_NAME]
    )
    return answer


def _handed_over(cluster: str) -> CheckResponse:
    """Send a request as it is to our own listener, which judges it."""
    answer = CheckResponse()
    answer.status.code = _OK
    _add(answer.ok_response.headers, UPSTREAM_NAME, cluster.encode())
    return answer


def _denied(refusal: Refusal) -> CheckResponse:
    told, answer = refusal.answer, CheckResponse()
    answer.status.code = _UNAUTHENTICATED if told.status == 401 else _PERMISSION_DENIED
    denied = answer.denied_response
    denied.status.code = told.status
    for name, value in (*told.headers, (b"x-request-id", refusal.request_id)):
        _add(denied.headers, name.lower(), value)
    denied.body = told.body.decode()
    return answer


def _add(
    options: "RepeatedCompositeFieldContainer[HeaderValueOption]",
    name: bytes,
    value: bytes,
    action: HeaderValueOption.HeaderAppendAction = _REPLACE,
) -> None:
    option = options.add()
    option.append_action = action
    option.header.key = name.decode()
    option.header.value = value.decode()
