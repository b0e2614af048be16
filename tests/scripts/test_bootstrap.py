"""The set-up on a Python without pip: the right wheel, whole, or nothing."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def wheel(tmp_path: Path) -> dict[str, Any]:
    """A wheel with one program, and its entry as uv.lock writes it."""
    path = tmp_path / "uv-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("uv-1.0.data/scripts/uv", "#!/bin/sh\necho ran\n")
        archive.writestr("uv/__init__.py", "")
    return {"url": path.as_uri(), "hash": "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()}


def test_the_lock_names_a_wheel_of_uv_for_this_machine(bootstrap: ModuleType) -> None:
    found = bootstrap.wheel_for_this_machine(bootstrap.locked_uv()["wheels"])

    assert found["url"].startswith("https://files.pythonhosted.org/")
    assert os.uname().machine in found["url"]
    assert found["hash"].startswith("sha256:")


def test_a_machine_without_a_wheel_is_told_what_to_install(bootstrap: ModuleType) -> None:
    with pytest.raises(SystemExit, match="python3-venv"):
        bootstrap.wheel_for_this_machine([{"url": "https://host/uv-1.0-py3-none-plan9_mips.whl"}])


def test_the_program_of_the_wheel_runs(bootstrap: ModuleType, wheel: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()

    bootstrap.unpack_uv(wheel, tmp_path / "bin")

    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["uv"]
    assert subprocess.run([tmp_path / "bin" / "uv"], capture_output=True, check=True).stdout == b"ran\n"


def test_a_wheel_with_another_hash_is_refused(bootstrap: ModuleType, wheel: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()

    with pytest.raises(SystemExit, match="nothing was installed"):
        bootstrap.unpack_uv({**wheel, "hash": "sha256:0"}, tmp_path / "bin")

    assert not list((tmp_path / "bin").iterdir())


def test_the_script_needs_only_the_standard_library() -> None:
    """-I and -S leave nothing else to import."""
    code = "import runpy; runpy.run_path('scripts/bootstrap.py', run_name='read')"

    subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=ROOT, check=True)


def test_make_alone_lists_the_jobs() -> None:
    listed = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)

    assert {"run", "test", "lint"} <= {line.split()[1] for line in listed.stdout.splitlines()}
