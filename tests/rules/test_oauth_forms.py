"""The guards of the OAuth endpoints, by provider form."""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import TypeVar
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.oauth_forms import (
    METHODS,
    AuthorizeRequest,
    RevocationRequest,
    TokenAnswer,
    TokenRequest,
    read_authorize,
    read_logout,
    read_revocation,
    read_token,
    read_token_answer,
)
from gateway.values import Guard, Header, Reason, RequestHead, RouteKind, Secret, Target

T = TypeVar("T")
Fields = Mapping[str, str]

FORM = (b"content-type", b"application/x-www-form-urlencoded")
MELON_SCOPES = frozenset({"user-private-read", "streaming", "user-like-read"})
MELON = Guard(form="melon", https_only=True, scopes=MELON_SCOPES)
NUGU = Guard(form="nugu")
OTTM = Guard(form="ottm", scopes=frozenset({"openid", "profile"}))
STANDARD = Guard()
BODY_GUARDS = [MELON, NUGU, OTTM]

ASK = {
    "response_type": "code",
    "client_id": "partner",
    "redirect_uri": "https://partner.example/callback",
    "scope": "openid profile",
    "state": "xyz",
}
DATA = '{"deviceSerialNumber":"ALDFG55"}'
CODE_GRANT = {
    "grant_type": "authorization_code",
    "code": "4BaiLw",
    "redirect_uri": "https://partner.example/callback",
}
REFRESH_GRANT = {"grant_type": "refresh_token", "refresh_token": "r-1"}
CLIENT = {"client_id": "partner", "client_secret": "hush"}


def a_head(
    method: str = "POST",
    query: bytes | None = None,
    headers: Sequence[Header] = (FORM,),
    scheme: str = "https",
) -> RequestHead:
    """Make the head of a request to an OAuth endpoint."""
    return RequestHead(
        method=method,
        target=Target(b"/oauth", query, (b"oauth",)),
        host="auth.melon.com",
        authority=b"auth.melon.com",
        headers=list(headers),
        peer="192.0.2.7",
        scheme=scheme,
    )


def authorize(
    guard: Guard, fields: Fields | bytes, scheme: str = "https", method: str = "GET"
) -> AuthorizeRequest | Reason:
    """Ask for authorization with these parameters, or this very query."""
    query = fields if isinstance(fields, bytes) else urlencode(fields).encode()
    head = a_head(method=method, query=query, headers=(), scheme=scheme)
    return read_authorize(head, guard)


def token(guard: Guard, fields: Fields, *more: Header) -> TokenRequest | Reason:
    """Ask for a token."""
    body = urlencode(fields).encode()
    return read_token(a_head(headers=(FORM, *more)), guard, body)


def revoke(guard: Guard, fields: Fields, *more: Header) -> RevocationRequest | Reason:
    """Ask for a revocation."""
    body = urlencode(fields).encode()
    return read_revocation(a_head(headers=(FORM, *more)), guard, body)


def basic(user_pass: bytes) -> Header:
    """Make an HTTP Basic login."""
    return (b"authorization", b"Basic " + base64.b64encode(user_pass))


def without(fields: Mapping[str, T], *names: str) -> dict[str, T]:
    """Leave out some parameters."""
    return {name: value for name, value in fields.items() if name not in names}


# -------------------------------------------------------------------- authorize


@pytest.mark.parametrize(
    ("guard", "fields"),
    [
        (MELON, ASK | {"scope": "streaming user-like-read"}),
        (NUGU, ASK | {"data": DATA}),
        (OTTM, ASK),
        (STANDARD, ASK),
    ],
)
def test_each_provider_s_own_authorization_request_passes(guard, fields):
    """What the documents ask for is well-formed."""
    expected = AuthorizeRequest(client_id="partner", slash_joined_scope=False)

    assert expected == authorize(guard, fields)


def test_head_passes_where_get_does():
    """GET implies HEAD."""
    assert isinstance(authorize(OTTM, ASK, method="HEAD"), AuthorizeRequest)


def test_state_is_optional_for_melon_and_ottm():
    """It is recommended there, not required."""
    fields = without(ASK, "state")

    assert isinstance(authorize(OTTM, fields), AuthorizeRequest)
    assert isinstance(
        authorize(MELON, fields | {"scope": "streaming"}), AuthorizeRequest
    )


def test_unknown_parameters_pass():
    """A guard checks a form; what else a client says is the provider's business."""
    fields = ASK | {"access_token": "t", "prompt": "login", "nothing": ""}

    assert isinstance(authorize(OTTM, fields), AuthorizeRequest)


def test_empty_pairs_pass():
    """Ottm's samples begin their query with `?&`."""
    query = b"&&" + urlencode(ASK).encode() + b"&"

    assert isinstance(authorize(OTTM, query), AuthorizeRequest)


@pytest.mark.parametrize(
    "name", ["response_type", "client_id", "redirect_uri", "scope"]
)
@pytest.mark.parametrize("guard", [MELON, NUGU, OTTM])
def test_required_authorize_parameters(guard, name):
    """Each provider's table requires these four; an empty value counts as none."""
    fields = ASK | {"data": DATA}

    assert Reason.INVALID_FORM == authorize(guard, without(fields, name))
    assert Reason.INVALID_FORM == authorize(guard, fields | {name: ""})


def test_the_standard_requires_client_and_response_type_alone():
    """RFC 6749 §4.1.1: redirect_uri and scope are optional."""
    least = {"response_type": "code", "client_id": "c"}

    assert isinstance(authorize(STANDARD, least), AuthorizeRequest)
    assert Reason.INVALID_FORM == authorize(STANDARD, without(least, "client_id"))
    assert Reason.INVALID_FORM == authorize(STANDARD, without(least, "response_type"))


def test_a_dialect_without_a_row_has_the_standard_form():
    """A newcomer's dialect needs no table of its own."""
    guard = Guard(form="acme")

    assert isinstance(authorize(guard, without(ASK, "scope")), AuthorizeRequest)


def test_authorize_without_a_query():
    """No query at all misses everything."""
    head = a_head(method="GET", headers=())

    assert Reason.INVALID_FORM == read_authorize(head, STANDARD)


@pytest.mark.parametrize("response_type", ["token", "code id_token", "Code"])
@pytest.mark.parametrize("guard", [OTTM, STANDARD])
def test_only_the_code_flow_passes(guard, response_type):
    """Exactly `code`, as all three providers say."""
    fields = ASK | {"response_type": response_type}

    assert Reason.UNSUPPORTED_RESPONSE_TYPE == authorize(guard, fields)


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "/callback",
        "//partner.example/callback",
        "https:",
        "https://partner.example/#top",
        "https://partner.example/a b",
        "https://partner.example/%zz",
        "https://partner.example/\r\nX: y",
        "https://음악.example/",
        "1https://partner.example/",
    ],
)
@pytest.mark.parametrize("guard", [OTTM, STANDARD])
def test_redirect_uri_is_absolute_and_without_fragment(guard, redirect_uri):
    """RFC 6749 §3.1.2."""
    fields = ASK | {"redirect_uri": redirect_uri}

    assert Reason.INVALID_FORM == authorize(guard, fields)


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://partner.example/cb?a=b&c=%20",
        "http://[::1]:8080/",
        "com.example.app:/oauth2redirect",
    ],
)
def test_absolute_redirect_uris_pass(redirect_uri):
    """Ports, queries, addresses and an app's own scheme are absolute URIs too."""
    fields = ASK | {"redirect_uri": redirect_uri}

    assert isinstance(authorize(OTTM, fields), AuthorizeRequest)


@pytest.mark.parametrize(
    "scope", ["openid email", "OPENID", "openid  profile", " openid", "openid\tprofile"]
)
def test_an_unlisted_or_malformed_scope_is_refused(scope):
    """Each scope is known exactly, and one space parts them (RFC 6749 §3.3)."""
    assert Reason.UNKNOWN_SCOPE == authorize(OTTM, ASK | {"scope": scope})


def test_any_well_formed_scope_passes_where_none_are_listed():
    """Without a list only the grammar is judged; a `/` is no slip there."""
    asked = authorize(STANDARD, ASK | {"scope": "anything https://api.example/a"})

    assert AuthorizeRequest(client_id="partner", slash_joined_scope=False) == asked
    assert Reason.UNKNOWN_SCOPE == authorize(STANDARD, ASK | {"scope": 'a"b'})
    assert Reason.UNKNOWN_SCOPE == authorize(STANDARD, ASK | {"scope": "a  b"})


def test_scopes_joined_by_a_slash_pass_and_are_told():
    """Melon's guide shows it by a slip; the provider is the judge."""
    scope = "user-private-read/streaming/user-like-read"

    expected = AuthorizeRequest(client_id="partner", slash_joined_scope=True)
    assert expected == authorize(MELON, ASK | {"scope": scope})
    assert Reason.UNKNOWN_SCOPE == authorize(MELON, ASK | {"scope": scope + "/root"})
    assert Reason.UNKNOWN_SCOPE == authorize(MELON, ASK | {"scope": "streaming/"})


@pytest.mark.parametrize(
    "query",
    [
        b"response_type=code&client_id=a&client_id=a",
        b"response_type=code&client_id=a&client%5Fid=b",
        b"response_type=code&client_id=a&x=&x=",
        b"response_type=code&client_id=%zz",
        b"response_type=code&client_id=a%2",
        b"response_type=code&client_id=%DE",
        b"response_type=code&client_id=a&%FF=b",
        b"response_type=code&client_id=a\xff",
    ],
)
def test_repeated_or_undecodable_parameters_are_refused(query):
    """Every parameter once, in strict percent-encoded UTF-8."""
    assert Reason.INVALID_FORM == authorize(STANDARD, query)


def test_nugu_state_is_there_but_may_be_empty():
    """The table requires it, the sample shows it empty."""
    fields = ASK | {"data": DATA}

    assert isinstance(authorize(NUGU, fields | {"state": ""}), AuthorizeRequest)
    assert Reason.INVALID_FORM == authorize(NUGU, without(fields, "state"))


@pytest.mark.parametrize(
    "data",
    [
        "",
        "ALDFG55",
        "[]",
        "{}",
        '{"deviceSerialNumber":""}',
        '{"deviceSerialNumber":7}',
        '{"deviceSerialNumber":"a","deviceSerialNumber":"b"}',
        '{"deviceSerialNumber":"a"',
        "[" * 4000,
    ],
)
def test_nugu_data_names_the_device(data):
    """JSON with the unique device key, or the device gateway guarantees nothing."""
    assert Reason.INVALID_FORM == authorize(NUGU, ASK | {"data": data})


def test_nugu_data_is_required():
    """The text says *may*, the table says required: the table is followed."""
    assert Reason.INVALID_FORM == authorize(NUGU, ASK)


def test_nugu_s_own_sample_of_data_is_refused():
    """It lacks a quote, and its `%DE` is no UTF-8."""
    data = b"%7B%22deviceSerialNumber%22%3A%DEVICE_SERIAL_NUMBER%22%7D"

    assert Reason.INVALID_FORM == authorize(
        NUGU, urlencode(ASK).encode() + b"&data=" + data
    )


def test_plain_http_is_refused_where_https_is_required():
    """melon: HTTPS only; the demo and the others take what comes."""
    fields = ASK | {"scope": "streaming"}

    assert Reason.HTTPS_REQUIRED == authorize(MELON, fields, scheme="http")
    assert isinstance(authorize(OTTM, ASK, scheme="http"), AuthorizeRequest)


# ----------------------------------------------------------------- every method


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "get"])
def test_authorize_takes_get_alone(method):
    """The documents name GET only."""
    assert Reason.METHOD_NOT_ALLOWED == authorize(OTTM, ASK, method=method)
    assert method not in METHODS[RouteKind.OAUTH_AUTHORIZE]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "post"])
def test_token_and_revocation_take_post_alone(method):
    """A token request in a URI would be in every log."""
    head = a_head(method=method)

    assert Reason.METHOD_NOT_ALLOWED == read_token(head, OTTM, b"")
    assert Reason.METHOD_NOT_ALLOWED == read_revocation(head, OTTM, b"")
    assert method not in METHODS[RouteKind.OAUTH_TOKEN]
    assert method not in METHODS[RouteKind.OAUTH_REVOKE]


# ------------------------------------------------------------------------ token


@pytest.mark.parametrize("guard", [*BODY_GUARDS, STANDARD])
def test_each_provider_s_own_token_requests_pass(guard):
    """Code and refresh, credentials in the body; ottm's refresh is undocumented."""
    assert TokenRequest(
        grant_type="authorization_code", client_id="partner", refresh_token=None
    ) == token(guard, CODE_GRANT | CLIENT)
    assert TokenRequest(
        grant_type="refresh_token", client_id="partner", refresh_token=Secret("r-1")
    ) == token(guard, REFRESH_GRANT | CLIENT)


def test_a_stray_refresh_token_beside_a_code_is_no_grant():
    """Only the grant that is asked for is told."""
    asked = token(STANDARD, CODE_GRANT | CLIENT | {"refresh_token": "r-2"})

    assert isinstance(asked, TokenRequest)
    assert asked.refresh_token is None


def test_a_token_request_never_shows_its_secrets():
    """What is learned may be logged by mistake."""
    assert "r-1" not in repr(token(OTTM, REFRESH_GRANT | CLIENT))
    assert "t-1" not in repr(revoke(OTTM, {"token": "t-1"} | CLIENT))


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        (CODE_GRANT, "grant_type"),
        (CODE_GRANT, "code"),
        (CODE_GRANT, "redirect_uri"),
        (REFRESH_GRANT, "refresh_token"),
    ],
)
@pytest.mark.parametrize("guard", BODY_GUARDS)
def test_required_token_parameters(guard, fields, missing):
    """What the tables require is there and has a value."""
    whole = fields | CLIENT

    assert Reason.INVALID_FORM == token(guard, without(whole, missing))
    assert Reason.INVALID_FORM == token(guard, whole | {missing: ""})


def test_the_standard_lets_a_code_request_go_without_redirect_uri():
    """RFC 6749 §4.1.3: only if the authorization request had one."""
    fields = without(CODE_GRANT, "redirect_uri") | CLIENT

    assert isinstance(token(STANDARD, fields), TokenRequest)


@pytest.mark.parametrize(
    "grant_type", ["password", "client_credentials", "Refresh_Token"]
)
@pytest.mark.parametrize("guard", BODY_GUARDS)
def test_other_grant_types_are_refused(guard, grant_type):
    """None of the three documents has another."""
    fields = {"grant_type": grant_type} | CLIENT

    assert Reason.UNSUPPORTED_GRANT_TYPE == token(guard, fields)


def test_the_standard_knows_client_credentials():
    """RFC 6749 §4.4; the password grant is gone (RFC 9700 §2.4)."""
    fields = {"grant_type": "client_credentials"} | CLIENT

    assert isinstance(token(STANDARD, fields), TokenRequest)
    assert Reason.UNSUPPORTED_GRANT_TYPE == token(
        STANDARD, fields | {"grant_type": "password"}
    )


@pytest.mark.parametrize("missing", ["client_id", "client_secret"])
@pytest.mark.parametrize("guard", BODY_GUARDS)
def test_missing_client_credentials_are_told_as_such(guard, missing):
    """401 `invalid_client`, not 400."""
    fields = CODE_GRANT | CLIENT

    assert Reason.CLIENT_CREDENTIALS_MISSING == token(guard, without(fields, missing))
    assert Reason.CLIENT_CREDENTIALS_MISSING == token(guard, fields | {missing: ""})


@pytest.mark.parametrize("guard", [MELON, STANDARD])
def test_client_credentials_may_come_as_http_basic(guard):
    """The name was form-encoded first (RFC 6749 §2.3.1); the secret is not read."""
    asked = token(guard, CODE_GRANT, basic(b"part%2Fner+1:50%off"))

    assert isinstance(asked, TokenRequest)
    assert "part/ner 1" == asked.client_id


def test_the_client_may_be_named_beside_http_basic():
    """Naming is no authentication; another name is a contradiction."""
    named = CODE_GRANT | {"client_id": "partner"}

    assert isinstance(token(MELON, named, basic(b"partner:hush")), TokenRequest)
    assert Reason.INVALID_FORM == token(MELON, named, basic(b"other:hush"))


@pytest.mark.parametrize("guard", [NUGU, OTTM])
def test_http_basic_is_no_credentials_where_the_body_must_have_them(guard):
    """Client authentication in the body only."""
    asked = token(guard, CODE_GRANT, basic(b"partner:hush"))

    assert Reason.CLIENT_CREDENTIALS_MISSING == asked


@pytest.mark.parametrize("guard", [*BODY_GUARDS, STANDARD])
def test_two_ways_of_client_authentication_are_refused(guard):
    """RFC 6749 §2.3, also when they agree."""
    asked = token(guard, CODE_GRANT | CLIENT, basic(b"partner:hush"))

    assert Reason.INVALID_FORM == asked


def test_two_authorization_headers_are_refused():
    """Which one counts would be anybody's guess."""
    asked = token(
        MELON, CODE_GRANT, basic(b"partner:hush"), (b"authorization", b"Bearer t")
    )

    assert Reason.INVALID_FORM == asked


def test_another_scheme_is_no_client_authentication():
    """It passes, and counts for nothing."""
    bearer = (b"authorization", b"Bearer t")

    assert isinstance(token(MELON, CODE_GRANT | CLIENT, bearer), TokenRequest)
    assert Reason.CLIENT_CREDENTIALS_MISSING == token(MELON, CODE_GRANT, bearer)


@pytest.mark.parametrize(
    "value",
    [
        b"Basic",
        b"Basic !!!",
        b"basic cGFydG5lcjpodXNo cGFydG5lcjpodXNo",
        b"BASIC " + base64.b64encode(b"partner"),
        b"Basic " + base64.b64encode(b":hush"),
        b"Basic " + base64.b64encode(b"\xff:hush"),
        b"Basic " + base64.b64encode(b"%zz:hush"),
    ],
)
@pytest.mark.parametrize("guard", [MELON, STANDARD])
def test_unreadable_http_basic_is_no_credentials(guard, value):
    """RFC 6749 §5.2: a client that tried the header hears 401."""
    headers = (b"authorization", value)

    assert Reason.CLIENT_CREDENTIALS_MISSING == token(guard, CODE_GRANT, headers)
    assert Reason.CLIENT_CREDENTIALS_MISSING == revoke(guard, {"token": "t"}, headers)


def test_a_basic_login_without_a_secret_names_a_client_only():
    """Enough for the standard's public clients, not for melon."""
    login = basic(b"partner:")

    assert isinstance(token(STANDARD, CODE_GRANT, login), TokenRequest)
    assert Reason.CLIENT_CREDENTIALS_MISSING == token(MELON, CODE_GRANT, login)


def test_the_standard_wants_a_client_named_or_asserted():
    """RFC 6749 §3.2.1 (public clients), RFC 7521 §4.2 (assertions)."""
    named = token(STANDARD, CODE_GRANT | {"client_id": "app"})
    asserted = token(STANDARD, CODE_GRANT | {"client_assertion": "eyJ"})

    assert isinstance(named, TokenRequest)
    assert "app" == named.client_id
    assert isinstance(asserted, TokenRequest)
    assert asserted.client_id is None
    assert Reason.CLIENT_CREDENTIALS_MISSING == token(STANDARD, CODE_GRANT)


def test_an_assertion_and_a_secret_are_two_ways():
    """RFC 6749 §2.3 again."""
    fields = CODE_GRANT | CLIENT | {"client_assertion": "eyJ"}

    assert Reason.INVALID_FORM == token(STANDARD, fields)


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/x-www-form-urlencoded",
        b"Application/X-WWW-Form-Urlencoded",
        b"application/x-www-form-urlencoded;charset=UTF-8",
        b'application/x-www-form-urlencoded ; Charset="utf-8"',
    ],
)
def test_form_content_types_pass(content_type):
    """The one type, with or without saying UTF-8."""
    head = a_head(headers=[(b"content-type", content_type)])
    body = urlencode(CODE_GRANT | CLIENT).encode()

    assert isinstance(read_token(head, MELON, body), TokenRequest)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"")],
        [(b"content-type", b"application/json")],
        [(b"content-type", b"application/x-www-form-urlencoded;charset=euc-kr")],
        [(b"content-type", b"application/x-www-form-urlencoded; boundary=x")],
        [(b"content-type", b"xapplication/x-www-form-urlencoded")],
        [(b"content-type", b"application/x-www-form-urlencoded, text/plain")],
        [FORM, FORM],
        [FORM, (b"content-encoding", b"gzip")],
    ],
)
def test_other_content_types_and_codings_are_refused(headers):
    """What two readers could decode differently is no form."""
    body = urlencode(CODE_GRANT | CLIENT | {"token": "t"}).encode()

    assert Reason.INVALID_FORM == read_token(a_head(headers=headers), MELON, body)
    assert Reason.INVALID_FORM == read_revocation(a_head(headers=headers), MELON, body)


@pytest.mark.parametrize(
    "query", [b"client_secret=hush", b"x", b"&&a=b", b"%zz", b"grant_type=password"]
)
def test_parameters_in_the_uri_of_a_token_request_are_refused(query):
    """RFC 6749 §2.3.1: credentials must not be in the URI."""
    body = urlencode(CODE_GRANT | CLIENT | {"token": "t"}).encode()

    assert Reason.INVALID_FORM == read_token(a_head(query=query), MELON, body)
    assert Reason.INVALID_FORM == read_revocation(a_head(query=query), MELON, body)


@pytest.mark.parametrize("query", [None, b"", b"&"])
def test_a_query_without_parameters_passes(query):
    """A bare `?` says nothing."""
    body = urlencode(CODE_GRANT | CLIENT).encode()

    assert isinstance(read_token(a_head(query=query), MELON, body), TokenRequest)


@pytest.mark.parametrize(
    "body", [b"a=%", b"a=\xff", b"grant_type=a&grant_type=b", b"=1&=2"]
)
def test_an_unreadable_body_is_refused(body):
    """UTF-8, strict escapes, every parameter once."""
    assert Reason.INVALID_FORM == read_token(a_head(), MELON, body)


def test_a_token_request_over_plain_http_is_refused_where_https_is_required():
    """The secret is out already; the habit need not stay."""
    head = a_head(scheme="http")

    assert Reason.HTTPS_REQUIRED == read_token(head, MELON, b"")
    assert Reason.HTTPS_REQUIRED == read_revocation(head, MELON, b"")


# ------------------------------------------------------------------- revocation


@pytest.mark.parametrize("guard", [*BODY_GUARDS, STANDARD])
def test_a_revocation_with_credentials_is_authenticated(guard):
    """RFC 7009 §2.1: token, hint, and the client's own credentials."""
    fields = {"token": "t-1", "token_type_hint": "refresh_token"} | CLIENT

    assert RevocationRequest(
        token=Secret("t-1"),
        hint="refresh_token",
        client_id="partner",
        authenticated=True,
    ) == revoke(guard, fields)


@pytest.mark.parametrize("guard", [*BODY_GUARDS, STANDARD])
def test_a_revocation_without_a_secret_is_not(guard):
    """A public client may ask (RFC 7009 §5); it makes no mark."""
    asked = revoke(guard, {"token": "t-1", "client_id": "partner"})

    assert (
        RevocationRequest(
            token=Secret("t-1"), hint=None, client_id="partner", authenticated=False
        )
        == asked
    )


def test_a_revocation_by_http_basic():
    """It counts where the provider reads it, and only there."""
    login = basic(b"partner:hush")
    heard = revoke(MELON, {"token": "t-1"}, login)
    unheard = revoke(OTTM, {"token": "t-1"}, login)

    assert isinstance(heard, RevocationRequest)
    assert (True, "partner") == (heard.authenticated, heard.client_id)
    assert isinstance(unheard, RevocationRequest)
    assert (False, None) == (unheard.authenticated, unheard.client_id)


def test_an_assertion_authenticates_only_where_it_is_read():
    """The three providers know secrets alone."""
    fields = {"token": "t-1", "client_id": "partner", "client_assertion": "eyJ"}
    heard, unheard = revoke(STANDARD, fields), revoke(MELON, fields)

    assert isinstance(heard, RevocationRequest)
    assert heard.authenticated
    assert isinstance(unheard, RevocationRequest)
    assert not unheard.authenticated


@pytest.mark.parametrize("fields", [CLIENT, CLIENT | {"token": ""}])
def test_a_revocation_names_a_token(fields):
    """The one required parameter."""
    assert Reason.INVALID_FORM == revoke(STANDARD, fields)


def logout(fields: Fields, *more: Header, method: str = "POST") -> Secret | Reason:
    """Tell of a logout."""
    head = a_head(method=method, headers=(FORM, *more))
    return read_logout(head, STANDARD, urlencode(fields).encode())


def test_a_logout_is_a_form_with_its_token():
    """Back-Channel Logout §2.5: other parameters mean nothing."""
    assert Secret("T") == logout({"logout_token": "T", "state": "x"})


def test_a_logout_without_a_token_or_by_another_method_is_refused():
    """As strictly as every other form."""
    assert Reason.INVALID_FORM == logout({})
    assert Reason.INVALID_FORM == logout({"logout_token": ""})
    assert Reason.METHOD_NOT_ALLOWED == logout({"logout_token": "T"}, method="GET")
    assert Reason.INVALID_FORM == logout(
        {"logout_token": "T"}, (b"content-encoding", b"gzip")
    )


# ------------------------------------------------------------ the token's answer

ANSWER = {
    "access_token": "xxx",
    "refresh_token": "yyy",
    "scope": "openid profile",
    "id_token": "eyJ",
    "token_type": "Bearer",
    "expires_in": 3599,
}


def test_a_token_answer_teaches_token_scope_and_lifetime():
    """Ottm's sample; unknown members are ignored."""
    assert TokenAnswer(
        access_token=Secret("xxx"),
        scopes=frozenset({"openid", "profile"}),
        expires_in=3599.0,
        refresh_token=Secret("yyy"),
    ) == read_token_answer(ANSWER)
    assert "xxx" not in repr(read_token_answer(ANSWER))


@pytest.mark.parametrize(
    ("scope", "expected"),
    [(None, None), ("", frozenset()), ("a  b ", frozenset({"a", "b"}))],
)
def test_a_told_scope_is_known_and_an_untold_one_is_not(scope, expected):
    """Unknown is not the same as empty."""
    learned = read_token_answer(ANSWER | {"scope": scope})

    assert learned is not None
    assert expected == learned.scopes


def test_an_absent_scope_is_unknown():
    """It teaches nothing."""
    learned = read_token_answer(without(ANSWER, "scope"))

    assert learned is not None
    assert learned.scopes is None


@pytest.mark.parametrize("expires_in", [0.5, 1, 2147483646])
def test_lifetimes_that_are_believed(expires_in):
    """Nugu's 68 years too: how long we trust is the cache's business."""
    learned = read_token_answer(
        ANSWER | {"expires_in": expires_in, "token_type": "bearer"}
    )

    assert learned is not None
    assert float(expires_in) == learned.expires_in


@pytest.mark.parametrize(
    "wrong",
    [
        {"access_token": ""},
        {"access_token": 7},
        {"access_token": None},
        {"token_type": "mac"},
        {"token_type": None},
        {"token_type": ["bearer"]},
        {"scope": ["openid"]},
        {"scope": 7},
        {"expires_in": 0},
        {"expires_in": -1},
        {"expires_in": "3599"},
        {"expires_in": True},
        {"expires_in": None},
        {"expires_in": math.nan},
        {"expires_in": math.inf},
        {"expires_in": 10**400},
    ],
)
def test_a_token_answer_in_doubt_teaches_nothing(wrong):
    """Types are checked, never coerced."""
    assert read_token_answer(ANSWER | wrong) is None


@pytest.mark.parametrize("missing", ["access_token", "token_type", "expires_in"])
def test_a_token_answer_that_lacks_something_teaches_nothing(missing):
    """Without a lifetime a record could not end."""
    assert read_token_answer(without(ANSWER, missing)) is None


# ------------------------------------------------------------------- properties

NAMES = st.sampled_from(
    [*ASK, *CODE_GRANT, *CLIENT, "data", "token", "client_assertion", "x"]
)
FIELDS = st.dictionaries(NAMES, st.text(max_size=12), max_size=6)
BYTES = st.binary(max_size=200) | FIELDS.map(lambda fields: urlencode(fields).encode())
GUARDS = st.builds(
    Guard,
    form=st.sampled_from(["melon", "nugu", "ottm", "rfc6750", "acme"]),
    https_only=st.booleans(),
    scopes=st.sampled_from([frozenset(), MELON_SCOPES]),
)
HEADS = st.builds(
    a_head,
    method=st.sampled_from(["GET", "POST"]),
    query=st.none() | BYTES,
    headers=st.lists(
        st.just(FORM)
        | st.tuples(st.sampled_from([b"authorization", b"content-type"]), BYTES)
        | st.binary(max_size=40).map(basic),
        max_size=3,
    ),
    scheme=st.sampled_from(["http", "https"]),
)


@given(HEADS, GUARDS, BYTES)
def test_guards_never_fail_on_arbitrary_bytes(head, guard, body):
    """Whatever comes is a value or a reason."""
    assert isinstance(read_authorize(head, guard), AuthorizeRequest | Reason)
    assert isinstance(read_token(head, guard, body), TokenRequest | Reason)
    assert isinstance(read_revocation(head, guard, body), RevocationRequest | Reason)


@given(FIELDS)
def test_what_urlencode_writes_is_read_back(fields):
    """`+` is a space, escapes are UTF-8: the strict reader reads all that is right."""
    whole = fields | {"token": "t +&=%é", "client_id": "c +&=%é"}
    asked = revoke(STANDARD, without(whole, "client_secret", "client_assertion"))

    assert (
        RevocationRequest(
            token=Secret("t +&=%é"), hint=None, client_id="c +&=%é", authenticated=False
        )
        == asked
    )


JSON_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(["", "bearer", "a b", "7"]),
    st.just([]),
)


@given(st.dictionaries(st.sampled_from(sorted(ANSWER)), JSON_VALUES))
def test_any_token_answer_is_read_or_left(answer):
    """What is learned lives for a finite, positive time."""
    learned = read_token_answer(ANSWER | answer)

    assert learned is None or 0 < learned.expires_in < math.inf
