"""The shop window and its reference page name the same things, and looking in loads nothing heavy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import quadra_matrix.flask

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "library.md"


def test_every_public_name_is_documented_and_nothing_else_is() -> None:
    documented = set(re.findall(r"^## `(\w+)`", REFERENCE.read_text(), re.MULTILINE))

    assert documented == set(quadra_matrix.flask.__all__)


def test_every_public_name_exists() -> None:
    assert all(callable(getattr(quadra_matrix.flask, name)) for name in quadra_matrix.flask.__all__)


def test_the_window_loads_nothing_heavy() -> None:
    program = "import sys, quadra_matrix.flask; print(*{name.split('.')[0] for name in sys.modules})"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert not {"scipy", "numpy", "duckdb", "sqlalchemy", "opentelemetry", "kubernetes", "redis"} & set(loaded.split())
