"""``quadra certs``: make, check and explain certificates."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import click

from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.errors import QuadraError
from quadra_matrix.terminal import Exit, fail, json_option, print_json, print_table
from quadra_matrix.tls.authority import issue_client, local_authority
from quadra_matrix.tls.certs import LONGEST_LIFE, generate_self_signed_cert
from quadra_matrix.tls.context import ClientFiles, ServerFiles, inspect_files
from quadra_matrix.tls.inspection import Inspection, inspect_pair
from quadra_matrix.tls.nginx import Site, nginx_configuration
from quadra_matrix.tls.ordering import LETS_ENCRYPT, STAGING, OrderOptions
from quadra_matrix.tls.pairs import replace_pair
from quadra_matrix.tls.renewal import Standing
from quadra_matrix.tls.revocation import revocation_list, revoke

EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)

folder_option = click.option(
    "--cert-dir", type=click.Path(file_okay=False, path_type=Path), default="certs", show_default=True,
    help="Folder of the certificates.",
)  # fmt: skip


@click.group()
def certs() -> None:
    """Make, check and explain certificates."""


@certs.command("self-signed")
@folder_option
@click.option("--days", type=click.FloatRange(0, LONGEST_LIFE, min_open=True), default=365, show_default=True)
@click.option("--name", "common_name", default="localhost", show_default=True, help="Name that browsers will ask for.")
@json_option
def self_signed(cert_dir: Path, days: float, common_name: str, as_json: bool) -> None:
    """Make the certificate of a development server, or keep a good one."""
    pair = generate_self_signed_cert(cert_dir, days, common_name)
    authority = local_authority(cert_dir).file
    found = inspect_pair(pair.certificate, pair.key, now=SYSTEM_CLOCK.now())
    made = {
        "certificate": str(pair.certificate),
        "key": str(pair.key),
        "authority": str(authority),
        "names": list(found.names),
        "expires": _moment(found.expires),
    }
    _show(made, as_json=as_json)


@certs.command("ca")
@folder_option
@click.option("--name", "names", multiple=True, help="A name it may sign for besides local ones; may be repeated.")
@json_option
def ca(cert_dir: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Make the local authority, or show the one that is there."""
    _show(_told(inspect_pair(local_authority(cert_dir, names).file, now=SYSTEM_CLOCK.now())), as_json=as_json)


@certs.command("issue")
@folder_option
@click.argument("name")
@click.option("--days", type=click.FloatRange(0, min_open=True), default=365, show_default=True)
@json_option
def issue(cert_dir: Path, name: str, days: float, as_json: bool) -> None:
    """Make a certificate for the client NAME, signed by the local authority."""
    now = SYSTEM_CLOCK.now()
    issued = issue_client(local_authority(cert_dir), name, days=days, now=now)
    pair = replace_pair(cert_dir / "clients" / name, certificate=issued.certificate, key=issued.key)
    found = inspect_pair(pair.certificate, pair.key, now=now)
    made = {
        "certificate": str(pair.certificate),
        "key": str(pair.key),
        "serial": found.serial,
        "expires": _moment(found.expires),
        "revocation_list": str(revocation_list(cert_dir)),
    }
    _show(made, as_json=as_json)


@certs.command("revoke")
@folder_option
@click.argument("which", metavar="SERIAL|CERTIFICATE")
@json_option
def take_back(cert_dir: Path, which: str, as_json: bool) -> None:
    """Revoke a client's certificate, named by its serial or its file; servers notice by themselves."""
    path = Path(which)
    serial = inspect_pair(path, now=SYSTEM_CLOCK.now()).serial if path.is_file() else which.lower()
    if not re.fullmatch(r"[0-9a-f]{1,40}", serial):
        raise fail(f"{which} is neither a file nor a serial in hexadecimal digits", Exit.USAGE)
    was_good = revoke(cert_dir, int(serial, 16))
    told = {"serial": serial, "revoked_now": was_good, "revocation_list": str(revocation_list(cert_dir))}
    _show(told, as_json=as_json)


@certs.command("letsencrypt")
@click.argument("domain")
@click.option("--email", required=True, help="Where the authority reaches you.")
@click.option("--also", multiple=True, help="Another name on the same certificate; may be repeated.")
@folder_option
@click.option("--agree", is_flag=True, help="Agree to the authority's terms of service; needed once.")
@click.option("--staging", is_flag=True, help="Use Let's Encrypt's directory for trials; no client trusts the result.")
@click.option("--directory", help="Directory of another authority.")
@click.option("--roots", type=EXISTING, help="PEM file that vouches for the directory's own certificate.")
@click.option("--profile", help="Profile of the authority, such as shortlived.")
@click.option("--http-port", type=click.IntRange(1, 65535), default=80, show_default=True, help="Answers challenges.")
@click.option("--http-address", default="", help="Address of that port; all of this machine if empty.")
@click.option("--force", is_flag=True, help="Order one even if there is a good one.")
@json_option
def letsencrypt(
    cert_dir: Path, also: tuple[str, ...], directory: str, staging: bool, force: bool, as_json: bool, **asked: Any
) -> None:
    """Get a certificate for DOMAIN, or keep a good one; its port answers the authority meanwhile."""
    from quadra_matrix.tls.letsencrypt import renewer_in

    place = directory or (STAGING if staging else LETS_ENCRYPT)
    options = OrderOptions(also=also, directory=place, agree_to_terms=asked.pop("agree"), **asked)
    renewer = renewer_in(cert_dir, options)
    is_needed = renewer.status().standing in {Standing.MISSING, Standing.EXPIRED}  # a person waits for no pause of ours
    pair = renewer.obtain(force=force or is_needed)
    status = renewer.status()
    made = {
        "certificate": str(pair.certificate),
        "key": str(pair.key),
        "names": list(options.names),
        "expires": _moment(status.expires),
        "renew_at": _moment(status.due),
    }
    _show(made, as_json=as_json)


@certs.command("renew")
@folder_option
@click.option("--force", is_flag=True, help="Order new ones even if none is due.")
@json_option
def renew(cert_dir: Path, force: bool, as_json: bool) -> None:
    """Renew what is due in the folder; for a timer, a few times a day. Exit 1 if a renewal failed."""
    from quadra_matrix.tls.letsencrypt import orders_in

    rows = [_renewed(cert_dir, options, force=force) for options in orders_in(cert_dir)]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ("domain", "done", "expires", "renew_at", "reason"))
    failed = [row["domain"] for row in rows if row["done"] == "failed"]
    if failed:
        raise fail(f"not renewed: {', '.join(failed)}")


def _renewed(cert_dir: Path, options: OrderOptions, *, force: bool) -> dict[str, Any]:
    """Renew one certificate if it is due, and return what became of it."""
    from quadra_matrix.tls.letsencrypt import renewer_in

    try:
        renewer = renewer_in(cert_dir, options)
        outcome = renewer.look(force=force)
        status = renewer.status()
    except QuadraError as broken:  # the other certificates of the folder are renewed all the same
        return {"domain": options.domain, "done": "failed", "expires": None, "renew_at": None, "reason": str(broken)}
    return {
        "domain": options.domain,
        "done": "renewed" if outcome.issued else "failed" if outcome.failure else "kept",
        "expires": _moment(status.expires),
        "renew_at": _moment(status.due),
        "reason": outcome.failure.reason if outcome.failure else None,
    }


@certs.command("inspect")
@click.argument("certificate", type=EXISTING)
@click.option("--key", type=EXISTING, help="Check that this is its key.")
@click.option("--name", "names", multiple=True, help="Check that it is good for this name; may be repeated.")
@click.option("--ca", "roots", type=EXISTING, help="Check that these certificates vouch for it.")
@json_option
def inspect(certificate: Path, key: Path | None, names: tuple[str, ...], roots: Path | None, as_json: bool) -> None:
    """Show what CERTIFICATE holds and what is wrong with it; exit 3 if anything is."""
    found = inspect_pair(certificate, key, names=names, roots=roots, now=SYSTEM_CLOCK.now())
    _show(_told(found), as_json=as_json)
    if found.faults:
        raise fail("; ".join(each.detail for each in found.faults), Exit.REFUSED)


@certs.command("nginx")
@click.option("--name", "names", multiple=True, required=True, help="A name of the site; may be repeated.")
@click.option("--certificate", type=EXISTING, required=True, help="The certificate and its intermediates.")
@click.option("--key", type=EXISTING, required=True)
@click.option("--service", default="127.0.0.1:5000", show_default=True, help="Where the HTTP server listens.")
@click.option("--hub", default="127.0.0.1:5001", show_default=True, help="Where the WebSocket hub listens.")
@click.option("--port", default=443, show_default=True, help="Port of HTTPS.")
@click.option("--redirect-port", default=80, show_default=True, help="Port of plain HTTP.")
@click.option("--max-upload", type=int, default=100 * 1024 * 1024, show_default=True, help="Bytes of a request's body.")
@click.option("--client-ca", type=EXISTING, help="Ask clients for a certificate of these authorities.")
@click.option("--client-crl", type=EXISTING, help="Their revocation list.")
@click.option("--client-optional", is_flag=True, help="Let clients in that have no certificate.")
@click.option("--include", is_flag=True, help="Write a file for conf.d instead of a whole nginx.conf.")
@json_option
def nginx(include: bool, as_json: bool, **asked: Any) -> None:
    """Print an nginx configuration that does the TLS in front of the service."""
    text = nginx_configuration(_site(**asked), whole=not include)
    if as_json:
        print_json({"configuration": text})
    else:
        click.echo(text, nl=False)


def _site(
    *, certificate: Path, key: Path, max_upload: int, client_ca: Path | None, client_crl: Path | None,
    client_optional: bool, **rest: Any,
) -> Site:  # fmt: skip
    """Return what the options of ``nginx`` say; raise ``CertificateRefused`` for files that cannot serve."""
    certificate, key = certificate.absolute(), key.absolute()
    found = inspect_files(ServerFiles(certificate, key), now=SYSTEM_CLOCK.now())
    clients = None
    if client_ca is not None:
        clients = ClientFiles(client_ca.absolute(), client_crl and client_crl.absolute(), not client_optional)
    return Site(
        certificate=certificate,
        key=key,
        has_ocsp=bool(found.ocsp_urls),
        max_upload_bytes=max_upload,
        clients=clients,
        **rest,
    )


@certs.command("trust")
@folder_option
@json_option
def trust(cert_dir: Path, as_json: bool) -> None:
    """Explain how to make clients of this machine trust the local authority; change nothing."""
    file = str(local_authority(cert_dir).file.resolve())
    ways = {
        "curl": f"curl --cacert {file} https://localhost:5000/health",
        "Python": f"SSL_CERT_FILE={file} python client.py",
        "requests": f"REQUESTS_CA_BUNDLE={file} python client.py",
        "Node.js": f"NODE_EXTRA_CA_CERTS={file} node client.js",
        "Debian, Ubuntu": f"sudo cp {file} /usr/local/share/ca-certificates/quadra.crt && sudo update-ca-certificates",
        "Fedora": f"sudo trust anchor {file}",
        "macOS": f"sudo security add-trusted-cert -d -k /Library/Keychains/System.keychain {file}",
        "Windows": f"certutil -addstore -user Root {file}",
        "Chrome on Linux": f'certutil -d sql:"$HOME/.pki/nssdb" -A -t C,, -n quadra -i {file}',
        "Firefox": f"Settings, Certificates, Authorities, Import: {file}",
    }
    if as_json:
        print_json({"authority": file, "ways": ways})
    else:
        print_table([{"client": client, "do": do} for client, do in ways.items()], ("client", "do"))


def _told(found: Inspection) -> dict[str, Any]:
    return {
        "subject": found.subject,
        "issuer": found.issuer,
        "serial": found.serial,
        "names": list(found.names),
        "key": found.key,
        "begins": _moment(found.begins),
        "expires": _moment(found.expires),
        "renew_at": _moment(found.renew_at),
        "sha256": found.fingerprint,
        "chain": list(found.chain),
        "ocsp": list(found.ocsp_urls),
        "faults": [{"fault": each.fault.value, "detail": each.detail} for each in found.faults],
    }


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _show(told: dict[str, Any], *, as_json: bool) -> None:
    """Print JSON, or a line for each value."""
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        click.echo(f"{name + ':':<13}{text or '-'}")
