"""How long hostile bodies keep a validated route busy: processor time of each refusal, best of several rounds.

Run: python -m bench.hostile [--rounds N] [--write]. A body of a megabyte whose every byte was chosen to cost may take
longer than the 100 ms that the others have; such bodies are marked.
"""

import argparse
import json
import platform
import sys
import time
from pathlib import Path

from tests.api.hostile import HOSTILE
from tests.api.test_validated import app_with_routes

GOAL = 100.0
"""Milliseconds of processor time."""
CRAFTED = {"very many unknown keys", "very many empty lists"}
RESULTS = Path(__file__).parent / "results" / "hostile.json"


def milliseconds(rounds: int) -> dict[str, float]:
    """Return the least time of each body."""
    client = app_with_routes().test_client()
    least = dict.fromkeys(HOSTILE, float("inf"))
    for _ in range(rounds):
        for name, body in HOSTILE.items():
            began = time.process_time()
            answer = client.post("/sum", data=body, content_type="application/json")
            spent = (time.process_time() - began) * 1000
            if not 400 <= answer.status_code < 500:
                sys.exit(f"{name}: answered {answer.status_code}")
            least[name] = min(least[name], spent)
    return least


def main() -> None:
    """Measure and print a table; exit 1 when a body that is not marked takes longer than the goal."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--write", action="store_true", help="keep the figures in bench/results")
    options = asked.parse_args()
    found = milliseconds(options.rounds)
    for name, spent in found.items():
        print(f"{name:28} {spent:8.1f} ms{'  (crafted)' if name in CRAFTED else ''}")
    if options.write:
        kept = {"python": platform.python_version(), "rounds": options.rounds, "milliseconds": found}
        RESULTS.write_text(json.dumps(kept, indent=2) + "\n")
    slow = [name for name, spent in found.items() if spent > GOAL and name not in CRAFTED]
    sys.exit(f"over {GOAL:g} ms: {slow}" if slow else 0)


if __name__ == "__main__":
    main()
