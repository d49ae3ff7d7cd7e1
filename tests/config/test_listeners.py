from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.config.addresses import Address, UnixAddress
from gateway.config.listeners import Listen
from tests.config.texts import loaded, told


class Files:
    """The files of a server and of an authority for clients."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
        self.key_pem = issued.private_key_pem.bytes()
        self.crt, self.key = folder / "tls.crt", folder / "tls.key"
        self.ca, self.other = folder / "ca.crt", folder / "other.key"
        self.crt.write_bytes(chain)
        self.key.write_bytes(self.key_pem)
        self.ca.write_bytes(authority.cert_pem.bytes())
        self.other.write_bytes(
            authority.issue_cert("localhost").private_key_pem.bytes()
        )

    def lock(self) -> None:
        """Put a password on the key."""
        key = load_pem_private_key(self.key_pem, None)
        locked = BestAvailableEncryption(b"a password")
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)
        self.key.write_bytes(pem)

    def section(self, rest: str = "", key: str = "key") -> str:
        """Write a `listen` section."""
        pair = f"certificate: {self.crt}, key: {getattr(self, key)}"
        return f"listen: {{tls: {{{pair}{rest}}}}}"


@pytest.fixture
def files(tmp_path):
    """Files that belong together, and a key that does not."""
    return Files(tmp_path)


def test_without_a_word_about_it_there_is_no_tls():
    """The file of yesterday means what it meant."""
    listen = loaded('listen: {proxy: "127.0.0.1:8443"}').config.listen

    assert ("127.0.0.1", 8443) == listen.proxy
    assert listen.tls is None
    assert listen.authz is None
    assert () == listen.proxy_protocol
    assert Listen().proxy == Address("0.0.0.0", 8080)


def test_a_certificate_and_its_key_are_enough(files):
    """The rest has defaults: TLS 1.2 or later, no certificates of clients."""
    tls = loaded(files.section()).config.listen.tls

    assert tls is not None
    assert (files.crt, files.key) == (tls.certificate, tls.key)
    assert ("1.2", "none", None) == (
        tls.min_version,
        tls.client_certificates,
        tls.client_ca,
    )


def test_files_are_found_beside_the_configuration(files, tmp_path):
    """As everywhere in the language."""
    path = tmp_path / "gateway.yaml"
    path.write_text(
        "version: 1\nsecret: 0123456789abcdef0123456789abcdef\n"
        "listen: {tls: {certificate: tls.crt, key: tls.key}}\n"
    )
    tls = loaded(path).config.listen.tls

    assert tls is not None
    assert files.crt == tls.certificate


@pytest.mark.parametrize("version", ["1.3", "'1.3'", "'${env:LEAST}'"])
def test_a_version_is_a_number_or_text(files, version):
    """YAML reads the one, the environment gives the other."""
    text = files.section(f", min_version: {version}")
    tls = loaded(text, {"LEAST": "1.3"}).config.listen.tls

    assert tls is not None
    assert "1.3" == tls.min_version


@pytest.mark.parametrize("version", ["1.1", "'1.0'", "tls1.2", "true", "[]"])
def test_no_older_version_can_be_asked_for(files, version):
    """RFC 8996."""
    [line] = told(files.section(f", min_version: {version}"))

    assert line.startswith("listen.tls.min_version: expected 1.2 or 1.3, found ")


@pytest.mark.parametrize("wanted", ["optional", "required"])
def test_clients_certificates_need_an_authority(files, wanted):
    """And the authority is for nothing if none is asked for."""
    both = f", client_certificates: {wanted}, client_ca: {files.ca}"
    tls = loaded(files.section(both)).config.listen.tls
    [without] = told(files.section(f", client_certificates: {wanted}"))
    [unused] = told(files.section(f", client_ca: {files.ca}"))

    assert tls is not None
    assert (wanted, files.ca) == (tls.client_certificates, tls.client_ca)
    expected = "listen.tls: expected client_ca along with client_certificates"
    assert without.startswith(expected)
    assert unused.startswith(expected)


def test_an_authority_is_a_certificate(files):
    """A key was put there, say."""
    rest = f", client_certificates: required, client_ca: {files.other}"
    [line] = told(files.section(rest))

    assert line.startswith("listen.tls: expected a client_ca with certificates (PEM)")


def test_a_key_that_does_not_fit_is_told(files):
    """Before a client would."""
    [line] = told(files.section(key="other"))

    assert line.startswith(
        "listen.tls: expected a certificate and the key that belongs to it"
    )


@pytest.mark.parametrize("name", ["crt", "key"])
@pytest.mark.parametrize("content", ["", "garbage"])
def test_files_that_hold_something_else_are_told(files, name, content):
    """And not what they hold."""
    getattr(files, name).write_text(content)
    [line] = told(files.section())

    assert line.startswith("listen.tls: expected a certificate and the key")
    assert "garbage" not in line


def test_a_key_with_a_password_is_told(files):
    """Nobody could type it."""
    files.lock()
    [line] = told(files.section())

    assert line.endswith("the key without a password")


def test_a_missing_file_is_told_where_it_is_named(files):
    """As everywhere in the language."""
    files.key.unlink()
    [line] = told(files.section())

    assert line.startswith("listen.tls.key: expected a file that can be read")


def test_a_unix_domain_socket_is_for_clients_alone():
    """Kubelet cannot come by one."""
    listen = loaded('listen: {proxy: "unix:/run/gateway.sock"}').config.listen
    [line] = told('listen: {status: "unix:/run/gateway.sock"}')

    assert UnixAddress("/run/gateway.sock", 0) == listen.proxy
    assert "unix:/run/gateway.sock" == str(listen.proxy)
    assert line.startswith("listen.status: expected host:port")
