"""The HTTP/1.1 data plane: bytes in, bytes out. Floor 3: knows no rules.

Where a request's time goes, so that a change can be held against it: microseconds of
one core for a cached token of a kept-alive client and an answer of 1 KiB, compiled
(`hatch_build.py`; 2026-11-29, CPython 3.11.2, uvloop 0.23). Shares by counting
instructions (callgrind: 65,000 a request outside the kernel), their sum by `make
bench`; nginx took 15.5 for all of it on the same quiet machine, and the same sources
interpreted 40:

     0.9  take the head, which repeats the one before; number it, read its target
     1.2  route 0.2, credentials 0.1, facts 0.4, rules 0.5
     1.0  write the head for the upstream, take a connection, send
     1.6  read the response's head, line by line
     1.5  write the head for the client, and send
     2.0  give the connection back, record, count
     0.7  uvloop, between the kernel and us
    12.8  the kernel: two reads, two writes, waiting for more
     1.3  the access log's line, in its own thread

A head whose header lines are new costs 20 more. What one change would save under 2 %
of this stays out. What is left is spread thin: 22 look-ups in dictionaries are a tenth
of it, fifteen calls through promises (`ports`) a twentieth, telling the time eleven
times another. Tried without gain: an expression in llhttp's place, no garbage collector.
"""
