"""What an inspection finds, and what the command says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.cli import main
from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.errors import CertificateRefused
from quadra_matrix.tls.authority import at, local_authority
from quadra_matrix.tls.certs import generate_self_signed_cert
from quadra_matrix.tls.inspection import Fault, covers_name, inspect_pair
from quadra_matrix.tls.pairs import Pair
from quadra_matrix.tls.renewal import renewal_time

NOW = SYSTEM_CLOCK.now() + 3600.0
"""Later than every certificate that a test makes, however long the run before it took."""
DAY = 86400.0


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return generate_self_signed_cert(tmp_path / "certs")


def bare(path: Path, key: CertificateIssuerPrivateKeyTypes, *extensions: x509.ExtensionType) -> Path:
    """Write a self-signed certificate that holds nothing but ``extensions``."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bare")])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=255,
        not_valid_before=at(NOW - DAY),
        not_valid_after=at(NOW + DAY),
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    path.write_bytes(builder.sign(key, digest).public_bytes(serialization.Encoding.PEM))
    return path


def test_a_good_pair_has_no_faults(pair: Pair) -> None:
    roots = pair.key.parent / "ca.pem"

    found = inspect_pair(pair.certificate, pair.key, names=["localhost", "::1"], roots=roots, now=NOW)

    assert found.faults == ()
    assert found.subject == "CN=localhost"
    assert found.issuer.startswith("CN=Quadra Matrix local CA")


@pytest.mark.parametrize(("shift", "fault"), [(400 * DAY, Fault.EXPIRED), (-400 * DAY, Fault.NOT_YET_VALID)])
def test_time(pair: Pair, shift: float, fault: Fault) -> None:
    found = inspect_pair(pair.certificate, now=NOW + shift)

    assert [each.fault for each in found.faults] == [fault]


def test_the_key_of_another_certificate(pair: Pair) -> None:
    found = inspect_pair(pair.certificate, pair.key.parent / "ca-key.pem", now=NOW)

    assert [(each.fault, each.detail) for each in found.faults] == [
        (Fault.WRONG_KEY, "ca-key.pem is the key of another certificate")
    ]


def test_a_name_that_is_missing(pair: Pair) -> None:
    found = inspect_pair(pair.certificate, names=["localhost", "shop.example"], now=NOW)

    assert [each.detail for each in found.faults] == ["it is not for shop.example; it is for localhost, 127.0.0.1, ::1"]


def test_roots_that_do_not_vouch(pair: Pair, tmp_path: Path) -> None:
    stranger = local_authority(tmp_path / "other").file

    found = inspect_pair(pair.certificate, roots=stranger, now=NOW)

    assert [each.fault for each in found.faults] == [Fault.UNTRUSTED]


def test_a_chain_in_which_each_signs_the_one_before(pair: Pair, tmp_path: Path) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_bytes(pair.certificate.read_bytes() + (pair.key.parent / "ca.pem").read_bytes())

    found = inspect_pair(chain, now=NOW)

    assert (len(found.chain), found.faults) == (1, ())


def test_a_chain_that_is_broken(pair: Pair, tmp_path: Path) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_bytes(pair.certificate.read_bytes() + local_authority(tmp_path / "other").file.read_bytes())

    assert [each.detail for each in inspect_pair(chain, now=NOW).faults] == [
        "certificate 1 is not signed by certificate 2"
    ]


def test_a_certificate_without_names(tmp_path: Path) -> None:
    file = bare(tmp_path / "bare.pem", rsa.generate_private_key(65537, 2048))

    found = inspect_pair(file, names=["a.test"], roots=file, now=NOW)

    assert (found.names, found.key, found.serial, found.ocsp_urls) == ((), "RSA 2048", "ff", ())
    assert [each.detail for each in found.faults] == [
        "it is not for a.test; it is for no name at all",
        "a certificate without names cannot be verified",
    ]


def test_its_ocsp_address_is_read(tmp_path: Path) -> None:
    address = x509.UniformResourceIdentifier("http://ocsp.example")
    access = x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, address)],
    )
    file = bare(tmp_path / "bare.pem", ed25519.Ed25519PrivateKey.generate(), access)

    found = inspect_pair(file, now=NOW)

    assert (found.ocsp_urls, found.key) == (("http://ocsp.example",), "Ed25519")


def test_files_that_cannot_be_used_are_named(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")

    with pytest.raises(CertificateRefused, match="text: it holds no certificate in PEM"):
        inspect_pair(tmp_path / "text", now=NOW)
    with pytest.raises(CertificateRefused, match="nowhere: it cannot be read"):
        inspect_pair(tmp_path / "nowhere", now=NOW)
    with pytest.raises(CertificateRefused, match="text: it holds no unencrypted private key in PEM"):
        inspect_pair(pair.certificate, tmp_path / "text", now=NOW)


@pytest.mark.parametrize(
    ("held", "name", "is_good"),
    [
        (["*.a.test"], "b.a.test", True),
        (["*.a.test"], "a.test", False),
        (["*.a.test"], "c.b.a.test", False),
        (["A.test"], "a.TEST", True),
        (["::1"], "0:0::1", True),
        ([], "a.test", False),
    ],
)
def test_names_and_wildcards(held: list[str], name: str, is_good: bool) -> None:
    assert covers_name(held, name) is is_good


@given(begins=st.floats(0, 1e10), life=st.floats(3600, 1e9))
def test_renewal_leaves_a_third_to_a_half_of_the_life(begins: float, life: float) -> None:
    left = (begins + life - renewal_time(begins, begins + life)) / life

    assert 0.33 < left < 0.51


# The command


def run(*words: str | Path) -> tuple[int, str, str]:
    answer = CliRunner().invoke(main, ["certs", *map(str, words)])
    return answer.exit_code, answer.stdout, answer.stderr


def test_the_command_makes_a_pair_and_its_authority(tmp_path: Path) -> None:
    folder = tmp_path / "certs"

    code, text, _ = run("self-signed", "--cert-dir", folder, "--name", "api.test", "--days", 30, "--json")

    made = json.loads(text)
    assert code == 0
    assert made["names"] == ["api.test", "localhost", "127.0.0.1", "::1"]
    assert [Path(made[part]).exists() for part in ("certificate", "key", "authority")] == [True] * 3


def test_the_command_makes_an_authority(tmp_path: Path) -> None:
    code, text, _ = run("ca", "--cert-dir", tmp_path / "certs", "--name", "shop.example.com")

    assert code == 0
    assert "subject:     CN=Quadra Matrix local CA" in text
    assert "ocsp:        -" in text


def test_the_command_inspects(pair: Pair) -> None:
    roots = pair.key.parent / "ca.pem"

    code, text, _ = run("inspect", pair.certificate, "--key", pair.key, "--name", "localhost", "--ca", roots, "--json")

    assert (code, json.loads(text)["faults"]) == (0, [])


def test_the_command_exits_3_for_a_fault(pair: Pair) -> None:
    code, _, remarks = run("inspect", pair.certificate, "--name", "shop.example")

    assert code == 3
    assert "error: it is not for shop.example" in remarks


def test_the_command_explains_trust(tmp_path: Path) -> None:
    folder = tmp_path / "certs"

    code, text, _ = run("trust", "--cert-dir", folder)
    _, as_json, _ = run("trust", "--cert-dir", folder, "--json")

    assert code == 0
    assert f"curl --cacert {folder / 'ca.pem'}" in text
    assert json.loads(as_json)["authority"] == str(folder / "ca.pem")
