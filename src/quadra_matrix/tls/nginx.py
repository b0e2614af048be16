"""nginx in front of the service: a configuration that does the TLS, redirects, and passes on what it gets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from quadra_matrix.errors import require
from quadra_matrix.tls.authority import general_name
from quadra_matrix.tls.context import CIPHERS, ClientFiles
from quadra_matrix.tls.headers import POLICY, Header, HeaderOptions, SecurityHeaders

CLIENT_HEADER = "Client-Cert"
"""Header in which the verified client's certificate is passed on."""

FIELDS = (
    "Host $host",
    "X-Forwarded-For $remote_addr",
    "X-Forwarded-Proto $scheme",
    "X-Forwarded-Host $host",
    f"{CLIENT_HEADER} $ssl_client_escaped_cert",
)
"""What each request is passed on with. An empty value removes the field that a client sent."""

_PATH = re.compile(r"[A-Za-z0-9/._@+-]+")
_ADDRESS = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Site:
    """What nginx serves, and where it passes requests on to."""

    names: Sequence[str]
    certificate: Path
    """The certificate, followed by its intermediates."""
    key: Path
    has_ocsp: bool
    """Tell whether the certificate names a responder: stapling without one is a warning in the log, no more."""
    service: str = "127.0.0.1:5000"
    hub: str = "127.0.0.1:5001"
    port: int = 443
    redirect_port: int = 80
    max_upload_bytes: int = 100 * 1024 * 1024
    clients: ClientFiles | None = None
    headers: HeaderOptions = HeaderOptions()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        require(len(self.names) > 0, "names", self.names, "at least one name")
        for name in self.names:
            general_name(name)
        asked = [] if self.clients is None else [self.clients.authorities, self.clients.revoked]
        for path in (self.certificate, self.key, *asked):
            legal = path is None or (path.is_absolute() and _PATH.fullmatch(str(path)) is not None)
            require(legal, "path", path, "absolute, of letters, digits and /._@+-")
        for field, address in (("service", self.service), ("hub", self.hub)):
            require(_ADDRESS.fullmatch(address) is not None, field, address, "host:port")
        require(self.max_upload_bytes > 0, "max_upload_bytes", self.max_upload_bytes, "above 0")
        for field, port in (("port", self.port), ("redirect_port", self.redirect_port)):
            require(0 < port < 65536, field, port, "a port")


def nginx_configuration(site: Site, *, whole: bool) -> str:
    """Return the configuration for ``site``: a whole ``nginx.conf``, or a file for nginx to include inside ``http``."""
    inside = [*_shared(site), *_strangers(site), *_redirect(site), *_service(site)]
    if not whole:
        return "\n".join([*_remarks(site), *inside, ""])
    indented = [f"    {line}" if line else "" for line in inside]
    outside = ["worker_processes auto;", "events {", "    worker_connections 4096;", "}", "http {", *indented, "}", ""]
    return "\n".join([*_remarks(site), *outside])


def _remarks(site: Site) -> Iterator[str]:
    yield "# Written by quadra certs nginx. The service behind it needs:"
    yield "#   QUADRA_TRUSTED_HOPS=1"
    yield f"#   QUADRA_ALLOWED_ORIGINS={','.join(_origin(site, name) for name in site.names)}"
    if site.clients is not None:
        yield f"#   QUADRA_TLS_CLIENT_HEADER={CLIENT_HEADER}"


def _origin(site: Site, name: str) -> str:
    return f"https://{name}" if site.port == 443 else f"https://{name}:{site.port}"


def _shared(site: Site) -> Iterator[str]:
    """Yield what every server of the site shares."""
    for name, value in _headers(site):
        yield from _lacking(name, value)
    yield f"upstream quadra {{ server {site.service}; keepalive 32; }}"
    yield f"upstream quadra_hub {{ server {site.hub}; }}"
    yield ""


def _lacking(name: str, value: str) -> Iterator[str]:
    """Yield the variable that holds a header's value where the service behind did not send the header itself."""
    sent, ours = f"$upstream_http_{_variable(name)}", f"$quadra_{_variable(name)}"
    if name == POLICY:
        # An answer 304 replaces the headers of the page in the cache, whose nonce is an earlier one.
        yield f'map "$status:{sent}" {ours} {{ default ""; "~^304:" ""; "~^[0-9]*:$" "{value}"; }}'
    else:
        yield f'map {sent} {ours} {{ default ""; "" "{value}"; }}'


def _strangers(site: Site) -> Iterator[str]:
    """Yield the servers for names that are not ours.

    nginx takes protocols, curves and sessions of a port from its default server, whoever is asked for.
    """
    yield "server {"
    yield f"    listen {site.redirect_port} default_server;"
    yield f"    listen [::]:{site.redirect_port} default_server;"
    yield "    return 444;"
    yield "}"
    yield "server {"
    yield f"    listen {site.port} ssl default_server;"
    yield f"    listen [::]:{site.port} ssl default_server;"
    yield "    ssl_reject_handshake on;"
    yield from _profile(site)
    yield "}"


def _redirect(site: Site) -> Iterator[str]:
    """Yield the server of plain HTTP: certificate authorities are answered by the service, all others sent to HTTPS."""
    port = "" if site.port == 443 else f":{site.port}"
    yield "server {"
    yield f"    listen {site.redirect_port};"
    yield f"    listen [::]:{site.redirect_port};"
    yield f"    server_name {' '.join(site.names)};"
    yield "    server_tokens off;"
    yield from _add_headers(site, is_https=False)
    yield "    location /.well-known/acme-challenge/ {"
    yield from _pass_on("quadra")
    yield "    }"
    yield "    location / {"
    yield f"        return 308 https://$host{port}$request_uri;"
    yield "    }"
    yield "}"


def _service(site: Site) -> Iterator[str]:
    """Yield the server of HTTPS."""
    yield "server {"
    yield f"    listen {site.port} ssl;"
    yield f"    listen [::]:{site.port} ssl;"
    yield f"    server_name {' '.join(site.names)};"
    yield "    server_tokens off;"
    yield from _tls(site)
    yield from _add_headers(site, is_https=True)
    yield f"    client_max_body_size {site.max_upload_bytes};"
    yield "    client_header_timeout 30s;  # for the handshake too"
    yield "    location = /ws {"
    yield from _pass_on("quadra_hub", "Connection upgrade", "Upgrade $http_upgrade")
    yield "        proxy_read_timeout 1d;"
    yield "    }"
    yield "    location / {"
    yield from _pass_on("quadra")
    yield "        proxy_request_buffering off;"
    yield "        proxy_read_timeout 300s;"
    yield "    }"
    yield "}"


def _profile(site: Site) -> Iterator[str]:
    """Yield Mozilla's intermediate profile."""
    yield "    ssl_protocols TLSv1.2 TLSv1.3;"
    yield f"    ssl_ciphers {':'.join(CIPHERS)};"
    yield "    ssl_prefer_server_ciphers off;"
    yield "    ssl_ecdh_curve X25519:prime256v1:secp384r1;"
    # A session that is resumed is not verified again: a client could come back after its revocation.
    yield f"    ssl_session_cache {'off' if site.clients else 'shared:quadra:10m'};"
    yield "    ssl_session_timeout 1d;"
    yield "    ssl_session_tickets off;"


def _tls(site: Site) -> Iterator[str]:
    """Yield the certificate, the profile, and what is asked of clients."""
    yield f"    ssl_certificate {site.certificate};"
    yield f"    ssl_certificate_key {site.key};"
    yield from _profile(site)
    if site.has_ocsp:
        yield "    ssl_stapling on;"
        yield "    ssl_stapling_verify on;"
        yield f"    ssl_trusted_certificate {site.certificate};"
    if site.clients is not None:
        yield f"    ssl_client_certificate {site.clients.authorities};"
        yield f"    ssl_verify_client {'on' if site.clients.required else 'optional'};"
        if site.clients.revoked is not None:
            yield f"    ssl_crl {site.clients.revoked};"


def _pass_on(upstream: str, *fields: str) -> Iterator[str]:
    yield f"        proxy_pass http://{upstream};"
    yield "        proxy_http_version 1.1;"
    for field in (*FIELDS, *(fields or ('Connection ""',))):
        yield f"        proxy_set_header {field};"


def _add_headers(site: Site, *, is_https: bool) -> Iterator[str]:
    """Yield the headers that an answer lacks; nginx leaves out one whose value is empty."""
    for name, _ in _headers(site):
        if is_https or name != "Strict-Transport-Security":
            yield f"    add_header {name} $quadra_{_variable(name)} always;"


def _headers(site: Site) -> list[Header]:
    return SecurityHeaders(site.headers).plain(is_https=True)


def _variable(name: str) -> str:
    return name.lower().replace("-", "_")
