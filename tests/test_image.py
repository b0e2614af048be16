"""The image: what its files promise, and a real build and run where a container engine answers."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from quadra_matrix.service.secret import new_secret
from quadra_matrix.service.settings import Settings, variables
from tests.services.process import free_port, wait_until

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_only_wheels_reach_the_engine() -> None:
    """What is not sent cannot leak into a layer."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    copied = [line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("COPY") and "--from" not in line]
    assert rules == ["*", "!build/wheels"]
    assert copied == ["build/wheels"]


def test_the_image_runs_as_nobody_special_and_asks_itself_how_it_is() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]

    assert "USER 10001:10001" in last
    assert 'CMD ["quadra", "health"]' in last
    assert "--require-hashes" in DOCKERFILE


def test_compose_sets_options_that_exist() -> None:
    known = {variable for name in Settings.model_fields for variable in variables(name)}

    assert set(COMPOSE["services"]["quadra"]["environment"]) <= known


def test_compose_starts_nothing_without_its_secrets_and_opens_nothing_to_the_network() -> None:
    environment = {**COMPOSE["services"]["quadra"]["environment"], **COMPOSE["services"]["postgres"]["environment"]}
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]

    assert "${SECRET_KEY:?" in environment["SECRET_KEY"]
    assert "${POSTGRES_PASSWORD:?" in environment["POSTGRES_PASSWORD"]
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_extras_of_the_image_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    line = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("IMAGE_EXTRAS"))

    assert set(line.partition(":=")[2].split()) <= set(project["optional-dependencies"])


@pytest.fixture
def image() -> Iterator[str]:
    """The image, built here; skips where no engine answers, since none can be started without being root."""
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no container engine answers; install one with: apt-get install docker.io")
    name = "quadra-matrix:test"
    made = subprocess.run(["make", "image", f"IMAGE={name}"], cwd=ROOT, capture_output=True, text=True, timeout=1500)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    yield name
    docker("image", "rm", "--force", name)


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_the_image_serves_with_a_read_only_root_and_no_privilege(image: str) -> None:
    port = free_port()
    started = docker(
        "run", "--detach", "--read-only", "--tmpfs", "/tmp", "--volume", "/data", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", "--env", f"SECRET_KEY={new_secret()}", "--env", "QUADRA_TRUSTED_HOPS=1",
        "--publish", f"127.0.0.1:{port}:5000", image,
    )  # fmt: skip
    try:
        status = "{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}"
        wait_until(lambda: docker("inspect", "--format", status, started) == "running healthy", "health", within=120)
        health = json.loads(docker("exec", started, "quadra", "health", "--json"))

        assert health["status"] in {"ok", "degraded"}
        assert docker("exec", started, "id", "-u") == "10001"
        labels = json.loads(docker("inspect", "--format", "{{json .Config.Labels}}", started))
        assert labels["org.opencontainers.image.title"] == "Quadra Matrix"
    finally:
        docker("rm", "--force", "--volumes", started)
