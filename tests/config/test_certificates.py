import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from gateway.config.certificates import belong_together, certificates


@pytest.fixture
def authority():
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture
def ours(authority, tmp_path):
    """A certificate and its key, in files."""
    made = authority.issue_cert("gateway.example")
    made.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def test_every_certificate_of_a_file_is_found(authority, tmp_path):
    """Two authorities may be trusted."""
    pems = [each.cert_pem.bytes() for each in (authority, trustme.CA())]
    (tmp_path / "ca.pem").write_bytes(b"# comment\n".join(pems))

    assert 2 == len(certificates(tmp_path / "ca.pem"))


def test_a_file_of_something_else_has_none(ours, tmp_path):
    """A key, half a certificate, nothing, and no file at all."""
    cert, key = ours
    (tmp_path / "half.pem").write_bytes(cert.read_bytes()[:200])
    (tmp_path / "empty.pem").touch()

    for file in (key, tmp_path / "half.pem", tmp_path / "empty.pem", tmp_path / "no"):
        assert [] == certificates(file)


def test_a_key_belongs_to_its_certificate(ours, authority, tmp_path):
    """And to no other."""
    cert, key = ours
    authority.issue_cert("b").private_key_pem.write_to_path(tmp_path / "other.pem")

    assert belong_together(cert, key)
    assert not belong_together(cert, tmp_path / "other.pem")
    assert not belong_together(key, cert)
    assert not belong_together(cert, tmp_path / "no such file")


def test_a_key_with_a_password_is_of_no_use(ours, tmp_path):
    """Nobody is there to type it."""
    cert, key = ours
    private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    (tmp_path / "locked.pem").write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"pw"),
        )
    )

    assert not belong_together(cert, tmp_path / "locked.pem")
