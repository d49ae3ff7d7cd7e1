"""The HTTP/1.1 data plane: bytes in, bytes out. Floor 3: knows no rules.

Where a request's time goes, so that a change can be held against it: microseconds of
one core for a cached token of a kept-alive client and an answer of 1 KiB, compiled
(`hatch_build.py`; 2026-11-29, CPython 3.11.2, uvloop 0.23). Shares by counting
instructions (callgrind: 96,500 a request outside the kernel), their sum by `make
bench`; nginx took 20 for all of it on the same machine, and the same sources
interpreted 79:

     2  take the head, which repeats the one before; number it, read its target
     4  route 0.4, credentials 0.4, facts 1.5, rules 1.5
     4  write the head for the upstream, take a connection, send
     4  read the response's head, line by line
     4  write the head for the client
     6  give the connection back, record, count, write
     2  uvloop, between the kernel and us
    14  the kernel: two reads, two writes, waiting for more
     3  the access log's line, in its own thread

A head whose header lines are new costs 25 more. What one change would save under 2 %
of this stays out. What is left is spread thin: a seventh of it is looking up fields of
`values`, which are not compiled, and a twentieth is calls through promises (`ports`).
Tried without gain: an expression in llhttp's place, no garbage collector.
"""
