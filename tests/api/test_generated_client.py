"""A client that somebody else's generator writes from the document works against the app."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.example_app import KEY, make_app
from tests.api.serving import served


@pytest.mark.slow
@pytest.mark.parametrize("document", ["openapi.json", "openapi-3.1.json"])
def test_a_generated_client_finds_adds_and_deletes(
    document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, _ = make_app()
    package = f"shop_{document.count('.')}"
    source = tmp_path / "document.json"
    source.write_text(json.dumps(app.test_client().get(f"/api/{document}").json))
    programs = Path(sys.executable).parent
    done = subprocess.run(
        [
            *(programs / "openapi-python-client", "generate", "--meta", "none", "--fail-on-warning"),
            *("--path", source, "--output-path", tmp_path / package),
        ],
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.syspath_prepend(tmp_path)

    client_of = importlib.import_module(package)
    item = importlib.import_module(f"{package}.models.item").Item
    add = importlib.import_module(f"{package}.api.items.add")
    find = importlib.import_module(f"{package}.api.default.find")
    remove = importlib.import_module(f"{package}.api.default.item_delete")
    with served(app) as address, client_of.Client(address) as client:
        added = add.sync(client=client, body=item(name="pen", price=1.5))
        refused = add.sync_detailed(client=client, body=item(name="", price=1.5))
        found = find.sync(client=client, limit=2, tag=["a", "b"])
    with served(app) as address:
        guarded = client_of.AuthenticatedClient(address, token=KEY, prefix="", auth_header_name="X-Api-Key")
        with guarded:
            removed = remove.sync_detailed(number=1, client=guarded)

    assert (added.number, added.name) == (1, "pen")
    assert refused.status_code == 422
    assert refused.parsed.errors[0].pointer == "#/name"
    assert [each.number for each in found] == [0, 1]
    assert removed.status_code == 204
