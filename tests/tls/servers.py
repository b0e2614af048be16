"""HTTPS servers and clients on loopback."""

from __future__ import annotations

import contextlib
import http.client
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from werkzeug.serving import make_server

from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.tls.authority import Authority, Issued, issue_server


class _Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            for line in self.rfile:
                self.wfile.write(line)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512


@contextlib.contextmanager
def echo_server(context: ssl.SSLContext) -> Iterator[int]:
    """Yield the port of a server that sends every line back, wrapped as servers of the standard library are."""
    with _Server(("127.0.0.1", 0), _Echo) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(30)


@contextlib.contextmanager
def werkzeug_server(app: Flask, context: ssl.SSLContext | None) -> Iterator[int]:
    """Yield the port of the server that ``app.run`` starts."""
    server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()


def trusting(roots: Path) -> ssl.SSLContext:
    """Return a client's context that verifies everything against ``roots``."""
    return ssl.create_default_context(cafile=roots)


@contextlib.contextmanager
def connected(port: int, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    """Yield a connection whose client side has done its handshake."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        yield client


def echoes(client: ssl.SSLSocket) -> bool:
    """Tell whether the server sends back what it gets."""
    client.sendall(b"hello\n")
    return client.recv(100) == b"hello\n"


def get(port: int, path: str, context: ssl.SSLContext) -> http.client.HTTPResponse:
    """Return the answer to a GET, its body read."""
    connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def serial_at(port: int, context: ssl.SSLContext) -> str:
    """Return the serial of the certificate that a new connection meets."""
    with connected(port, context) as client:
        held = client.getpeercert()
        assert held is not None
        return str(held["serialNumber"]).lower().lstrip("0")


def rsa_issued(authority: Authority) -> Issued:
    """Return a certificate for localhost with an RSA key."""
    key = rsa.generate_private_key(65537, 2048)
    issued = issue_server(authority, ["localhost"], days=30, now=SYSTEM_CLOCK.now())
    model = x509.load_pem_x509_certificate(issued.certificate)
    builder = x509.CertificateBuilder(
        issuer_name=model.issuer,
        subject_name=model.subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=model.not_valid_before_utc,
        not_valid_after=model.not_valid_after_utc,
    )
    for kind in (x509.SubjectAlternativeName, x509.AuthorityKeyIdentifier):
        builder = builder.add_extension(model.extensions.get_extension_for_class(kind).value, critical=False)
    signed = builder.sign(authority.key, hashes.SHA256())
    return Issued(
        signed.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
