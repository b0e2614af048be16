"""A command's credential goes to its service, and to nobody else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from quadra_matrix import client


@contextmanager
def listening(redirect: str | None = None) -> Iterator[tuple[str, list[str | None]]]:
    """Yield the address of a server and what it hears as Authorization; it may send its callers elsewhere."""
    heard: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers.get("Authorization"))
            self.send_response(302 if redirect else 200)
            if redirect:
                self.send_header("Location", redirect)
            self.end_headers()
            self.wfile.write(json.dumps({}).encode())

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_key_goes_to_its_service_and_only_inside_the_block() -> None:
    with listening() as (own, heard), listening() as (other, overheard):
        with client.credential(own, "secret"):
            client.request(f"{own}/api/train")
            client.request(f"{other}/api/train")
        client.request(own)

    assert (heard, overheard) == (["Bearer secret", None], [None])


def test_a_redirect_does_not_carry_the_key_away() -> None:
    with listening() as (other, overheard), listening(redirect=other) as (own, heard), client.credential(own, "secret"):
        client.request(own)

    assert (heard, overheard) == (["Bearer secret"], [None])
