"""The nginx configuration: a real nginx accepts it, whatever the site asks for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import AuthorityInformationAccessOID

from quadra_matrix.cli import main
from quadra_matrix.errors import InvalidValue
from quadra_matrix.tls.authority import local_authority
from quadra_matrix.tls.certs import generate_self_signed_cert
from quadra_matrix.tls.nginx import Site, nginx_configuration
from quadra_matrix.tls.revocation import revocation_list
from tests.services.process import free_port, needs
from tests.tls.servers import rsa_issued


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generate_self_signed_cert(tmp_path / "certs")
    return tmp_path / "certs"


def site(folder: Path, **more: Any) -> Site:
    given: dict[str, Any] = {"port": free_port(), "redirect_port": free_port(), "has_ocsp": False, **more}
    return Site(names=["localhost"], certificate=folder / "cert.pem", key=folder / "key.pem", **given)


def printed(folder: Path, *more: str) -> str:
    """Return what the command prints."""
    ports = ["--port", str(free_port()), "--redirect-port", str(free_port())]
    pair = ["--certificate", str(folder / "cert.pem"), "--key", str(folder / "key.pem")]
    ran = CliRunner().invoke(main, ["certs", "nginx", "--name", "localhost", *pair, *ports, *more])
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def remarks(text: str, folder: Path) -> str:
    """Return what ``nginx -t`` has to remark besides that the file is good; fail if it is not."""
    nginx = needs("nginx", "apt-get install nginx-light")
    path = folder / "nginx.conf"
    path.write_text(text)
    command = [nginx, "-t", "-q", "-c", str(path), "-e", "stderr", "-g", f"pid {folder}/nginx.pid;"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
    return checked.stderr


def test_nginx_accepts_it_without_a_remark(folder: Path) -> None:
    assert remarks(printed(folder), folder) == ""


def test_nginx_accepts_client_certificates(folder: Path) -> None:
    asked = ["--client-ca", str(folder / "ca.pem"), "--client-crl", str(revocation_list(folder))]

    required, optional = printed(folder, *asked), printed(folder, *asked, "--client-optional")

    assert remarks(required, folder) == remarks(optional, folder) == ""
    assert "ssl_verify_client on;" in required
    assert "ssl_verify_client optional;" in optional
    assert "ssl_session_cache off;" in required


def test_a_file_to_include_stands_inside_http(folder: Path) -> None:
    inside = printed(folder, "--include")

    assert "events {" not in inside
    assert remarks(f"events {{}}\nhttp {{\n{inside}}}\n", folder) == ""


def test_json_holds_the_same(folder: Path) -> None:
    assert "ssl_protocols TLSv1.2 TLSv1.3;" in json.loads(printed(folder, "--json"))["configuration"]


def with_responder(folder: Path) -> None:
    """Give the pair in ``folder`` a certificate that names an OCSP responder."""
    authority = local_authority(folder)
    issued = rsa_issued(authority)
    model = x509.load_pem_x509_certificate(issued.certificate)
    key = serialization.load_pem_private_key(issued.key, None)
    responder = x509.AccessDescription(
        AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://127.0.0.1:9/ocsp")
    )
    builder = x509.CertificateBuilder(
        model.issuer, model.subject, key.public_key(), model.serial_number,  # type: ignore[arg-type]
        model.not_valid_before_utc, model.not_valid_after_utc, list(model.extensions),
    ).add_extension(x509.AuthorityInformationAccess([responder]), critical=False)  # fmt: skip
    signed = builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    chain = signed + authority.file.read_bytes()
    for name, content in (("cert.pem", chain), ("key.pem", issued.key)):
        (folder / name).unlink()
        (folder / name).write_bytes(content)


def test_it_staples_only_where_somebody_answers(folder: Path) -> None:
    """Without a responder nginx would warn at each start and staple nothing."""
    without = printed(folder)
    with_responder(folder)
    stapled = printed(folder)

    assert "ssl_stapling" not in without
    assert "ssl_stapling on;" in stapled
    assert remarks(stapled, folder) == ""


def test_it_says_what_the_service_needs(folder: Path) -> None:
    text = nginx_configuration(site(folder, port=443), whole=True)

    assert "#   QUADRA_TRUSTED_HOPS=1\n#   QUADRA_ALLOWED_ORIGINS=https://localhost\n" in text


@pytest.mark.parametrize(
    "more",
    [
        {"certificate": Path("/a;b")},
        {"certificate": Path("relative.pem")},
        {"key": Path("/a b")},
        {"names": []},
        {"names": ["a;b"]},
        {"service": "http://127.0.0.1"},
        {"hub": "127.0.0.1:5001; }"},
        {"port": 0},
        {"redirect_port": 65536},
        {"max_upload_bytes": 0},
    ],
    ids=str,
)
def test_what_nginx_would_read_otherwise_is_refused(more: dict[str, Any]) -> None:
    given = {"names": ["a.test"], "certificate": Path("/c"), "key": Path("/k"), "has_ocsp": False, **more}

    with pytest.raises(InvalidValue):
        Site(**given)
