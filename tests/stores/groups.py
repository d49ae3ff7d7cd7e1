"""Real servers that stand in for one another: Sentinel, and a cluster with a replica."""

import contextlib
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

from tests.stores.servers import Server, program, serving

SERVICE = "the-service"
_PATIENCE = 15.0


@contextlib.contextmanager
def sentinels() -> Iterator[SimpleNamespace]:
    """Run a primary, its replica, and a sentinel that looks after them."""
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(
            serving("valkey", "--repl-diskless-sync-delay", "0")
        )
        replica = stack.enter_context(
            serving("valkey", "--replicaof", f"127.0.0.1 {primary.port}")
        )
        wait_for(lambda: b"master_link_status:up" in replica.say("INFO", "replication"))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="store-")))
        sentinel = Server(program("valkey"), folder)
        (folder / "sentinel.conf").write_text(
            f"port {sentinel.port}\nbind 127.0.0.1\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} 300\n"
            f"sentinel failover-timeout {SERVICE} 2000\n"
        )
        stack.callback(sentinel.kill)
        sentinel.run("sentinel.conf", "--sentinel")
        known = f"name={SERVICE},status=ok,address=127.0.0.1:{primary.port},slaves=1"
        wait_for(lambda: known.encode() in sentinel.say("INFO", "sentinel"))
        yield SimpleNamespace(
            primary=primary,
            replica=replica,
            sentinel=sentinel,
            url=f"redis+sentinel://127.0.0.1:{sentinel.port}/{SERVICE}",
        )


@contextlib.contextmanager
def cluster() -> Iterator[SimpleNamespace]:
    """Run three nodes that divide the keys, and a replica of the first."""
    with contextlib.ExitStack() as stack:
        buses = [free_port() for _ in range(4)]
        nodes = [
            stack.enter_context(
                serving(
                    "valkey",
                    *("--cluster-enabled", "yes", "--cluster-port", str(bus)),
                    *("--cluster-node-timeout", "600"),
                    *("--cluster-require-full-coverage", "no"),
                    *("--repl-diskless-sync-delay", "0"),
                )
            )
            for bus in buses
        ]
        primaries, replica = nodes[:3], nodes[3]
        for number, node in enumerate(primaries):
            first, last = 16384 * number // 3, 16384 * (number + 1) // 3 - 1
            node.say("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
            node.say("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for node, bus in zip(nodes[1:], buses[1:], strict=True):
            nodes[0].say("CLUSTER", "MEET", "127.0.0.1", str(node.port), str(bus))
        wait_for(lambda: all(_knows(node, 4) for node in nodes))
        name = nodes[0].say("CLUSTER", "MYID").split(b"\r\n")[1].decode()
        wait_for(lambda: b"+OK" in replica.say("CLUSTER", "REPLICATE", name))
        wait_for(lambda: b"master_link_status:up" in replica.say("INFO", "replication"))
        wait_for(lambda: all(_is_well(node) for node in nodes))
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        yield SimpleNamespace(nodes=nodes, url=f"redis+cluster://{hosts}")


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until the servers say so."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        if condition():
            return
        time.sleep(0.02)
    raise TimeoutError("the servers did not come to terms")


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _knows(node: Server, number: int) -> bool:
    info = node.say("CLUSTER", "INFO")
    return f"cluster_known_nodes:{number}\r".encode() in info


def _is_well(node: Server) -> bool:
    return (
        b"cluster_state:ok" in node.say("CLUSTER", "INFO")
        and node.say("CLUSTER", "SLOTS").count(b"*3\r\n:") == 2
    )
