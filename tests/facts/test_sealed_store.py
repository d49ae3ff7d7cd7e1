"""What somebody gains who reads or writes the store: attacks on sealed entries."""

import base64
import hashlib
from itertools import product
from typing import Any, NamedTuple

import msgspec
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from gateway.facts.fingerprints import Kind, fingerprints, subkey
from gateway.facts.grants import Grants
from gateway.facts.sealed import SealBroken, Sealer
from gateway.facts.shared import CacheResources, SharedFacts
from gateway.ports import Store
from gateway.stores.redis import open_store
from gateway.values import Grant, TokenFacts
from tests.facts.doubles import OLD_SECRET, SECRET, Cupboard, Tally
from tests.fakes import Clock
from tests.stores.servers import serving

WORDS = ("ada-lovelace", "partner-7", "user-like-read", "홍길동", "melon", "ottm")
"""What is in the entries: a subject, a client, a scope, a claim, the providers."""


class Question(NamedTuple):
    """Which entry: of which kind, provider, verifiers and token."""

    kind: Kind
    provider: str
    identity: str
    token: str


QUESTIONS = [
    *(Question(Kind.FACTS, *rest) for rest in product(("a", "b"), "xy", "st")),
    *(Question(Kind.GRANT, *rest) for rest in product(("a", "b"), ("",), "st")),
]
question = st.sampled_from(QUESTIONS)


class Gateway:
    """The parts of a gateway that keep entries, under its secrets."""

    def __init__(self, store: Store, *secrets: str, clock: Clock | None = None) -> None:
        self.store = store
        self.tally = Tally()
        self.clock = clock or Clock()
        self.secrets = secrets or (SECRET,)

    async def write(self, asked: Question) -> None:
        """Keep an entry that tells all there is to tell."""
        now = self.clock.now()
        if asked.kind is Kind.GRANT:
            scopes = frozenset({WORDS[2]})
            grant = Grant(
                provider=asked.provider,
                client=WORDS[1],
                scopes=scopes,
                issued_at=now,
                expires_at=now + 60,
            )
            await self._grants().record(asked.provider, asked.token, grant)
            return
        facts = TokenFacts(
            provider=asked.provider,
            subject=WORDS[0],
            client=WORDS[1],
            scopes=frozenset({WORDS[2]}),
            claims={"name": WORDS[3]},
            learned_at=now,
        )
        await self._facts(asked).write(asked.token, facts, 60.0)

    async def read(self, asked: Question) -> TokenFacts | Grant | None:
        """Ask for an entry as a request would."""
        if asked.kind is Kind.GRANT:
            return await self._grants().recall(asked.provider, asked.token)
        facts, _ = await self._facts(asked).read(asked.token, lambda _: True)
        return facts

    @property
    def alarms(self) -> int:
        """How many values did not open."""
        return self.tally.counts["seal_alarm",]

    def _grants(self) -> Grants:
        return Grants(
            self.secrets, store=self.store, clock=self.clock, events=self.tally
        )

    def _facts(self, asked: Question) -> SharedFacts:
        resources = CacheResources(
            secrets=self.secrets, store=self.store, clock=self.clock, events=self.tally
        )
        names = fingerprints(self.secrets, Kind.FACTS, asked.provider, asked.identity)
        return SharedFacts(names, resources)


async def written(asked: Question, cupboard: Cupboard) -> str:
    """Keep an entry, and give its key."""
    before = set(cupboard.kept)
    await Gateway(cupboard).write(asked)
    (key,) = set(cupboard.kept) - before
    return key


@given(question, st.integers(min_value=0), st.integers(1, 255))
async def test_one_changed_byte_anywhere_is_a_miss_and_an_alarm(asked, where, change):
    """Whoever can write to the store can make no fact, and is heard."""
    cupboard = Cupboard()
    key = await written(asked, cupboard)
    value = bytearray(cupboard.kept[key])
    value[where % len(value)] ^= change
    cupboard.kept[key] = bytes(value)
    gateway = Gateway(cupboard)

    assert await gateway.read(asked) is None
    assert 1 == gateway.alarms


@given(question, question)
async def test_an_entry_copied_to_another_key_provider_or_token_never_opens(
    ours, other
):
    """Nobody becomes somebody else by it; in its own place it does open."""
    cupboard = Cupboard()
    place = await written(other, cupboard)
    if ours != other:
        cupboard.kept[place] = cupboard.kept[await written(ours, cupboard)]
    gateway = Gateway(cupboard)
    found = await gateway.read(other)

    assert (ours == other) == (found is not None)
    assert (ours != other) == bool(gateway.alarms)


@given(question)
async def test_an_entry_made_under_a_secret_nobody_listed_never_opens(asked):
    """Not even when it lies under the right key."""
    cupboard = Cupboard()
    await Gateway(cupboard, OLD_SECRET).write(asked)
    (value,) = cupboard.kept.values()
    cupboard.kept.clear()
    cupboard.kept[await written(asked, cupboard)] = value
    gateway = Gateway(cupboard)

    assert await gateway.read(asked) is None
    assert 1 == gateway.alarms


@pytest.mark.parametrize("kind", [Kind.FACTS, Kind.GRANT])
async def test_a_secret_is_changed_in_two_rollouts(kind):
    """A grant is found all the way; facts cost a question where the first changes."""
    asked = next(each for each in QUESTIONS if each.kind is kind)
    cupboard = Cupboard()
    before = Gateway(cupboard, OLD_SECRET)
    await before.write(asked)
    prepared = Gateway(cupboard, OLD_SECRET, SECRET)
    changed = Gateway(cupboard, SECRET, OLD_SECRET)

    assert await prepared.read(asked) is not None
    assert (kind is Kind.GRANT) == (await changed.read(asked) is not None)

    # While the second rollout is under way, those still prepared read the new ones'.
    cupboard.kept.clear()
    await changed.write(asked)
    assert (kind is Kind.GRANT) == (await prepared.read(asked) is not None)
    assert await Gateway(cupboard, SECRET).read(asked) is not None
    assert 0 == before.alarms + prepared.alarms + changed.alarms


# ----------------------------------------------------------------- a stolen dump


def forms(word: str) -> set[bytes]:
    """Give what a word looks like to those who search a dump."""
    raw = word.encode()
    hashes = ("sha256", "sha1", "md5", "blake2b", "blake2s")
    digests = [hashlib.new(name, raw).digest() for name in hashes]
    digests.append(hashlib.blake2b(raw, digest_size=32).digest())
    plain = (raw, *digests)
    inner = base64.b64encode(b"\0" + raw)[2:-4], base64.b64encode(raw)[:-4]
    return {
        *plain,
        *(each.hex().encode() for each in plain),
        *(each for each in inner if len(each) > 5),
        word.encode("utf-16-le"),
    }


async def test_a_dump_of_the_server_and_the_secret_reveal_nothing_readable(
    tmp_path, clock
):
    """A file of the real server is searched; then its values are tried to be opened."""
    tokens = [f"token-{number:04}-of-somebody" for number in range(50)]
    asked = [
        *(Question(Kind.FACTS, "melon", "jwt", token) for token in tokens),
        *(Question(Kind.GRANT, "ottm", "", token) for token in tokens),
    ]
    options = ("--dir", str(tmp_path), "--rdbcompression", "no")
    with serving("valkey", *options) as server:
        store = open_store(server.url, clock=clock, deadline=5.0)
        gateway = Gateway(store, clock=clock)
        for each in asked:
            await gateway.write(each)
        assert all([await gateway.read(each) for each in asked])
        await store.close()
        with Redis(port=server.port) as thief:
            thief.save()
            entries = {key: thief.get(key) for key in thief.scan_iter(count=1000)}

    dump = (tmp_path / "dump.rdb").read_bytes()
    assert len(asked) == len(entries)
    assert all(key in dump for key in entries)
    for word in (*WORDS, *tokens, SECRET):
        assert not [form for form in forms(word) if form in dump]
    for key, value in entries.items():
        assert isinstance(value, bytes)
        assert not opened_by_the_secret_alone(key.decode(), value)


def opened_by_the_secret_alone(key: str, value: bytes) -> bool:
    """Try what a thief of the secret would: its own keys, and no token or a name."""
    sealers: list[Sealer[Any]] = [Sealer(TokenFacts, SECRET), Sealer(Grant, SECRET)]
    for sealer, token in product(sealers, ("", key, key.rpartition(":")[2])):
        try:
            sealer.open(value, token=token, key=key, now=0.0)
        except SealBroken:
            continue
        return True
    for own in (subkey(SECRET, "seal"), subkey(SECRET, "fingerprint")):
        try:
            plain = AESGCM(own).decrypt(
                value[1:13], value[13:], value[:1] + key.encode()
            )
        except InvalidTag:
            continue
        return bool(msgspec.msgpack.decode(plain))
    return False
