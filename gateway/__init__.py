"""A token-introspection gateway. This page is the map.

Floors (imports go down only; `make check` proves it):

    0  values, errors                what is said
    1  ports, tasks                  what is promised
    2  rules, dialects, config       what is right: pure, no network, clock or log
    3  stores, verifiers, facts,     what is known, and who says so
       breaker, provider_http,       (asking providers, and when not to)
       gatekeeper
       wire                          bytes: the HTTP/1.1 data plane
    4  fronts, observe, admin        doors and windows
    5  generation, app, reloads      the one place that wires; what changes live
       server, workers, cli          processes
    -  sandbox                       a development world; only cli opens it

The way of a request, in seven steps:

    1. A front makes a `RequestHead` (method, canonical target, headers, peer).
    2. `rules.routing` finds the `Route`: host, then path, then method.
    3. `rules.credentials` finds the token; two in one request is a `Denial`.
    4. `gatekeeper.decide(head)` answers from memory at once, or hands back a
       `Pending` that is awaited once: the shared store, then the provider.
    5. `rules.policy.judge` applies the route's rules to the facts, hit or miss.
    6. A `Permit` is relayed upstream; a `Denial` is worded by a dialect.
    7. One `Exchange` record goes to every observer: metrics, log, admin.
"""
