"""How long a look-up takes, by the size of the route table.

Run with `python -m tests.benchmarks.bench_routing`. The request is the last route of
the table: the worst place, were routes tried one by one.
"""

import sys
import timeit

from gateway.rules.routing import Routes
from gateway.values import Route
from tests.rules.heads import head

SIZES = (10, 100, 1_000, 10_000)
LOOKUPS = 2_000


def table(size: int) -> Routes:
    """Build `size` routes on ten hosts: literals, names and `**` in turn."""
    shapes = ("/v1/{}/items", "/v1/{}/items/{{item}}", "/v2/{}/**")
    return Routes(
        [
            Route(
                id=f"r{number}",
                host=f"api{number % 10}.example",
                path=shapes[number % 3].format(f"service{number}"),
                methods=frozenset({"GET"}),
            )
            for number in range(size)
        ]
    )


def lookup_seconds(size: int, *, rounds: int = 7) -> float:
    """Give the time of one `search` among `size` routes: the best of several rounds."""
    routes = table(size)
    request = head(
        "GET",
        f"/v1/service{size - 1}/items".encode(),
        authority=f"api{(size - 1) % 10}.example".encode(),
    )
    times = timeit.repeat(
        lambda: routes.search(request.host, request.target, request.method),
        number=LOOKUPS,
        repeat=rounds,
    )
    return min(times) / LOOKUPS


def main() -> None:
    """Print one line for each size."""
    for size in SIZES:
        micros = lookup_seconds(size) * 1e6
        sys.stdout.write(f"{size:>6} routes: {micros:.2f} microseconds a look-up\n")


if __name__ == "__main__":
    main()
