import pytest

from gateway.config.addresses import Address
from gateway.config.admin import Admin, exposure
from tests.config.texts import loaded, told, warned
from tests.wire.pki import Pki


@pytest.fixture
def pki(tmp_path):
    """A certificate with its key, and an authority."""
    return Pki(tmp_path)


def section(pki: Pki, rest: str = "", listen: str = "127.0.0.1:9091") -> str:
    """Write the section, and where it is about."""
    pair = f"certificate: {pki.certificate}, key: {pki.key}"
    return f'admin: {{tls: {{{pair}{rest}}}}}\nlisten: {{admin: "{listen}"}}'


def test_without_a_word_about_it_there_is_no_tls():
    """The file of yesterday means what it meant."""
    admin = loaded("admin: {token: a-token-of-some-length}").config.admin

    assert "a-token-of-some-length" == str.__str__(admin.token or "")
    assert admin.tls is None


def test_it_is_told_in_the_words_of_the_clients_listener(pki):
    """The same class, so the same checks."""
    tls = loaded(section(pki, ", min_version: 1.3")).config.admin.tls

    assert tls is not None
    assert (pki.certificate, pki.key, "1.3", "none", None) == (
        tls.certificate,
        tls.key,
        tls.min_version,
        tls.client_certificates,
        tls.client_ca,
    )


@pytest.mark.parametrize(
    ("more", "expected"),
    [("", "optional"), (", client_certificates: required", "required")],
)
def test_whoever_signs_certificates_is_one_way_in_of_two(pki, more, expected):
    """Unless it is said to be the only one."""
    tls = loaded(section(pki, f", client_ca: {pki.ca}{more}")).config.admin.tls

    assert tls is not None
    assert (pki.ca, expected) == (tls.client_ca, tls.client_certificates)


def test_an_authority_that_nobody_is_asked_about_is_a_slip(pki):
    """As at the clients' listener."""
    [line] = told(section(pki, f", client_ca: {pki.ca}, client_certificates: none"))

    assert line.startswith("admin.tls: expected client_ca along with")


def test_a_key_that_does_not_fit_is_told(pki):
    """With its place, before an operator would find out."""
    other = pki.authority.issue_cert("localhost")
    other.private_key_pem.write_to_path(str(pki.key))
    [line] = told(section(pki))

    assert line.startswith("admin.tls: expected a certificate and the key")


def test_a_missing_file_is_told_where_it_is_named(pki):
    """As everywhere in the language."""
    pki.ca.unlink()
    [line] = told(section(pki, f", client_ca: {pki.ca}"))

    assert line.startswith("admin.tls.client_ca: expected a file that can be read")


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "[::]", "admin.internal"])
def test_an_admin_listener_that_others_can_reach_in_the_clear_is_warned_about(host):
    """With what to do about it; it is no error, since something below may encrypt."""
    [line] = warned(f'listen: {{admin: "{host}:9091"}}')

    assert "listen.admin: whoever is on the way reads the admin token" in line
    assert "`admin.tls`" in line
    assert "port-forward" in line


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_loopback_needs_no_tls(host):
    """Nobody is on the way."""
    assert [] == warned(f'listen: {{admin: "{host}:9091"}}')


def test_with_tls_nobody_need_be_warned(pki):
    """Wherever it listens."""
    assert [] == warned(section(pki, listen="0.0.0.0:9091"))
    assert "" == exposure(Address("127.0.0.1", 9091), Admin())
