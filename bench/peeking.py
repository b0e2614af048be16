"""What watching a test does to its promise: A/A tests read at 200 looks, by our tests, the z-test and gbstats.

Run: ``python bench/peeking.py`` (``--seeds 2000``). It prints the share of A/A tests that were ever called decided,
then the power and the mean stop of the group-sequential test at 1.05 times the planned size. Every number comes from
the product's own functions on the same draws; gbstats runs in an environment of its own (it needs numpy below 2).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import exp
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quadra_matrix.stats import power, ratio
from quadra_matrix.stats.arms import Counts, Mean, Sums, mean_of
from quadra_matrix.stats.evidence import NO_EVIDENCE
from quadra_matrix.stats.fixed import welch, z_test
from quadra_matrix.stats.sequential import confidence, converters, randomisation
from quadra_matrix.stats.sequential.confidence import Confidence
from quadra_matrix.stats.sequential.difference import Difference, of_means, of_rates
from quadra_matrix.stats.sequential.groups import GroupSequential, look
from quadra_matrix.stats.sequential.randomisation import Randomisation

LOOKS = 200
USERS = 40_000
ALPHA = 0.05
HERE = Path(__file__).parent
PEER = "gbstats==0.8.0"

Draw = NDArray[np.float64]
"""One test: look x arm x (users, sum, sum of squares), each look's own users."""


@dataclass(frozen=True)
class Cell:
    """One kind of test: its users and what they do."""

    name: str
    rate: float
    share: float
    sigma: float | None = None
    """Of the logarithm of a buyer's value; None for a yes-or-no outcome."""
    lift: float = 0.0
    users: int = USERS
    looks: int = LOOKS

    @property
    def binary(self) -> bool:
        return self.sigma is None


@dataclass
class Row:
    """How one method did in one cell."""

    cell: str
    method: str
    decided: int = 0
    tests: int = 0
    stops: list[float] = field(default_factory=list)

    def add(self, stop: int | None, looks: int) -> None:
        self.tests += 1
        self.decided += stop is not None
        self.stops.append(1.0 if stop is None else (stop + 1) / looks)

    @property
    def share(self) -> float:
        return self.decided / self.tests


def sigma_of(skewness: float, buyers: float) -> float:
    """Return the sigma at which revenue per user (log-normal among buyers, else 0) has this skewness."""
    low, high = 0.01, 4.0
    for _ in range(60):
        sigma = (low + high) / 2
        m1, m2, m3 = (buyers * exp(k * k * sigma * sigma / 2) for k in (1, 2, 3))
        skew = (m3 - 3 * m1 * m2 + 2 * m1**3) / (m2 - m1 * m1) ** 1.5
        low, high = (sigma, high) if skew < skewness else (low, sigma)
    return high


AA = [
    *(Cell(f"{rate:.1%}, {split}", rate, share) for split, share in (("50/50", 0.5), ("5/95", 0.05))
      for rate in (0.005, 0.05, 0.3)),
    *(Cell(f"revenue, skew {skew}, {split}", 0.05, share, sigma_of(skew, 0.05))
      for split, share in (("50/50", 0.5), ("5/95", 0.05)) for skew in (12, 132)),
]  # fmt: skip


def draw(cell: Cell, seed: int) -> Draw:
    """Simulate one test: users arrive evenly over the looks and are split by chance."""
    rng = np.random.default_rng([seed, int(cell.rate * 1e4), int(cell.share * 1e4), int((cell.sigma or 0) * 1e4)])
    treated = rng.binomial(cell.users // cell.looks, cell.share, cell.looks)
    sizes = np.stack([cell.users // cell.looks - treated, treated], axis=1)
    rates = np.array([cell.rate, cell.rate * (1 + cell.lift)])
    buyers = rng.binomial(sizes, rates)
    if cell.sigma is None:
        return np.stack([sizes, buyers, buyers], axis=2).astype(float)
    values = rng.lognormal(0.0, cell.sigma, int(buyers.sum()))
    owner = np.repeat(np.arange(buyers.size), buyers.ravel())
    sums, squares = (
        np.bincount(owner, weights, minlength=buyers.size).reshape(buyers.shape)
        for weights in (values, values * values)
    )
    return np.stack([sizes, sums, squares], axis=2)


def counts(look_: Draw) -> tuple[Counts, Counts]:
    """Return one look, or the sum of looks, of a yes-or-no outcome as the product takes it."""
    control, treatment = (Counts(int(n), int(events)) for n, events, _ in look_)
    return control, treatment


def means(look_: Draw) -> tuple[Mean, Mean]:
    """Return one look, or the sum of looks, of a metric as the product takes it."""
    control, treatment = (mean_of(Sums(int(n), float(total), float(squares))) for n, total, squares in look_)
    return control, treatment


def differences(cell: Cell, test: Draw) -> Iterator[Difference]:
    """Yield what is known of the difference at each look."""
    for so_far in test.cumsum(axis=0):
        yield of_rates(*counts(so_far)) if cell.binary else of_means(*means(so_far))


_bounds: dict[tuple[int, int], list[float]] = {}


def group_bounds(cell: Cell) -> list[float]:
    """Return the product's bounds at every look; they depend on the looks' sizes alone, so all seeds share them."""
    key = cell.users, cell.looks
    if key not in _bounds:
        state, _bounds[key] = GroupSequential(cell.users, ALPHA), []
        for i in range(cell.looks):
            state = look(state, (i + 1) * cell.users // cell.looks, None)
            _bounds[key].append(state.bound)
    return _bounds[key]


def group_sequential(cell: Cell, test: Draw) -> int | None:
    bounds = group_bounds(cell)
    for i, seen in enumerate(differences(cell, test)):
        z = seen.z()
        if z is not None and abs(z) >= bounds[i]:
            return i
    return None


def randomised(cell: Cell, test: Draw) -> int | None:
    state = Randomisation(cell.share, cell.users, ALPHA)
    for i, new in enumerate(test):
        state = randomisation.update(state, *counts(new))
        if state.evidence.rejects(ALPHA):
            return i
    return None


def on_converters(cell: Cell, test: Draw) -> int | None:
    evidence, planned = NO_EVIDENCE, round(cell.users * cell.rate)
    for i, so_far in enumerate(test.cumsum(axis=0)):
        control, treatment = (int(arm[1]) for arm in so_far)
        evidence = evidence.at(converters.log_e(control, treatment, share=cell.share, planned=planned, alpha=ALPHA))
        if evidence.rejects(ALPHA):
            return i
    return None


def sequence(cell: Cell, test: Draw) -> int | None:
    state = Confidence(cell.users, ALPHA)
    for i, seen in enumerate(differences(cell, test)):
        state = confidence.look(state, seen)
        if state.evidence.rejects(ALPHA):
            return i
    return None


def plain(cell: Cell, test: Draw) -> int | None:
    for i, so_far in enumerate(test.cumsum(axis=0)):
        found = z_test(*counts(so_far)) if cell.binary else welch(*means(so_far))
        if found.p_value is not None and found.p_value < ALPHA:
            return i
    return None


def split_check(cell: Cell, test: Draw) -> int | None:
    state = ratio.SampleRatio((1 - cell.share, cell.share))
    for i, new in enumerate(test):
        state = ratio.update(state, [int(arm[0]) for arm in new])
        if state.evidence.rejects(0.01):
            return i
    return None


Method = Callable[[Cell, Draw], int | None]
"""Returns the first look at which the test was called decided."""

OURS_BINARY: dict[str, Method] = {
    "group-sequential": group_sequential,
    "randomisation": randomised,
    "converters": on_converters,
    "confidence sequence": sequence,
    "sample ratio (1 %)": split_check,
}
OURS_MEANS: dict[str, Method] = {"group-sequential": group_sequential, "confidence sequence": sequence}


def methods_of(cell: Cell) -> dict[str, Method]:
    return OURS_BINARY if cell.binary else OURS_MEANS


def watch(cell: Cell, methods: dict[str, Method], seeds: int) -> list[Row]:
    """Run every method on the same simulated tests."""
    rows = {name: Row(cell.name, name) for name in methods}
    for seed in range(seeds):
        test = draw(cell, seed)
        for name, method in methods.items():
            rows[name].add(method(cell, test), cell.looks)
    return list(rows.values())


def watch_peer(cells: Sequence[Cell], seeds: int) -> list[Row]:
    """Run gbstats' sequential test on the same draws, in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        python = place / "venv" / "bin" / "python"
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(place / "venv")], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), PEER], check=True)
        places = [str(place / f"{i}.npz") for i in range(len(cells))]
        for path, cell in zip(places, cells, strict=True):
            tests = np.stack([draw(cell, seed).cumsum(axis=0) for seed in range(seeds)])
            np.savez(path, tests=tests, binary=cell.binary)
        command = [str(python), str(HERE / "peers" / "gbstats_peeking.py"), *places]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [Row(cell.name, PEER, decided, seeds) for cell, decided in zip(cells, json.loads(answer), strict=True)]


def effect_cells() -> list[Cell]:
    """Return tests whose effect one look at the planned size finds in 80 %; they run to 1.05 times that size."""
    cells = []
    for aa in (cell for cell in AA if cell.binary):
        fixed = power.detectable_rate(aa.rate, USERS, power.Question(share=aa.share))
        assert fixed.lift is not None
        cells.append(Cell(aa.name, aa.rate, aa.share, lift=fixed.lift, users=round(power.GROUP_SEQUENTIAL * USERS)))
    return cells


def table(rows: Sequence[Row]) -> str:
    """Return the shares of decided tests as Markdown, a method a column."""
    names = list(dict.fromkeys(row.method for row in rows))
    found = {(row.cell, row.method): f"{100 * row.share:.1f}" for row in rows}
    lines = [["cell", *names], ["---", *["--:"] * len(names)]]
    lines += [[cell, *(found.get((cell, n), "-") for n in names)] for cell in dict.fromkeys(r.cell for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def mean_stop(row: Row) -> float:
    """Return the mean stop in sizes of a single look, of which a test may use 1.05."""
    return power.GROUP_SEQUENTIAL * float(np.mean(row.stops))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=2000)
    seeds = options.parse_args().seeds

    wrong = [row for cell in AA for row in watch(cell, methods_of(cell) | {"z or Welch": plain}, seeds)]
    wrong += watch_peer(AA, seeds)
    print(f"A/A tests ever called decided, in %; {seeds} tests a cell, {LOOKS} looks, nominal 5 %\n\n{table(wrong)}\n")

    right = [row for cell in effect_cells() for row in watch(cell, {"group-sequential": group_sequential}, seeds)]
    for row in right:
        print(f"{row.cell:>14}: power {row.share:.3f}, mean stop {mean_stop(row):.3f} of the planned size")

    results = {
        "seeds": seeds,
        "looks": LOOKS,
        "users": USERS,
        "false_positives": {f"{row.cell} | {row.method}": row.share for row in wrong},
        "power": {row.cell: {"power": row.share, "mean_stop": mean_stop(row)} for row in right},
    }
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "peeking.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
