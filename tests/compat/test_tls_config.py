"""The promised snippet for TLS, but for its port, verbatim."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from tests.tls.servers import get, trusting

SNIPPET = """
from utils.tls_config import setup_tls

app = Flask(__name__)
tls_config = setup_tls(app)

# Generate certificates
cert, key = tls_config.generate_self_signed_cert(
    cert_dir='certs',
    days_valid=365,
    common_name='localhost'
)

# Run with HTTPS
ssl_context = tls_config.create_ssl_context()
app.run(ssl_context=ssl_context, host='0.0.0.0', port=443)
"""


def test_the_snippet_serves_over_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[int] = []

    class Served(Flask):
        def run(self, *_: Any, ssl_context: ssl.SSLContext, **__: Any) -> None:
            server = make_server("127.0.0.1", 0, self, threaded=True, ssl_context=ssl_context)
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            answers.append(get(server.port, "/", trusting(Path("certs/ca.pem"))).status)
            server.shutdown()
            thread.join(30)
            server.server_close()

    monkeypatch.chdir(tmp_path)

    exec(SNIPPET, {"Flask": Served, "__name__": "snippet"})

    assert answers == [404]
