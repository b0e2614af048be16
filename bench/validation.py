"""What a validated route costs beside what a user would pick instead: CPU time of one process, interleaved rounds.

Run: python bench/validation.py [--rounds N] [--write]. Builds its environment with the versions below, once.
"""

import argparse
import io
import json
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = ("flask==3.1.3", "pydantic==2.14.3", "flask-openapi3==4.3.2", "apiflask==3.1.2", "spectree==3.0.0")
PYTHON = Path(tempfile.gettempdir()) / "quadra-bench-validation" / "bin" / "python"
OURS = "Quadra Matrix, validated"
ROWS = {"1 x 30": 1, "256 x 30": 256}
TARGETS = {
    "1 x 30": {"get_json + jsonify": 1.0, "flask-openapi3": 0.9},
    "256 x 30": {"get_json + pydantic + jsonify": 0.35},
}
"""Largest CPU of the validated route as a part of the peer's."""


def build() -> None:
    """Make the environment unless it is there, and run this file in it."""
    if not PYTHON.exists():
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, PYTHON.parent.parent], check=True)
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", PYTHON, *PEERS], check=True)
    done = subprocess.run(
        [PYTHON, __file__, "--inside", *sys.argv[1:]], cwd=ROOT, env={"PYTHONPATH": str(ROOT / "src")}
    )
    sys.exit(done.returncode)


def apps() -> Iterator[tuple[str, Any]]:
    """Yield each candidate: one POST route, floats in, a label and a score out."""
    from apiflask import APIFlask
    from flask import Flask, jsonify, request
    from flask_openapi3 import OpenAPI
    from pydantic import BaseModel
    from spectree import Response, SpecTree

    from quadra_matrix.api.flask import setup_problem_errors, validated

    class Rows(BaseModel):
        rows: list[list[float]]

    class Score(BaseModel):
        label: int
        score: float

    ours = Flask("ours")
    setup_problem_errors(ours)

    @ours.post("/")
    @validated
    def ours_view(body: Rows) -> Score:
        return Score(label=1, score=body.rows[0][0])

    yield OURS, ours

    bare = Flask("bare")

    @bare.post("/")
    def bare_view() -> Any:
        return jsonify(label=1, score=request.get_json()["rows"][0][0])

    yield "get_json + jsonify", bare

    glued = Flask("glued")

    @glued.post("/")
    def glued_view() -> Any:
        body = Rows.model_validate(request.get_json())
        return jsonify(Score(label=1, score=body.rows[0][0]).model_dump())

    yield "get_json + pydantic + jsonify", glued

    openapi3 = OpenAPI("openapi3")

    @openapi3.post("/", responses={200: Score})
    def openapi3_view(body: Rows) -> Any:
        return {"label": 1, "score": body.rows[0][0]}

    yield "flask-openapi3", openapi3

    tree_app, tree = Flask("spectree"), SpecTree("flask")

    @tree_app.post("/")
    @tree.validate(json=Rows, resp=Response(HTTP_200=Score))
    def tree_view() -> Any:
        return Score(label=1, score=request.context.json.rows[0][0])

    tree.register(tree_app)
    yield "spectree", tree_app

    apiflask = APIFlask("apiflask")

    @apiflask.post("/")
    @apiflask.input(Rows, arg_name="body")
    @apiflask.output(Score)
    def apiflask_view(body: Rows) -> Any:
        return {"label": 1, "score": body.rows[0][0]}

    yield "APIFlask", apiflask


def caller(app: Any, body: bytes) -> Callable[[], bytes]:
    """Return a function that sends one request through the app's WSGI door."""
    fixed = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }

    def call() -> bytes:
        chunks = app.wsgi_app({**fixed, "wsgi.input": io.BytesIO(body)}, lambda status, headers, error=None: None)
        answer = b"".join(chunks)
        chunks.close()
        return answer

    return call


def measure(rows: int, rounds: int) -> dict[str, list[float]]:
    """Return microseconds of CPU a request, one value a round; the candidates take turns."""
    chance = random.Random(7)
    body = json.dumps({"rows": [[chance.gauss(0, 1) for _ in range(30)] for _ in range(rows)]}).encode()
    calls = {name: caller(app, body) for name, app in apps()}
    for name, call in calls.items():
        assert json.loads(call())["label"] == 1, f"{name} does not answer"
    repeats = max(20, 1000 // rows)
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.process_time()
            for _ in range(repeats):
                call()
            spent[name].append((time.process_time() - began) / repeats * 1e6)
    return spent


def compared(spent: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return the median of each candidate and the median of the ratios of its rounds: neighbours slow both sides."""
    ours = spent[OURS]
    return {
        name: {
            "cpu_us": round(statistics.median(values), 1),
            "ours_to_it": round(statistics.median(a / b for a, b in zip(ours, values, strict=True)), 3),
        }
        for name, values in spent.items()
    }


def print_table(label: str, rows: dict[str, dict[str, float]]) -> None:
    """Print the figures as the documentation shows them."""
    print(f"\n| {label} floats | CPU us a request | ours / it |\n|---|---|---|")
    for name, figures in rows.items():
        print(f"| {name} | {figures['cpu_us']:.0f} | {figures['ours_to_it']:.2f} |")


def misses(results: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Return the targets that were missed, in words."""
    return [
        f"{label}: {results[label][peer]['ours_to_it']} of {peer}; the target is {most}"
        for label, targets in TARGETS.items()
        for peer, most in targets.items()
        if results[label][peer]["ours_to_it"] > most
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--write", action="store_true", help="write bench/results/validation.json")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        build()
    results = {label: compared(measure(rows, options.rounds)) for label, rows in ROWS.items()}
    for label, rows in results.items():
        print_table(label, rows)
    if options.write:
        machine = {"python": platform.python_version(), "machine": platform.machine(), "versions": list(PEERS)}
        written = {"machine": machine, "rounds": options.rounds, "results": results}
        (ROOT / "bench" / "results" / "validation.json").write_text(json.dumps(written, indent=2) + "\n")
    missed = misses(results)
    print("\n" + ("\n".join(missed) or "every target is met"))
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
