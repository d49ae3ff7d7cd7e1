"""The values everything else talks about. Floor 0: imports nothing of ours.

All are immutable. Where a request reads them again and again they are dataclasses, which
are compiled with the code that reads them (`hatch_build.py`): a field then costs three
instructions, not a hundred. Those made on every request write out their `__init__`, a
tenth of the price of a generated one that freezes. What is written elsewhere, as JSON
or sealed, or kept by the thousand, is a `msgspec.Struct` that no garbage collector
looks at; none can be part of a cycle. Times are seconds: wall-clock instants are Unix
seconds (`…_at`), lengths are plain floats.
"""

from gateway.values.decisions import *
from gateway.values.facts import *
from gateway.values.marks import *
from gateway.values.records import *
from gateway.values.requests import *
from gateway.values.routes import *
from gateway.values.upstreams import *
from gateway.values.words import *
