from gateway.fronts.reception import Reception
from tests.fakes import Clock


async def test_a_reception_numbers_and_dates():
    """No number twice, in no process; a date is written once a second."""
    clock = Clock()
    one, other = Reception(clock, []), Reception(clock, [])
    numbers = [reception.request_id() for reception in (one, other) for _ in range(3)]
    date = one.date()

    assert 6 == len(set(numbers))
    assert b"Fri, 15 Jan 2027 08:00:00 GMT" == date
    assert date is one.date()
    clock.advance(1)
    assert b"Fri, 15 Jan 2027 08:00:01 GMT" == one.date()
    assert "<Reception: 0 in flight>" == repr(one)
