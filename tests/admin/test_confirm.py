from gateway.admin.confirm import KEPT, LIFE, Asked, Confirmations
from gateway.values import MarkKind, Secret

ASKED = Asked("melon", MarkKind.TOKEN, Secret("SECRET"))


def test_what_was_asked_is_given_once(clock):
    """A second click confirms nothing more."""
    confirmations = Confirmations(clock.now)
    name = confirmations.open(ASKED)

    assert ASKED == confirmations.take(name)
    assert confirmations.take(name) is None


def test_nobody_can_guess_its_name(clock):
    """It is random, and long; and nothing shows what it stands for."""
    confirmations = Confirmations(clock.now)
    names = {confirmations.open(ASKED) for _ in range(5)}

    assert 5 == len(names)
    assert all(len(name) >= 22 for name in names)
    assert "SECRET" not in repr(confirmations) + repr(ASKED)


def test_who_comes_back_too_late_asks_again(clock):
    """What lies about may be found by somebody else."""
    confirmations = Confirmations(clock.now)
    name = confirmations.open(ASKED)
    clock.advance(LIFE)

    assert confirmations.take(name) is None


def test_only_a_few_are_kept(clock):
    """The oldest goes: memory is bounded."""
    confirmations = Confirmations(clock.now)
    names = [confirmations.open(ASKED) for _ in range(KEPT + 1)]

    assert confirmations.take(names[0]) is None
    assert ASKED == confirmations.take(names[-1])
