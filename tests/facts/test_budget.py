import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.facts.budget import UnknownSettings, UnknownTokens, payer
from tests.fakes import Clock

ADA = "192.0.2.1"
BEN = "192.0.2.2"
FEW = UnknownSettings(burst=3, per_second=0.5, debt=2)


@pytest.fixture
def budget(clock):
    """Three at once, and one more every two seconds."""
    return UnknownTokens(FEW, clock)


def charge(budget: UnknownTokens, address: str, times: int) -> None:
    """Bring so many invalid tokens."""
    for _ in range(times):
        budget.charge(address)


def test_a_burst_is_free_and_then_one_waits(budget, clock):
    """For as long as one token takes, and not for longer."""
    assert 0 == budget.wait(ADA)
    charge(budget, ADA, 2)
    assert 0 == budget.wait(ADA)
    charge(budget, ADA, 1)
    assert 2 == budget.wait(ADA)

    clock.advance(1)
    assert 1 == budget.wait(ADA)
    clock.advance(1)
    assert 0 == budget.wait(ADA)


def test_nobody_pays_for_another(budget):
    """Each address has its own."""
    charge(budget, ADA, 3)

    assert 0 == budget.wait(BEN)


def test_what_was_under_way_is_paid_for_too(budget, clock):
    """Else a crowd of questions would be had for each token that is gained."""
    charge(budget, ADA, 4)

    assert 4 == budget.wait(ADA)
    clock.advance(4)
    assert 0 == budget.wait(ADA)


def test_debts_do_not_grow(budget, clock):
    """Whoever stops is heard again, however long he went on."""
    charge(budget, ADA, 100)

    assert 6 == budget.wait(ADA)
    clock.advance(10)
    charge(budget, ADA, 2)
    assert 0 == budget.wait(ADA)


def test_asking_costs_nothing(budget):
    """Nor does it make a bucket: good clients leave no trace."""
    for number in range(100):
        budget.wait(f"192.0.2.{number}")

    assert 0 == len(budget)


def test_the_number_of_buckets_is_bounded(clock):
    """The one not charged for longest is forgotten."""
    budget = UnknownTokens(FEW, clock, addresses=2)
    charge(budget, ADA, 3)
    charge(budget, BEN, 3)
    charge(budget, ADA, 1)
    charge(budget, "192.0.2.3", 3)

    assert [4, 0, 2] == [budget.wait(each) for each in (ADA, BEN, "192.0.2.3")]
    assert "<UnknownTokens: 2 addresses>" == repr(budget)


@pytest.mark.parametrize(
    ("address", "pays"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_who_pays(address, pays):
    """A whole /64 is one client's (RFC 6177)."""
    assert pays == payer(address)


@given(st.lists(st.floats(0, 10), max_size=60))
def test_no_more_than_the_budget_is_ever_asked(pauses):
    """Over any time: the burst, and what has been gained since."""
    clock = Clock()
    began = clock.monotonic()
    budget = UnknownTokens(FEW, clock)
    asked = 0
    for pause in pauses:
        clock.advance(pause)
        if not budget.wait(ADA):
            budget.charge(ADA)
            asked += 1
        assert asked <= FEW.burst + FEW.per_second * (clock.monotonic() - began) + 1e-6


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 3)), max_size=60))
def test_nor_by_asking_many_at_once(crowds):
    """Over any time: those under way at one moment, once, come on top of it."""
    clock = Clock()
    began = clock.monotonic()
    budget = UnknownTokens(FEW, clock)
    asked = 0
    for pause, crowd in crowds:
        clock.advance(pause)
        if not budget.wait(ADA):
            # All of them are let through before the first answer comes.
            charge(budget, ADA, crowd)
            asked += crowd
        gained = FEW.per_second * (clock.monotonic() - began)
        assert asked <= FEW.burst + FEW.debt + gained + 1e-6
