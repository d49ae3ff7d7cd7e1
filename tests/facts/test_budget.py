import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.facts.budget import UnknownSettings, UnknownTokens, payer
from tests.fakes import Clock

ADA = "192.0.2.1"
BEN = "192.0.2.2"
FEW = UnknownSettings(burst=3, per_second=0.5)


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


def test_debts_do_not_grow(budget, clock):
    """What was under way may overshoot; who stops is heard again all the same."""
    charge(budget, ADA, 100)

    assert 2 == budget.wait(ADA)
    clock.advance(6)
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

    assert [2, 0, 2] == [budget.wait(each) for each in (ADA, BEN, "192.0.2.3")]
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
