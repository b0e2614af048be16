"""A technology is a file name: only its owners import it; only named files read the environment, print or tell time."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "quadra_matrix"

OWNERS: dict[str, tuple[str, ...]] = {
    "acme": ("tls/acme.py",),
    "alembic": ("storage/migrations/*", "storage/sql/*"),
    "boto3": ("*/s3.py",),
    "botocore": ("*/s3.py",),
    "click": ("cli.py", "*/cli.py", "*/cli/*", "terminal.py"),
    "cryptography": ("tls/*",),
    "dask": ("service/jobs/dask.py",),
    "distributed": ("service/jobs/dask.py",),
    "duckdb": ("experiments/warehouse.py", "service/models/duckdb.py"),
    "envoy": ("delivery/envoy.py",),
    "flask": ("flask.py", "*/flask.py", "*/flask/*", "service/*"),
    "lightkube": ("delivery/kubernetes/cluster.py", "service/jobs/kubernetes.py"),
    "msgspec": ("api/msgspec.py",),
    "google": ("telemetry/otel/*",),
    "granian": ("service/*",),
    "grpc": ("telemetry/grpc.py",),
    "josepy": ("tls/acme.py",),
    "httpx2": ("delivery/kubernetes/cluster.py", "service/jobs/kubernetes.py"),
    "joserfc": ("access/jose.py", "testing/oidc.py"),
    "itsdangerous": ("*/flask.py", "*/flask/*", "service/*"),
    "ibis": ("experiments/warehouse.py",),
    "onnx": ("service/models/onnx.py",),
    "onnxruntime": ("service/models/onnxruntime.py",),
    "openfeature": ("experiments/openfeature.py",),
    "opentelemetry": ("telemetry/otel/*",),
    "packaging": ("supply/*",),
    "prometheus_client": ("telemetry/prometheus.py",),
    "pydantic_settings": ("service/settings.py",),
    "pyrage": ("*/age.py",),
    "requests": ("tls/acme.py", "tls/transport.py"),
    "redis": ("*/redis.py",),
    "skl2onnx": ("service/models/onnx.py",),
    "sklearn": ("service/models/sklearn/*",),
    "skops": ("service/models/skops.py",),
    "sqlalchemy": ("storage/sql/*", "storage/migrations/*"),
    "threadpoolctl": ("service/models/sklearn/*",),
    "sqlglot": ("experiments/warehouse.py",),
    "time": ("clock.py",),
    "rich": ("*/cli.py", "*/display.py"),
    "urllib3": ("tls/transport.py",),
    "websockets": ("service/jobs/follow.py",),
    "werkzeug": ("flask.py", "*/flask.py", "*/flask/*", "service/*"),
    "yaml": ("chaos/planfile.py", "delivery/planfile.py", "testing/kubernetes/bodies.py"),
}
"""Top-level package -> the files (below src/quadra_matrix) that may import it."""

READS_ENVIRONMENT = (
    "service/settings.py",
    "telemetry/environment.py",  # the promised and the standard variables set up tracing in any app, without Settings
)
PRINTS = ("cli.py", "*/cli.py", "*/cli/*", "terminal.py")

FILES = sorted(SRC.rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the top-level name of every absolute import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def reads_environment(node: ast.Attribute | ast.ImportFrom) -> bool:
    """Tell os.environ from the environ of a WSGI request."""
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and any(alias.name in {"environ", "getenv"} for alias in node.names)
    of_os = isinstance(node.value, ast.Name) and node.value.id == "os"
    return of_os and node.attr in {"environ", "getenv"}


def owned_by(place: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(place, pattern) for pattern in patterns)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_imports_only_what_it_owns(path: Path) -> None:
    place = str(path.relative_to(SRC))

    strays = {
        name for name in imported(ast.parse(path.read_text())) if name in OWNERS and not owned_by(place, OWNERS[name])
    }

    assert not strays, f"{place} imports {strays}; their owners are {[OWNERS[name] for name in strays]}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_only_settings_read_the_environment(path: Path) -> None:
    place = str(path.relative_to(SRC))
    if owned_by(place, READS_ENVIRONMENT):
        return

    reads = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute | ast.ImportFrom) and reads_environment(node)
    ]

    assert not reads, f"{place} reads the environment on lines {reads}; pass the setting in"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_only_commands_print(path: Path) -> None:
    place = str(path.relative_to(SRC))
    if owned_by(place, PRINTS):
        return

    prints = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]

    assert not prints, f"{place} prints on lines {prints}; return the value or log it"


def test_every_owner_pattern_names_a_technology_file() -> None:
    """The walk sees something: the table cannot pass because it looked at nothing."""
    assert len(FILES) > 5
    assert "click" in set(imported(ast.parse((SRC / "cli.py").read_text())))
