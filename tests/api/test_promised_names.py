"""The import names that were promised."""

from __future__ import annotations

from flask import Flask

from utils.api_docs import setup_api_documentation


def test_the_promised_call_serves_the_promised_addresses() -> None:
    app = Flask(__name__)

    documentation = setup_api_documentation(app)

    client = app.test_client()
    assert {client.get(f"/api/{name}").status_code for name in ("docs", "redoc", "openapi.json")} == {200}
    assert documentation.openapi()["openapi"].startswith("3.0")
