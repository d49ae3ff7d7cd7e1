"""OPTIONS that end here. Floor 2: pure.

`Max-Forwards: 0` makes whoever receives the request its last recipient, who answers
in the origin's place (RFC 9110 §7.6.2). TRACE, the other method it counts for, is
never relayed at all.
"""

from gateway.values import Answer, RequestHead, Route

_ALL = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


def answer_as_last(head: RequestHead, route: Route) -> Answer | None:
    """Answer for the route; None where the request may go on."""
    if head.method != "OPTIONS" or head.values(b"max-forwards") != [b"0"]:
        return None
    methods = ", ".join(sorted(route.methods or _ALL))
    return Answer(204, ((b"allow", methods.encode()),), b"")
