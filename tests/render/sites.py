"""Configurations as engines see them."""

from gateway.config.addresses import Address
from gateway.render._site import Site, survey
from tests.config.texts import loaded

TEXT = """
listen: {authz: "127.0.0.1:9092", authz_grpc: "127.0.0.1:9093", %(listen)s}
providers:
  p:
    verify: [jwt]
    jwt: {algorithms: [HS256], key: a-key-of-more-than-thirty-two-characters, device_claim: dvc}
upstreams:
  api: {%(upstream)s}
  other: {targets: ["http://127.0.0.1:8001"]}
routes:
  - {id: a, match: {host: a.example, path: "/a/**", methods: [GET]}, provider: p, upstream: api, %(route)s}
  - {id: token, match: {host: a.example, path: /token, methods: [POST]}, kind: oauth-token, provider: p, upstream: other}
  %(more)s
%(rest)s
"""


def site(
    *,
    listen: str = "",
    upstream: str = 'targets: ["http://127.0.0.1:8000"]',
    route: str = "",
    more: str = "",
    rest: str = "",
    gateway: str | None = None,
) -> Site:
    """Survey a small configuration, changed here and there."""
    told = {"listen": listen, "upstream": upstream, "route": route}
    config = loaded(TEXT % {**told, "more": more, "rest": rest}).config
    return survey(config, listen=Address("0.0.0.0", 8000), gateway=gateway)
