"""Published attacks on gateways, as bytes from a client.

The rows are in `targets`, `fields`, `framing` and `bodies`; what every one is held to besides is
in `stage`. Each is sent whole, byte by byte, in random pieces, and with one more
request behind it that must never be heard.
"""

import itertools
import random
from typing import Final

import pytest

from tests.attacks.bodies import CHUNKS
from tests.attacks.fields import FIELDS, TOKENS
from tests.attacks.framing import LENGTHS, PERSISTENCE
from tests.attacks.rows import END, Row
from tests.attacks.stage import stage
from tests.attacks.targets import HOSTS, REQUEST_LINES, TARGETS

TABLE: Final[list[Row]] = [
    *TARGETS,
    *HOSTS,
    *REQUEST_LINES,
    *FIELDS,
    *TOKENS,
    *LENGTHS,
    *PERSISTENCE,
    *CHUNKS,
]
BEHIND: Final = b"GET /public/behind HTTP/1.1\r\nHost: books.example\r\n\r\n"


def in_pieces(row: Row) -> list[bytes]:
    """Cut a row at three random places, always the same ones."""
    chance = random.Random(row.name)  # noqa: S311 -- no secret
    cuts = sorted(chance.randrange(len(row.data)) for _ in range(3))
    edges = [0, *cuts, len(row.data)]
    return [row.data[start:end] for start, end in itertools.pairwise(edges)]


def test_no_row_is_there_twice():
    """Names tell the rows apart in a report."""
    assert len(TABLE) == len({row.name for row in TABLE})


def test_every_row_says_where_it_comes_from():
    """SECURITY.md refers to groups."""
    assert all(row.group and row.source for row in TABLE)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.group}: {row.name}")
async def test_an_attack_is_answered_as_the_table_says(row):
    """The same answers however it arrives, and nothing upstream that was not judged."""
    step = 1 if len(row.data) <= 2000 else 997
    async with stage() as s:
        for play in (
            await s.play(row.data),
            await s.play(row.data, step=step),
            await s.play(*in_pieces(row)),
            await s.play(row.data + BEHIND),
        ):
            heard = [each.status for each in play.told if each.status >= 200]

            assert list(row.statuses) == heard
            assert row.reached == len(play.received)
            assert row.reached or row.begun or not play.raw
            assert b"smuggled" not in play.answer
            assert not any(b"behind" in each.target for each in play.received)
            assert not any(b"smuggled" in each.target for each in play.received)
            assert b"close" == play.told[-1].value(b"connection")


REPEATABLE: Final = [
    row
    for row in (*TARGETS, *REQUEST_LINES, *TOKENS)
    if row.data.endswith(END) and not row.data.startswith((b"\r", b"\n"))
]


@pytest.mark.parametrize("step", [0, 1], ids=["whole", "bytes"])
async def test_lines_that_were_read_before_excuse_no_request_line(step):
    """A client that repeats its header lines is judged as if it did not."""
    async with stage() as s:
        for row in REPEATABLE:
            line, _, rest = row.data.partition(b"\r\n")
            fields = rest.removesuffix(END)
            if len(row.data) > 1000 or b"\r\n\r\n" in fields:
                continue
            play = await s.play(
                b"GET /public/before HTTP/1.1\r\n" + fields + b"\r\n",
                line + b"\r\n" + fields + b"\r\n",
                b"GET /public/after HTTP/1.1\r\n" + fields + END,
                step=step,
            )
            first, *others = [each.status for each in play.told]

            # Some lines are refused everywhere, and close the connection.
            if first == 200:
                assert row.statuses[0] == others[0], row.name
                assert others[1:] in ([], [200])
