"""Refusals as documents and standards write them, in the form of `Answer.worded`."""

Worded = tuple[int, dict[str, str | None], bytes]


def refusal(
    status: int,
    error: str,
    description: str,
    challenge: str | None = None,
    *,
    kind: str = "application/json",
) -> Worded:
    """Write a refusal with an RFC 6749 §5.2 body."""
    body = f'{{"error":"{error}","error_description":"{description}"}}'
    return status, headers(challenge, kind=kind), body.encode()


def envelope(
    code: str, message: str, challenge: str | None = None, *, status: int = 400
) -> Worded:
    """Write a refusal in ottm's envelope, to the byte."""
    body = f'{{"error": {{"code": "{code}", "message": "{message}"}}, "payload": null}}'
    return status, headers(challenge), body.encode()


def headers(
    challenge: str | None, *, kind: str = "application/json"
) -> dict[str, str | None]:
    """Write the headers that go with either."""
    fixed: dict[str, str | None] = {
        "content-type": kind,
        "cache-control": "no-store",
        "pragma": "no-cache",
    }
    return fixed if challenge is None else {**fixed, "www-authenticate": challenge}
