"""A small service to harm: ``python -m tests.chaos.target PORT``. ``/two`` answers in two writes."""

from __future__ import annotations

import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BETWEEN = 0.05
"""Seconds between the two writes."""


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b"hello, " + self.path.encode())

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path == "/two":
            self.wfile.write(body[:3])
            self.wfile.flush()
            time.sleep(BETWEEN)
            self.wfile.write(body[3:])
        else:
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: connections are broken on purpose."""

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # without asking DNS for our own name
        self.server_name, self.server_port = "localhost", self.server_address[1]


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Answers).serve_forever()
