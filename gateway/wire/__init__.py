"""The HTTP/1.1 data plane: bytes in, bytes out. Floor 3: knows no rules.

Where a request's time goes, so that a change can be held against it: microseconds of
one core for a cached token of a kept-alive client and an answer of 1 KiB (2026-11-22,
CPython 3.11.2, uvloop 0.23; nginx took 20 for all of it on the same machine):

     2  find the head; its header lines are those of the request before
     4  number it, read its target, note who sends it
     7  route 0.5, credentials 0.6, facts 3.6, rules 2.5
     7  write the head for the upstream, take a connection, send
    10  read the response's head: llhttp, lines, framing
     7  write the head for the client
     9  give the connection back, record, metrics, write
    40  uvloop and the kernel: two reads, two writes
     8  the access log's line, in its own thread

A head whose header lines are new costs 15 more. What one change would save under 2 %
of this stays out. Tried without gain: compiling these modules (Cython; the interpreter's
own specialisation is as fast), an expression in llhttp's place, no garbage collector.
"""
