"""What every dialect in the folder keeps, whoever adds one.

The golden files hold each dialect's every answer, readable. After a wanted change:
`GOLDEN=write pytest tests/contracts/test_dialect_promise.py`, and read the diff.
"""

import importlib
import json
import os
import pkgutil
import re
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import dialects
from gateway.ports import Dialect
from gateway.values import INVALID_TOKEN, Answer, Denial, Reason

GOLDEN = Path(__file__).parent.parent / "dialects" / "golden"
NAMES = [module.name for module in pkgutil.iter_modules(dialects.__path__)]
DIALECTS = {
    name: cast("Dialect", importlib.import_module(f"gateway.dialects.{name}"))
    for name in NAMES
}
GUARDED_FORMS = {
    Reason.HTTPS_REQUIRED,
    Reason.INVALID_FORM,
    Reason.UNKNOWN_SCOPE,
    Reason.UNSUPPORTED_GRANT_TYPE,
    Reason.UNSUPPORTED_RESPONSE_TYPE,
}

# RFC 9110 §11.6.1 and RFC 6750 §3: a scheme, then auth-params, the realm first.
QUOTED = r'"(?:[ !#-\[\]-~]|\\["\\])*"'
CHALLENGE = re.compile(
    rf"(?P<scheme>Bearer|Basic|Form) realm={QUOTED}"
    r'(?:, error="(?P<error>[ !#-\[\]-~]+)"'
    r', error_description="(?P<description>[ !#-\[\]-~]+)")?'
    r'(?:, scope="[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")?'
    r'(?:, acr_values="[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")?'
    r'(?:, max_age="[0-9]+")?'
    r'(?:, resource_metadata="[!#-\[\]-~]+")?'
)

every_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=NAMES)
every_reason = pytest.mark.parametrize("reason", Reason)


def said(dialect: Dialect, reason: Reason) -> Answer:
    """Have a reason worded, with all that a denial can bring along."""
    return dialect.answer(
        Denial(
            reason=reason,
            scope="read write",
            acr_values="phr phrh",
            max_age=300,
            allow=("GET", "HEAD"),
        )
    )


def header(answer: Answer, name: bytes) -> str | None:
    """Give the one header of this name."""
    values = [value.decode() for key, value in answer.headers if key == name]
    assert len(values) <= 1
    return values[0] if values else None


def readable(answer: Answer) -> str:
    """Write an answer as it would look on the wire."""
    lines = [f"HTTP/1.1 {answer.status}"]
    lines += [f"{key.decode()}: {value.decode()}" for key, value in answer.headers]
    return "\n".join([*lines, "", answer.body.decode()])


def test_the_four_dialects_are_found():
    """The folder is the registry."""
    assert {"rfc6750", "melon", "nugu", "ottm"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_is_the_golden_one(name):
    """Every reason, status, header and body, to the byte."""
    actual = "\n".join(
        f"=== {reason.value}\n{readable(said(DIALECTS[name], reason))}\n"
        for reason in Reason
    )
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        file.write_bytes(actual.encode())

    assert file.read_bytes().decode() == actual


@every_dialect
@every_reason
def test_every_reason_is_refused_and_never_stored(dialect, reason):
    """Total over `Reason`: an error, with a JSON body, that no cache keeps."""
    answer = said(dialect, reason)

    assert 400 <= answer.status <= 599
    assert (header(answer, b"Content-Type") or "").startswith("application/json")
    assert isinstance(json.loads(answer.body), dict)
    assert "no-store" == header(answer, b"Cache-Control")


@every_dialect
@every_reason
def test_every_challenge_is_well_formed(dialect, reason):
    """RFC 9110 §11.6.1: a 401 has one; RFC 6750 §3: realm, then error, then scope."""
    answer = said(dialect, reason)
    challenge = header(answer, b"WWW-Authenticate")

    assert challenge is not None or answer.status != 401
    assert challenge is None or CHALLENGE.fullmatch(challenge)


@every_dialect
def test_the_challenge_stays_bare_when_no_token_was_sent(dialect):
    """RFC 6750 §3.1: no error code then, nor anything else."""
    challenge = header(said(dialect, Reason.NO_CREDENTIALS), b"WWW-Authenticate")

    assert re.fullmatch(r'Bearer realm="[^"]+"', challenge or "")


@every_dialect
@pytest.mark.parametrize("reason", sorted(INVALID_TOKEN))
def test_every_dead_token_is_told_as_one(dialect, reason):
    """Standard clients look for `invalid_token`, whatever the status is."""
    challenge = header(said(dialect, reason), b"WWW-Authenticate")

    assert 'error="invalid_token"' in (challenge or "")


@every_dialect
@every_reason
def test_only_a_token_s_own_fault_is_invalid_token(dialect, reason):
    """An outage, above all, is never a 401: clients throw good tokens away."""
    answer = said(dialect, reason)
    if reason not in INVALID_TOKEN:
        assert "invalid_token" not in (header(answer, b"WWW-Authenticate") or "")
        assert b"invalid_token" not in answer.body
    if reason in {Reason.PROVIDER_UNAVAILABLE, Reason.UPSTREAM_BUSY}:
        assert 503 == answer.status
        assert header(answer, b"WWW-Authenticate") is None


@every_dialect
def test_a_missing_scope_is_named(dialect):
    """RFC 6750 §3.1: MAY, and it is how a client learns what to ask for."""
    challenge = header(said(dialect, Reason.INSUFFICIENT_SCOPE), b"WWW-Authenticate")

    assert (challenge or "").endswith(', scope="read write"')


@every_dialect
def test_a_stronger_login_is_described(dialect):
    """RFC 9470 §3: by this a client knows what to ask the user for."""
    challenge = header(said(dialect, Reason.STRONGER_LOGIN_NEEDED), b"WWW-Authenticate")

    assert 'error="insufficient_user_authentication"' in (challenge or "")
    assert (challenge or "").endswith(', acr_values="phr phrh", max_age="300"')


@every_dialect
def test_only_what_is_wanted_of_a_login_is_told(dialect):
    """RFC 9470 §3: both are optional."""
    for told, named in (
        ({"acr_values": "phr"}, ', acr_values="phr"'),
        ({"max_age": 0}, ', max_age="0"'),
    ):
        denial = Denial(reason=Reason.STRONGER_LOGIN_NEEDED, **told)
        challenge = header(dialect.answer(denial), b"WWW-Authenticate") or ""

        assert challenge.endswith(f'is needed"{named}')


@every_dialect
@every_reason
def test_a_resource_that_describes_itself_says_where(dialect, reason):
    """RFC 9728 §5.1: in each Bearer challenge, the bare one too."""
    url = "https://api.example/.well-known/oauth-protected-resource"
    answer = dialect.answer(Denial(reason=reason, metadata=url))
    challenge = header(answer, b"WWW-Authenticate") or ""

    assert challenge.startswith("Bearer ") == challenge.endswith(
        f', resource_metadata="{url}"'
    )
    assert not challenge or CHALLENGE.fullmatch(challenge)


@every_dialect
@every_reason
def test_allow_and_retry_after_are_where_they_belong(dialect, reason):
    """RFC 9110 §15.5.6: a 405 has `Allow`; 429 and 503 say when to come again."""
    answer = said(dialect, reason)
    allow, retry = header(answer, b"Allow"), header(answer, b"Retry-After")

    assert ("GET, HEAD" if answer.status == 405 else None) == allow
    assert (answer.status in {429, 503}) == (retry is not None)
    assert retry is None or 1 <= int(retry) <= 5


@every_dialect
@pytest.mark.parametrize("reason", [Reason.RATE_LIMITED, Reason.PROVIDER_UNAVAILABLE])
def test_a_told_waiting_time_is_passed_on(dialect, reason):
    """Whoever refuses knows best when."""
    answer = dialect.answer(Denial(reason=reason, retry_after=37))

    assert "37" == header(answer, b"Retry-After")


@every_dialect
@pytest.mark.parametrize("reason", sorted(GUARDED_FORMS))
def test_a_bad_form_is_a_400_without_a_challenge(dialect, reason):
    """RFC 6749 §5.2: no other credentials would make the form right."""
    answer = said(dialect, reason)

    assert 400 == answer.status
    assert header(answer, b"WWW-Authenticate") is None


@every_dialect
def test_the_realm_is_the_denial_s_own(dialect):
    """Configuration names the realm; the dialect's is a default."""
    named = dialect.answer(Denial(reason=Reason.EXPIRED, realm='the "inner" \\ ring'))

    assert (header(named, b"WWW-Authenticate") or "").startswith(
        r'Bearer realm="the \"inner\" \\ ring", '
    )


@every_dialect
@given(
    reason=st.sampled_from(list(Reason)),
    realm=st.text(max_size=20),
    words=st.text(max_size=20),
    allow=st.lists(st.text(max_size=8), max_size=3).map(tuple),
)
def test_no_configuration_can_break_a_header(dialect, reason, realm, words, allow):
    """Realm, scope and methods are made safe, whatever they hold."""
    answer = dialect.answer(
        Denial(
            reason=reason,
            realm=realm,
            scope=words,
            acr_values=words,
            metadata=words.replace(" ", ""),
            allow=allow,
        )
    )
    challenge = header(answer, b"WWW-Authenticate")

    assert challenge is None or CHALLENGE.fullmatch(challenge)
    assert all(re.fullmatch(rb"[ -~]*", value) for _, value in answer.headers)
