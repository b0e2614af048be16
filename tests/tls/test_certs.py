"""The certificate of a development server: private, kept, replaced whole, accepted by clients that verify."""

from __future__ import annotations

import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.errors import CertificateRefused, InvalidValue
from quadra_matrix.testing import FakeClock
from quadra_matrix.tls.authority import general_name, issue_server, local_authority, may_name
from quadra_matrix.tls.certs import generate_self_signed_cert
from quadra_matrix.tls.files import write_whole
from quadra_matrix.tls.inspection import inspect_pair
from tests.services.process import needs

DAY = 86400.0


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "certs"


def test_it_is_for_the_name_for_localhost_and_both_loopbacks(folder: Path) -> None:
    cert, key = generate_self_signed_cert(str(folder), 90, "shop.example.test")

    found = inspect_pair(cert, key, now=SYSTEM_CLOCK.now())

    assert found.names == ("shop.example.test", "localhost", "127.0.0.1", "::1")
    assert found.key == "EC secp256r1"
    assert found.faults == ()


def test_a_verifying_client_accepts_it(folder: Path) -> None:
    cert, key = generate_self_signed_cert(folder)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(cert, key)
    trusting = ssl.create_default_context(cafile=folder / "ca.pem")
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()
    server = threading.Thread(target=lambda: serving.wrap_socket(theirs, server_side=True).close())
    server.start()

    with trusting.wrap_socket(ours, server_hostname="localhost") as client:
        assert client.version() == "TLSv1.3"
    server.join(30)


def test_openssl_accepts_it(folder: Path) -> None:
    openssl = needs("openssl", "apt-get install openssl")
    cert, _ = generate_self_signed_cert(folder, common_name="10.1.2.3")
    command = [openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-verify_ip", "10.1.2.3"]

    subprocess.run([*command, "-CAfile", folder / "ca.pem", cert], check=True, capture_output=True, timeout=60)


def test_nobody_else_reads_the_keys(folder: Path) -> None:
    _, key = generate_self_signed_cert(folder)

    assert [mode_of(folder), mode_of(key.parent / "versions")] == [0o700, 0o700]
    assert [mode_of(key), mode_of(folder / "ca-key.pem")] == [0o600, 0o600]


def test_a_file_is_private_from_its_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr("os.fsync", lambda _: seen.extend(mode_of(path) for path in tmp_path.iterdir()))

    write_whole(tmp_path / "key.pem", b"secret", mode=0o600)

    assert seen == [0o600]


def test_a_file_that_cannot_be_written_whole_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError("no space left on device")

    (tmp_path / "key.pem").write_text("old")
    monkeypatch.setattr("os.fsync", full)

    with pytest.raises(OSError, match="no space"):
        write_whole(tmp_path / "key.pem", b"new", mode=0o600)

    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_others_may_write_is_refused(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)

    with pytest.raises(CertificateRefused, match="others may write to the folder"):
        generate_self_signed_cert(folder)


def test_a_good_pair_is_kept(folder: Path) -> None:
    first = generate_self_signed_cert(folder).certificate.read_bytes()

    assert generate_self_signed_cert(folder).certificate.read_bytes() == first


@pytest.mark.parametrize(("age", "is_kept"), [(59, True), (61, False)])
def test_it_is_renewed_at_two_thirds_of_its_life(folder: Path, age: float, is_kept: bool) -> None:
    clock = FakeClock()
    first = generate_self_signed_cert(folder, 90, clock=clock).certificate.read_bytes()
    clock.advance(age * DAY)

    again = generate_self_signed_cert(folder, 90, clock=clock).certificate.read_bytes()

    assert (again == first) is is_kept


def spoil_key(folder: Path) -> None:
    (folder / "key.pem").write_bytes((folder / "ca-key.pem").read_bytes())


def spoil_certificate(folder: Path) -> None:
    (folder / "cert.pem").write_text("-----BEGIN CERTIFICATE-----\n")


def lose_key(folder: Path) -> None:
    (folder / "key.pem").unlink()


def lose_authority(folder: Path) -> None:
    (folder / "ca.pem").unlink()


@pytest.mark.parametrize("spoil", [spoil_key, spoil_certificate, lose_key, lose_authority])
def test_a_pair_that_is_not_whole_is_made_again(folder: Path, spoil: Callable[[Path], None]) -> None:
    generate_self_signed_cert(folder)
    spoil(folder)

    cert, key = generate_self_signed_cert(folder)

    assert inspect_pair(cert, key, roots=folder / "ca.pem", now=SYSTEM_CLOCK.now()).faults == ()


def test_another_name_makes_another_pair(folder: Path) -> None:
    generate_self_signed_cert(folder)

    cert, _ = generate_self_signed_cert(folder, common_name="api.test")

    assert inspect_pair(cert, names=["api.test"], now=SYSTEM_CLOCK.now()).faults == ()


def test_a_reader_never_meets_half_a_pair(folder: Path) -> None:
    """The two names point through one link, so what they name changes in one step."""
    generate_self_signed_cert(folder)

    generate_self_signed_cert(folder, common_name="api.test")

    targets = {(folder / name).readlink().parent for name in ("cert.pem", "key.pem")}
    assert targets == {Path("current")}
    assert (folder / "current").resolve().parent == folder / "versions"


def test_the_pair_before_is_the_only_one_left(folder: Path) -> None:
    for name in ("a.test", "b.test", "c.test"):
        generate_self_signed_cert(folder, common_name=name)

    held = [inspect_pair(path, now=SYSTEM_CLOCK.now()).names[0] for path in (folder / "versions").glob("*/cert.pem")]
    assert sorted(held) == ["b.test", "c.test"]


def test_plain_files_are_replaced_by_the_pair(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "cert.pem").write_text("old")
    (folder / "key.pem").write_text("old")

    cert, key = generate_self_signed_cert(folder)

    assert inspect_pair(cert, key, now=SYSTEM_CLOCK.now()).faults == ()


def test_workers_that_start_together_agree(folder: Path) -> None:
    made: list[bytes] = []
    barrier = threading.Barrier(4)

    def start() -> None:
        barrier.wait(30)
        made.append(generate_self_signed_cert(folder).certificate.read_bytes())

    workers = [threading.Thread(target=start) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)

    assert len(made) == 4
    assert len(set(made)) == 1


@pytest.mark.parametrize("days", [0, -1, 826, float("nan")])
def test_a_life_that_clients_refuse_is_refused(folder: Path, days: float) -> None:
    with pytest.raises(InvalidValue, match="days_valid"):
        generate_self_signed_cert(folder, days)


@pytest.mark.parametrize("name", ["", "two words", "-a.test", "a..test", "x" * 65, "a.test/24"])
def test_a_name_that_is_none_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(InvalidValue, match="a host name or an IP address"):
        generate_self_signed_cert(folder, common_name=name)


# The authority


def test_a_stolen_authority_signs_for_nothing_that_others_own(folder: Path) -> None:
    authority = local_authority(folder, ["shop.example.com"])

    with pytest.raises(CertificateRefused, match=r"cannot sign for 'bank\.example'"):
        issue_server(authority, ["bank.example"], days=1, now=SYSTEM_CLOCK.now())


@pytest.mark.parametrize(
    ("name", "is_covered"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("shop.example.com", True),
        ("*.shop.example.com", True),
        ("example.com", False),
        ("evilshop.example.com", False),
        ("127.9.9.9", True),
        ("10.0.0.1", True),
        ("10.0.0.2", False),
        ("::1", True),
        ("::2", False),
    ],
)
def test_the_constraints_cover(folder: Path, name: str, is_covered: bool) -> None:
    authority = local_authority(folder, ["shop.example.com", "10.0.0.1"])

    assert may_name(authority.certificate, name) is is_covered


def test_clients_hold_a_forger_to_the_constraints(folder: Path) -> None:
    """The limits are in the certificate: a thief who signs with other tools gains nothing."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    openssl = needs("openssl", "apt-get install openssl")
    authority = local_authority(folder)
    good = x509.load_pem_x509_certificate(
        issue_server(authority, ["a.test"], days=1, now=SYSTEM_CLOCK.now()).certificate
    )
    forged = x509.CertificateBuilder(
        issuer_name=good.issuer,
        subject_name=x509.Name([]),
        public_key=ec.generate_private_key(ec.SECP256R1()).public_key(),
        serial_number=7,
        not_valid_before=good.not_valid_before_utc,
        not_valid_after=good.not_valid_after_utc,
    ).add_extension(x509.SubjectAlternativeName([general_name("bank.example")]), critical=True)
    file = folder / "forged.pem"
    file.write_bytes(forged.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    answer = subprocess.run(
        [openssl, "verify", "-CAfile", authority.file, file], capture_output=True, text=True, timeout=60
    )

    assert "permitted subtree violation" in answer.stderr


def test_a_certificate_never_outlives_its_authority(folder: Path) -> None:
    clock = FakeClock()
    authority = local_authority(folder, clock=clock)
    clock.advance(3600 * DAY)

    cert, _ = generate_self_signed_cert(folder, clock=clock)

    end = authority.certificate.not_valid_after_utc.timestamp()
    assert inspect_pair(cert, now=clock.now()).expires == end


def test_an_authority_that_expired_says_so(folder: Path) -> None:
    clock = FakeClock()
    local_authority(folder, clock=clock)
    clock.advance(3651 * DAY)

    with pytest.raises(CertificateRefused, match="the authority has expired"):
        generate_self_signed_cert(folder, clock=clock)


def test_an_authority_with_another_key_is_refused(folder: Path) -> None:
    _, key = generate_self_signed_cert(folder)
    (folder / "ca-key.pem").write_bytes(key.read_bytes())

    with pytest.raises(CertificateRefused, match="is not its key"):
        local_authority(folder)


def test_an_authority_without_its_key_is_refused(folder: Path) -> None:
    local_authority(folder)
    (folder / "ca-key.pem").unlink()

    with pytest.raises(CertificateRefused, match="the authority cannot be read"):
        local_authority(folder)


def test_a_name_outside_an_authority_that_is_trusted_already_is_refused(folder: Path) -> None:
    """Making a new authority without a word would break every client that trusts the old one."""
    generate_self_signed_cert(folder)

    with pytest.raises(CertificateRefused, match="remove it and trust the new one"):
        generate_self_signed_cert(folder, common_name="shop.example.com")
