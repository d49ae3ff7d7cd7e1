import ssl
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from gateway.wire.tls import Certificates, TlsSettings, TlsUnusable
from tests.wire.pki import Pki


@pytest.fixture
def pki(tmp_path):
    """An authority and a certificate."""
    return Pki(tmp_path)


@pytest.fixture
def certificates(pki):
    """What is in force."""
    return Certificates(TlsSettings(certificate=pki.certificate, key=pki.key))


def expiry(path: Path) -> float:
    """Read when the first certificate of a file expires."""
    (own, *_) = x509.load_pem_x509_certificates(path.read_bytes())
    return own.not_valid_after_utc.timestamp()


def served(context: ssl.SSLContext, client: ssl.SSLContext) -> bytes | None:
    """Shake hands in memory; gives the certificate that the client was shown."""
    one, other = (ssl.MemoryBIO(), ssl.MemoryBIO())
    ours = context.wrap_bio(one, other, server_side=True)
    theirs = client.wrap_bio(other, one, server_hostname="localhost")
    for side in (theirs, ours, theirs, ours):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return theirs.getpeercert(binary_form=True)


def test_what_is_in_force_is_what_the_files_say(certificates, pki):
    """And when it ends is known."""
    assert expiry(pki.certificate) == certificates.not_after
    assert ssl.TLSVersion.TLSv1_2 == certificates.context.minimum_version
    assert certificates.context.options & ssl.OP_NO_COMPRESSION
    assert certificates.context.options & ssl.OP_NO_RENEGOTIATION
    assert certificates.well
    assert f"<Certificates {pki.certificate}>" == repr(certificates)


def test_unchanged_files_change_nothing(certificates):
    """However often they are looked at."""
    before = certificates.context

    assert [False] * 3 == [certificates.refresh() for _ in range(3)]
    assert before is certificates.context


def test_a_renewed_pair_is_taken_up_once_it_has_settled(certificates, pki):
    """At the second look that finds it; the next handshake shows it."""
    before = served(certificates.context, pki.client())
    pki.issue()

    assert [False, True, False] == [certificates.refresh() for _ in range(3)]
    after = served(certificates.context, pki.client())
    assert None not in (before, after)
    assert before != after


def test_a_swapped_symlink_is_seen(tmp_path):
    """Kubelet renews so: `..data` leads elsewhere, no file is written to."""
    old, new = (tmp_path / name for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir()
        Pki(folder)
    data = tmp_path / "..data"
    data.symlink_to(old)
    certificates = Certificates(
        TlsSettings(certificate=data / "tls.crt", key=data / "tls.key")
    )
    before = certificates.context
    swapped = tmp_path / "..data_tmp"
    swapped.symlink_to(new)
    swapped.rename(data)

    assert [False, True] == [certificates.refresh() for _ in range(2)]
    assert before is not certificates.context


def test_it_tells_whose_it_is(tmp_path):
    """Names and addresses, as a browser would compare them; renewed, the new ones."""
    pki = Pki(tmp_path)
    pki.issue("*.Admin.example", "10.1.2.3", "fd00::7")
    certificates = Certificates(TlsSettings(certificate=pki.certificate, key=pki.key))
    before = certificates.names
    pki.issue("localhost")

    assert {"*.admin.example", "10.1.2.3", "fd00::7"} == before
    assert [False, True] == [certificates.refresh() for _ in range(2)]
    assert {"localhost"} == certificates.names


def test_a_certificate_may_be_nobodys(tmp_path):
    """One without alternative names: what the subject says counts nowhere."""
    pki = Pki(tmp_path)
    authority = trustme.CA()
    authority.private_key_pem.write_to_path(str(pki.key))
    authority.cert_pem.write_to_path(str(pki.certificate))
    certificates = Certificates(TlsSettings(certificate=pki.certificate, key=pki.key))

    assert frozenset() == certificates.names


@pytest.mark.parametrize("name", ["certificate", "key"])
@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_broken_pair_leaves_the_old_one_in_force(certificates, pki, name, content):
    """It is told once; mended, all is well again."""
    path = getattr(pki, name)
    good, context, not_after = (
        path.read_bytes(),
        certificates.context,
        certificates.not_after,
    )
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert not certificates.refresh()
    with pytest.raises(TlsUnusable):
        certificates.refresh()

    assert not certificates.refresh()
    assert (context, not_after) == (certificates.context, certificates.not_after)
    assert not certificates.well
    path.write_bytes(good)
    assert [False, True] == [certificates.refresh() for _ in range(2)]
    assert certificates.well


def test_a_key_that_does_not_fit_leaves_the_old_pair_in_force(certificates, pki):
    """Halfway through a rewrite, say. The old context itself is untouched."""
    certificate = pki.certificate.read_bytes()
    before = served(certificates.context, pki.client())
    pki.issue()
    pki.certificate.write_bytes(certificate)
    assert not certificates.refresh()
    with pytest.raises(TlsUnusable, match="key values mismatch"):
        certificates.refresh()

    assert before == served(certificates.context, pki.client())


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(pki):
    """A process without a terminal would wait for ever."""
    key = pki.authority.issue_cert("localhost").private_key_pem.bytes()
    text = key.decode().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
    pki.key.write_text(text)

    with pytest.raises(TlsUnusable):
        Certificates(TlsSettings(certificate=pki.certificate, key=pki.key))


@pytest.mark.parametrize(
    ("required", "mode"), [(True, ssl.CERT_REQUIRED), (False, ssl.CERT_OPTIONAL)]
)
def test_clients_are_asked_as_configured(pki, required, mode):
    """And only those of the named authority count."""
    settings = TlsSettings(
        certificate=pki.certificate,
        key=pki.key,
        client_ca=pki.ca,
        client_required=required,
    )
    context = Certificates(settings).context

    assert mode == context.verify_mode
    assert 1 == len(context.get_ca_certs())


def test_a_renewed_client_ca_takes_the_place_of_the_old(pki):
    """Whoever only the old one signed for is not let in any more."""
    settings = TlsSettings(
        certificate=pki.certificate,
        key=pki.key,
        client_ca=pki.ca,
        client_required=True,
    )
    certificates = Certificates(settings)
    trustme.CA().cert_pem.write_to_path(str(pki.ca))
    before = certificates.context.get_ca_certs()

    assert [False, True] == [certificates.refresh() for _ in range(2)]
    after = certificates.context.get_ca_certs()
    assert 1 == len(after)
    assert before != after


def test_tls_1_3_alone_can_be_asked_for(pki):
    """An older client is not served."""
    settings = TlsSettings(
        certificate=pki.certificate, key=pki.key, min_version=ssl.TLSVersion.TLSv1_3
    )
    old = pki.client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(ssl.SSLError):
        served(Certificates(settings).context, old)
