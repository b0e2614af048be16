"""HTTP for the server: one thread a connection, whole answers in one packet, streams in chunks."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from quadra_matrix.testing.kubernetes.answers import Answer, Stream
from quadra_matrix.testing.kubernetes.requests import Request

log = logging.getLogger(__name__)

Respond = Callable[[Request], "Answer | Stream | None"]
"""Answers a request; None cuts the connection."""


class Connection(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    server_version = "quadra-fake-kubernetes"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave together: apart they cost 40 ms each time
    server: Listener

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Answer every method in the same way: what it means depends on the address."""
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        """Answer one request."""
        body = self._body()
        request = Request.read(self.command, self.path, dict(self.headers.items()), body)
        answer = self.server.respond(request)
        if answer is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif isinstance(answer, Stream):
            self._stream(answer)
        else:
            self._send(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log one line a request."""
        log.debug(format, *args)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.type)
        self.send_header("Content-Length", str(len(answer.body)))
        for warning in answer.warnings:
            quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
            self.send_header("Warning", f'299 - "{quoted}"')
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def _stream(self, answer: Stream) -> None:
        """Send parts as they come; the client's end shows when one cannot be sent."""
        self.send_response(200)
        self.send_header("Content-Type", answer.type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        try:
            for part in answer.parts:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


class Listener(ThreadingHTTPServer):
    """Listens on a free port of this machine."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, respond: Respond) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.respond = respond
        self._open: set[socket.socket] = set()

    @property
    def address(self) -> str:
        """Return the server's address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection and remember it."""
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Close a connection."""
        if isinstance(request, socket.socket):
            self._open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        """Cut every connection, as a network that fails does."""
        for connection in tuple(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # it ended by itself meanwhile
                self._open.discard(connection)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what a connection ended with: clients leave without a word."""
        log.debug("a connection ended: %r", sys.exc_info()[1])
