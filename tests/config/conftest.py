"""What several tests of configuration need."""

import pytest
import trustme


@pytest.fixture
def folder(tmp_path):
    """A certificate with its key, another's key, and what is none of these."""
    authority = trustme.CA()
    ours = authority.issue_cert("gateway.example")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    ours.private_key_pem.write_to_path(tmp_path / "key.pem")
    other = authority.issue_cert("other.example")
    other.private_key_pem.write_to_path(tmp_path / "other.pem")
    (tmp_path / "text.pem").write_text("no certificate")
    return tmp_path
