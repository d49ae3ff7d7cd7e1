import math

import pytest

from gateway.admin import wording


@pytest.mark.parametrize(
    ("write", "values", "expected"),
    [
        (wording.number, (12345,), "12,345"),
        (wording.rate, (0,), "0.0"),
        (wording.rate, (0.254,), "0.25"),
        (wording.rate, (12.44,), "12.4"),
        (wording.rate, (1234.4,), "1,234"),
        (wording.took, (None,), "-"),
        (wording.took, (0.00042,), "0.42 ms"),
        (wording.took, (0.0424,), "42.4 ms"),
        (wording.took, (0.424,), "424 ms"),
        (wording.took, (1.25,), "1.25 s"),
        (wording.share, (0, 100), "0 %"),
        (wording.share, (1, 0), "0 %"),
        (wording.share, (1, 10000), "<0.1 %"),
        (wording.share, (1, 200), "0.5 %"),
        (wording.share, (90, 100), "90 %"),
        (wording.span, (0.2,), "0 s"),
        (wording.span, (59,), "59 s"),
        (wording.span, (600,), "10 min"),
        (wording.span, (7200,), "2 h"),
        (wording.span, (3 * 86400,), "3 d"),
        (wording.clock, (1_800_000_000.25,), "08:00:00.250"),
        (wording.moment, (1_800_000_000,), "2027-01-15 08:00:00"),
        (wording.moment, (math.inf,), "never"),
        (wording.moment, (1e30,), "never"),
        (wording.size, (512,), "512 B"),
        (wording.size, (3.2 * 1024 * 1024,), "3.2 MiB"),
        (wording.size, (5 * 1024**3,), "5.0 GiB"),
    ],
)
def test_values_are_written_for_people(write, values, expected):
    """Three digits are enough; what is not known is no nought."""
    assert expected == write(*values)
