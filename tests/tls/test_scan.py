"""What sslyze says of the context in ``app.run``: nothing but the curves, and with the file of the docs nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from quadra_matrix.tls.certs import generate_self_signed_cert
from tests.tls.scan import ROOT, scan

pytestmark = pytest.mark.slow

APP = """
import sys
from pathlib import Path
from flask import Flask
from quadra_matrix.tls.flask import setup_tls
from tests.tls.servers import werkzeug_server

app = Flask("shop")
context = setup_tls(app).create_ssl_context(sys.argv[1], sys.argv[2])
with werkzeug_server(app, context) as port:
    print(port, flush=True)
    sys.stdin.read()
"""
CONFIGURATION = re.findall(r"```ini\n(.*?)```", (ROOT / "docs/how-to/tls.md").read_text(), re.DOTALL)[0]


def said_of_app_run(folder: Path, configuration: str) -> tuple[int, str]:
    """Return sslyze's exit code and what it says of an application under ``OPENSSL_CONF``."""
    pair = generate_self_signed_cert(folder / "certs")
    (folder / "openssl.cnf").write_text(configuration)
    server = subprocess.Popen(
        [sys.executable, "-c", APP, pair.certificate, pair.key],
        env={**os.environ, "OPENSSL_CONF": str(folder / "openssl.cnf")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    with server:
        assert server.stdout is not None
        return scan(int(server.stdout.readline()), folder / "certs" / "ca.pem")


def test_it_finds_nothing_but_the_curves(tmp_path: Path) -> None:
    code, said = said_of_app_run(tmp_path, "")

    faults = re.findall(r"^ +\* (\w+):", said, re.MULTILINE)
    assert (code, faults) == (1, ["tls_curves"]), said


def test_with_the_file_of_the_docs_it_finds_nothing(tmp_path: Path) -> None:
    code, said = said_of_app_run(tmp_path, CONFIGURATION)

    assert (code, "OK - Compliant" in said) == (0, True), said
