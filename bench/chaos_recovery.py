"""How often verdicts on recovery are false: ours, and those of a probe that answers well once or some times in a row.

Run: ``python bench/chaos_recovery.py`` (``--trials 1000``; ``--write`` keeps the JSON and the table in docs). Every
trial simulates a service whose true state is known: 600 probes of baseline at 20 a second, then probes until the time
to recover (60 s) is over. No clock and no network: the same seed gives the same figures.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from quadra_matrix.chaos.recovery import Baseline, Margins, baseline_of, recovered  # noqa: E402
from quadra_matrix.chaos.samples import Sample  # noqa: E402
from tests.chaos.simulated import (  # noqa: E402
    RATE,
    Service,
    back_after,
    failing,
    flapping,
    healthy,
    one_slow_replica,
    samples,
    slower,
)

RESULTS = ROOT / "bench" / "results" / "chaos_recovery.json"
PAGE = ROOT / "docs" / "explanation" / "chaos.md"
WINDOW, RTO = 600, 60.0
STATES: dict[str, tuple[Service, bool]] = {
    "healthy": (healthy, True),
    "back after 10 s": (back_after(10), True),
    "20 % errors": (failing(0.2), False),
    "5 % errors": (failing(0.05), False),
    "half as slow again": (slower(1.5), False),
    "one of 4 replicas +400 ms": (one_slow_replica, False),
    "flapping 5 s down, 5 s up": (flapping, False),
}
"""True state -> the service, and whether it recovers in time."""
Judge = Callable[[Baseline, Sequence[Sample]], bool]


def in_a_row(wanted: int) -> Judge:
    def judge(baseline: Baseline, after: Sequence[Sample]) -> bool:
        return all(sample.ok for sample in after[:wanted])

    return judge


def ours(baseline: Baseline, after: Sequence[Sample]) -> bool:
    found = recovered(baseline, after, Margins(), window=WINDOW, since=after[0].at)
    return found is not None and found.high <= RTO


JUDGES: dict[str, Judge] = {
    "1 good probe": in_a_row(1),
    "3 in a row": in_a_row(3),
    "10 in a row": in_a_row(10),
    "Quadra Matrix": ours,
}


def shares(service: Service, trials: int) -> dict[str, float]:
    """Return the share of trials that each judge calls recovered, in percent."""
    counts = dict.fromkeys(JUDGES, 0)
    for seed in range(trials):
        chance = random.Random(seed)
        baseline = baseline_of(samples(healthy, chance, WINDOW))
        phase = seed % 10 if service is flapping else 0.0  # a fault is lifted at any moment of its period
        after = samples(service, chance, int(RATE * RTO) + WINDOW, phase)
        assert baseline is not None
        for name, judge in JUDGES.items():
            counts[name] += judge(baseline, after)
    return {name: 100 * count / trials for name, count in counts.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found = {state: shares(service, options.trials) for state, (service, _) in STATES.items()}
    table = ["| true state | should be | " + " | ".join(JUDGES) + " |", "|---|---|" + "---|" * len(JUDGES)]
    for state, (_, is_recovered) in STATES.items():
        cells = " | ".join(f"{found[state][judge]:.1f}" for judge in JUDGES)
        table.append(f"| {state} | {100 * is_recovered} | {cells} |")
    print("\n".join(table))
    false = max(abs(100 * good - found[state]["Quadra Matrix"]) for state, (_, good) in STATES.items())
    print(f"largest share of false verdicts: {false:.1f} %")
    if options.write:
        RESULTS.write_text(json.dumps({"trials": options.trials, "recovered_percent": found}, indent=1) + "\n")
        text = "<!-- recovery -->\n" + "\n".join(table) + "\n<!-- /recovery -->"
        PAGE.write_text(re.sub(r"<!-- recovery -->.*<!-- /recovery -->", text, PAGE.read_text(), flags=re.DOTALL))
    return int(false >= 1)


if __name__ == "__main__":
    raise SystemExit(main())
