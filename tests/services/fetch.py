"""Servers that Debian does not package, fetched or built once and kept in the user's cache: Zipkin and Jaeger.

``python3 tests/services/fetch.py zipkin jaeger`` does so. The tests fetch Zipkin by themselves; Jaeger takes minutes to
build, so they only wait for a build that runs. Only the standard library is needed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quadra-matrix-tests"

ZIPKIN_VERSION = "3.5.1"
ZIPKIN = (
    f"https://repo1.maven.org/maven2/io/zipkin/zipkin-server/{ZIPKIN_VERSION}/zipkin-server-{ZIPKIN_VERSION}-exec.jar"
)
ZIPKIN_SHA256 = "7ac633a6832647e71e50012a5e3e91fbc7054414955261724526030faf271d8d"

JAEGER = "github.com/jaegertracing/jaeger"
JAEGER_VERSION = "v1.76.0"
"""The newest commit of Jaeger's main branch that has a version in Go's sense."""
JAEGER_PROGRAM_VERSION = "2.13.0"
"""Of the program: that commit has both versions."""
JAEGER_PROGRAM = CACHE / f"jaeger-{JAEGER_VERSION}"
LONGEST_BUILD = 600.0
"""Seconds that building Jaeger may take: it and its modules are a gigabyte of source."""
GO_PLACES = "/usr/local/go/bin:/usr/lib/go/bin"


class Unavailable(Exception):
    """A server cannot be had on this machine; says why."""


def zipkin() -> Path:
    """Return Zipkin's server, an executable jar; download it if it is not there."""
    jar = CACHE / f"zipkin-{ZIPKIN_VERSION}.jar"
    with _one_at_a_time("zipkin"):
        if not jar.exists():
            _download(ZIPKIN, ZIPKIN_SHA256, jar)
    return jar


def jaeger() -> Path:
    """Return Jaeger's program; build it if it is not there. Go checks what it downloads against its own sums."""
    go = shutil.which("go") or shutil.which("go", path=GO_PLACES)
    with _one_at_a_time("jaeger"):
        if not JAEGER_PROGRAM.exists():
            if go is None:
                raise Unavailable("go is missing; install it from https://go.dev/dl (Debian's is too old for Jaeger)")
            _build(go, JAEGER_PROGRAM)
    return JAEGER_PROGRAM


def built_jaeger() -> Path:
    """Return Jaeger's program, once a build that another process runs has ended."""
    with _one_at_a_time("jaeger"):
        if not JAEGER_PROGRAM.exists():
            raise Unavailable("Jaeger is not built; with Go, build it by: python3 tests/services/fetch.py jaeger")
    return JAEGER_PROGRAM


def _download(url: str, sha256: str, target: Path) -> None:
    unready = target.with_suffix(".new")  # an interrupted run must not leave half a file behind
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, unready.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except OSError as failed:
        raise Unavailable(f"{url} cannot be fetched: {failed}") from failed
    with unready.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        unready.unlink()
        raise Unavailable(f"{url} has the hash {found}, not the one it had when this was written")
    unready.replace(target)


def _build(go: str, target: Path) -> None:
    """Build in a copy of the source: ``go install`` refuses a module that replaces another one, as Jaeger does."""
    with tempfile.TemporaryDirectory(prefix="jaeger-") as folder:
        (Path(folder) / "go.mod").write_text("module fetch\n")
        downloaded = _run([go, "mod", "download", "-json", f"{JAEGER}@{JAEGER_VERSION}"], cwd=Path(folder), limit=120)
        source = Path(folder) / "source"
        shutil.copytree(json.loads(downloaded)["Dir"], source)
        source.chmod(0o755)
        unready = target.with_suffix(".new")
        _run([go, "build", "-trimpath", "-ldflags=-s -w", "-o", unready, "./cmd/jaeger"], source, LONGEST_BUILD)
        unready.replace(target)


def _run(command: list[str | Path], cwd: Path, limit: float) -> str:
    """Return what a command wrote; end it and everything it started after ``limit`` seconds."""
    with subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise Unavailable(f"Jaeger was not built within {limit:g} s on this machine") from None
    if process.returncode:
        raise Unavailable(f"Jaeger cannot be built: {(errors or output)[-2000:]}")
    return output


@contextlib.contextmanager
def _one_at_a_time(name: str) -> Iterator[None]:
    """Let one process fetch; the others wait and find what it fetched."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(names: list[str]) -> int:
    """Fetch the named servers; tell which could not be had."""
    known = {"zipkin": zipkin, "jaeger": jaeger}
    failed = 0
    for name in names or known:
        try:
            sys.stdout.write(f"{name}: {known[name]()}\n")
        except Unavailable as reason:
            failed += 1
            sys.stderr.write(f"{name}: {reason}\n")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
