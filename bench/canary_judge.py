"""How often does a rule send a healthy canary back, and how fast a broken one? Six rules on the same simulated traffic.

    nice python bench/canary_judge.py [--runs 1000]

Poisson requests, steps of 10-25-50-75-100 %, 120 s each, a look every 5 s. The peers' rules are written down again from
their sources; ours is the arithmetic of quadra_matrix.delivery.judge, vectorised here and checked against it at the
start. Excess errors are those the canary made beyond what stable would have made on the same requests.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
from scipy.special import betaln

from quadra_matrix.delivery import judge
from quadra_matrix.delivery.counters import Counters
from quadra_matrix.delivery.model import Finding, Memory
from quadra_matrix.delivery.plan import Limits, Plan
from quadra_matrix.stats.risk import FEWEST_TICKS, UNKNOWN_DISPERSION, log_grid

TICK = 5.0
PLAN = Plan()
SHARES = np.array([PLAN.share_at(i) / 100 for i in range(len(PLAN.steps))])
PASS = PLAN.limits.alpha
LEVEL = PLAN.limits.alpha * 2 / 3  # the default plan judges errors and latency, errors twice
COMPARED = LEVEL * (1 - judge.GUARD_SHARE)
GUARD = LEVEL * judge.GUARD_SHARE / len(PLAN.steps)
WORSE = np.array(log_grid(1.5, 50.0))
BETTER = np.array(log_grid(0.5, 1.5, 9))
WARM_UP = int(PLAN.baseline / TICK)

Rates = Callable[[float, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class World:
    """Traffic, and the chance of a bad event of either version at a time of the rollout (seconds), for every run."""

    name: str
    rate: float
    stable: Rates
    canary: Rates
    healthy: bool
    base: float = 0.01


@dataclass
class Outcome:
    """What a rule did in every run."""

    back: np.ndarray
    at: np.ndarray
    excess: np.ndarray
    held: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    bad: np.ndarray = field(default_factory=lambda: np.zeros(0))


def constant(rate: float) -> Rates:
    return lambda at, chance: np.full(len(chance), rate)


def outage(base: float, level: float, start: float, end: float) -> Rates:
    return lambda at, chance: np.full(len(chance), level if start <= at < end else base)


def bursts(base: float, level: float, lasts: float, every: float, seed: int) -> Rates:
    """Bursts of errors that hit each run of this version on their own."""
    random, until, last = np.random.default_rng(seed), {}, [0.0]

    def rate(at: float, chance: np.ndarray) -> np.ndarray:
        ends = until.setdefault(len(chance), np.full(len(chance), -1e9))
        if at < last[0]:
            ends[:] = -1e9  # the next rollout of the simulation
        last[0] = at
        starts = (random.random(len(chance)) < TICK / every) & (ends <= at)
        ends[starts] = at + lasts
        return np.where(ends > at, level, base)

    return rate


def flapping(base: float, level: float) -> Rates:
    return lambda at, chance: np.full(len(chance), level if at >= 0 and at % 60 < 10 else base)


def draw(world: World, at: float, share: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return a tick's requests and bad events of canary and stable, for every run."""
    canary = random.poisson(world.rate * TICK * share)
    stable = random.poisson(world.rate * TICK * (1 - share))
    return (
        canary,
        random.binomial(canary, world.canary(at, canary)),
        stable,
        random.binomial(stable, world.stable(at, stable)),
    )


def log_share(ratio: np.ndarray, canary: np.ndarray, stable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    weight = ratio * canary
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(weight / (weight + stable)), np.log(stable / (weight + stable))


def gain(ratios: np.ndarray, null: float, nc: np.ndarray, ec: np.ndarray, ns: np.ndarray, es: np.ndarray) -> np.ndarray:
    """Return the log likelihood ratios of a tick, one row for each ratio."""
    top, rest = log_share(ratios[:, None], nc, ns)
    top0, rest0 = log_share(np.array([[null]]), nc, ns)
    with np.errstate(invalid="ignore"):
        found = ec * (top - top0) + es * (rest - rest0)
    return np.where((nc > 0) & (ns > 0), found, 0.0)


def log_mean_exp(logs: np.ndarray) -> np.ndarray:
    top = logs.max(0)
    return top + np.log(np.exp(logs - top).mean(0))


def dispersion(events: np.ndarray, requests: np.ndarray, ticks: int) -> np.ndarray:
    """Return stable's overdispersion over its remembered ticks: rows are ticks."""
    if ticks < FEWEST_TICKS:
        return np.full(events.shape[1], UNKNOWN_DISPERSION)
    total, bad = requests.sum(0), events.sum(0)
    mu = requests * (bad / np.maximum(total, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(mu > 0, (events - mu) ** 2 / mu, 0.0)
    counted = np.maximum((requests > 0).sum(0), 1)
    return np.where(bad > 0, np.maximum(1.0, terms.sum(0) / counted), UNKNOWN_DISPERSION)


def excluded(n: np.ndarray, e: np.ndarray, p: np.ndarray | float, alpha: float) -> np.ndarray:
    """Tell for which runs the beta-binomial bound excludes the rate p."""
    allowed = betaln(e + 0.5, n - e + 50.0) - betaln(0.5, 50.0) + np.log(alpha)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(e > 0, e * np.log(p), 0.0) + (n - e) * np.log1p(-p) <= allowed


def edge(n: np.ndarray, e: np.ndarray, alpha: float, outside: float) -> np.ndarray:
    out, best = np.full(len(n), outside), e / np.maximum(n, 1)
    inside = best.copy()
    for _ in range(40):
        middle = (out + inside) / 2
        cut = excluded(n, e, np.clip(middle, 1e-12, 1 - 1e-12), alpha)
        out, inside = np.where(cut, middle, out), np.where(cut, inside, middle)
    return out


def apart(totals: np.ndarray, level: float) -> np.ndarray:
    """Return the largest difference of the rates that is still possible."""
    nc, ec, ns, es = totals
    low = np.where(es > 0, edge(ns, es, level / 2, 0.0), 0.0)
    return edge(nc, ec, level / 2, 1.0) - low


def spent(ticks: int) -> float:
    return (1 - judge.FROM_THE_START) * ticks / (judge.LATE_TICKS + ticks)


def mixed(worse: np.ndarray, late: np.ndarray, ticks: int) -> np.ndarray:
    to_come = np.log(1 - judge.FROM_THE_START - spent(ticks))
    first = np.log(judge.FROM_THE_START) + log_mean_exp(worse)
    return np.logaddexp(np.logaddexp(first, log_mean_exp(late)), to_come)


def ours(
    world: World,
    runs: int,
    random: np.random.Generator,
    *,
    guard: bool = True,
    clumps: bool = True,
    history: float = PLAN.baseline,
) -> Outcome:
    """Judge every run with our rule until it went back, was promoted or was held.

    ``history`` are the seconds for which stable was watched before; without ``clumps`` they are ignored.
    """
    base = base_of(world)
    compared = COMPARED if guard else COMPARED / 2
    worse, better = np.zeros((len(WORSE), runs)), np.zeros((len(BETTER), runs))
    late, ticks, peak = np.full((len(WORSE), runs), -np.inf), 0, np.full(runs, -np.inf)
    totals, here = np.zeros((4, runs)), np.zeros((4, runs))
    events, requests = np.zeros((0, runs)), np.zeros((0, runs))
    step, watched = np.zeros(runs, int), np.zeros(runs)
    live, back, held = np.ones(runs, bool), np.zeros(runs, bool), np.zeros(runs, bool)
    at, excess, bad, now = np.zeros(runs), np.zeros(runs), np.zeros(runs), -history
    while live.any():
        warming = now < 0
        share = np.zeros(runs) if warming else np.where(live, SHARES[np.minimum(step, len(SHARES) - 1)], 0.0)
        nc, ec, ns, es = draw(world, now, share, random)
        phi = dispersion(events, requests, len(events)) if clumps else np.ones(runs)
        events, requests = np.vstack([events, es])[-judge.HISTORY :], np.vstack([requests, ns])[-judge.HISTORY :]
        now += TICK
        if warming:
            continue
        tick = np.where(live, np.array([nc, ec, ns, es]), 0)
        gained = gain(WORSE, 1.0, *tick) / phi
        worse, late, ticks = (
            worse + gained,
            np.logaddexp(late, np.log(spent(ticks + 1) - spent(ticks))) + gained,
            ticks + 1,
        )
        peak = np.maximum(peak, mixed(worse, late, ticks))
        better += gain(BETTER, 2.0, *tick) / phi
        totals, here, watched = totals + tick, here + tick, watched + TICK
        excess += np.where(live, ec - nc * base, 0)
        bad += np.where(live, ec, 0)
        rate_c, rate_s = totals[1] / np.maximum(totals[0], 1), totals[3] / np.maximum(totals[2], 1)
        turn = (peak >= -np.log(compared)) & (rate_c - rate_s >= PLAN.limits.points)
        if guard:
            turn |= breaks_guard(here)
        turn &= live
        back[turn], at[turn] = True, now
        live &= ~turn
        due = live & (watched >= PLAN.steps[0].seconds)
        enough = due & (log_mean_exp(better) >= -np.log(PASS))
        open_ = due & ~enough
        if open_.any():
            enough[open_] = apart(totals[:, open_], PASS) <= PLAN.limits.enough_points
        over = due & ~enough & (watched >= PLAN.patience)
        held |= over
        at[over], live = now, live & ~over
        step[enough], watched[enough] = step[enough] + 1, 0.0
        here[:, enough] = 0
        done = live & (step >= len(SHARES))
        at[done], live = now, live & ~done
    return Outcome(back, at, excess, held, bad)


def base_of(world: World) -> float:
    """Return stable's usual rate of bad events."""
    return world.base


def breaks_guard(here: np.ndarray) -> np.ndarray:
    nc, ec, ns, es = here
    guard = PLAN.limits.error_rate
    sure = (ec >= PLAN.limits.least_errors) & (ec > guard * nc) & excluded(nc, ec, guard, GUARD)
    fine = (ns == 0) | ((es < guard * ns) & excluded(ns, es, guard, GUARD))
    return sure & fine


def fixed_rules(world: World, runs: int, random: np.random.Generator) -> dict[str, Outcome]:
    """Judge the same steps by the rules that look at the canary alone, and by Kayenta's."""
    ticks = int(sum(step.seconds for step in PLAN.steps) / TICK)
    per_step = ticks // len(SHARES)
    drawn = []
    for tick in range(-WARM_UP, ticks):
        share = np.full(runs, PLAN.steps[tick // per_step].share / 100 if tick >= 0 else 0.0)
        drawn.append(draw(world, tick * TICK, share, random))
    nc, ec, ns, es = (np.array([one[i] for one in drawn[WARM_UP:]]) for i in range(4))
    base = base_of(world)
    spent = np.cumsum(ec - nc * base, axis=0)
    looks = {
        "5 % rule, step ends": five_percent(nc, ec, per_step, live=False),
        "5 % rule, live": five_percent(nc, ec, per_step, live=True),
        "Argo .95": argo(nc, ec, 0.95),
        "Argo .99": argo(nc, ec, 0.99),
        "Kayenta": kayenta(nc, ec, ns, es, per_step, min(runs, 200)),
    }
    if world.name.startswith("latency"):
        looks = {"Kayenta": looks["Kayenta"]}  # the others are given no latency
    found = {}
    for name, when in looks.items():
        n = len(when)
        back, last = when < ticks, np.minimum(when, ticks - 1)
        columns = np.arange(n)
        bad = np.cumsum(ec, axis=0)[last, columns]
        found[name] = Outcome(back, (last + 1) * TICK, spent[last, columns], np.zeros(n, bool), bad)
    if not world.name.startswith("latency"):
        for threshold in (5, 1):
            found[f"Flagger 99, threshold {threshold}"] = flagger(world, runs, random, threshold)
    return found


def first(failed: np.ndarray) -> np.ndarray:
    """Return the first tick at which a run failed, or the number of ticks."""
    return np.where(failed.any(0), failed.argmax(0), len(failed))


def windowed(values: np.ndarray, ticks: int) -> np.ndarray:
    total = np.cumsum(np.vstack([np.zeros((1, values.shape[1])), values]), axis=0)
    low = np.maximum(np.arange(1, len(values) + 1) - ticks, 0)
    return total[1:] - total[low]


def five_percent(nc: np.ndarray, ec: np.ndarray, per_step: int, *, live: bool) -> np.ndarray:
    """Above 5 % errors in the step so far: looked at every tick, or at its end."""
    ticks = np.arange(len(nc))
    start = ticks // per_step * per_step
    total_n = np.cumsum(np.vstack([np.zeros((1, nc.shape[1])), nc]), axis=0)
    total_e = np.cumsum(np.vstack([np.zeros((1, nc.shape[1])), ec]), axis=0)
    n, e = total_n[1:] - total_n[start], total_e[1:] - total_e[start]
    asked = np.ones(len(nc), bool) if live else (ticks + 1) % per_step == 0
    return first((e > 0.05 * n) & asked[:, None])


def argo(nc: np.ndarray, ec: np.ndarray, condition: float) -> np.ndarray:
    """Every 30 s the success rate of the last minute; the fourth failure is one too many (failureLimit 3)."""
    n, e = windowed(nc, 12), windowed(ec, 12)
    asked = (np.arange(len(nc)) + 1) % 6 == 0
    failed = (n > 0) & (1 - e / np.maximum(n, 1) < condition) & asked[:, None]
    return first(np.cumsum(failed, axis=0) > 3)


def flagger(world: World, runs: int, random: np.random.Generator, threshold: int) -> Outcome:
    """Every two minutes the success rate of the last one; a failed pass halts the weight and is never forgotten.

    It goes back at the pass after `threshold` failed ones.
    """
    step, failures = np.zeros(runs, int), np.zeros(runs, int)
    live, back, at = np.ones(runs, bool), np.zeros(runs, bool), np.zeros(runs)
    excess, bad, now = np.zeros(runs), np.zeros(runs), 0.0
    while live.any():
        window_n, window_e = np.zeros(runs), np.zeros(runs)
        for tick in range(24):
            share = np.array([one.share / 100 for one in PLAN.steps])[np.minimum(step, len(SHARES) - 1)]
            nc, ec, _, _ = draw(world, now, np.where(live, share, 0.0), random)
            now += TICK
            excess, bad = excess + ec - nc * world.base, bad + ec
            if tick >= 12:
                window_n, window_e = window_n + nc, window_e + ec
        turn = live & (failures >= threshold)
        back |= turn
        at[turn], live = now, live & ~turn
        failed = (window_n == 0) | (1 - window_e / np.maximum(window_n, 1) < 0.99)
        failures, step = failures + failed, step + ~failed
        live &= step < len(SHARES)
    return Outcome(back, at, excess, np.zeros(runs, bool), bad)


def kayenta(nc: np.ndarray, ec: np.ndarray, ns: np.ndarray, es: np.ndarray, per_step: int, runs: int) -> np.ndarray:
    """At each step's end Mann-Whitney over all points: High if the lower limit is above a quarter of the shift."""
    when = np.full(runs, len(nc))
    for run in range(runs):
        for end in range(per_step, len(nc) + 1, per_step):
            with np.errstate(divide="ignore", invalid="ignore"):
                x, y = ec[:end, run] / nc[:end, run], es[:end, run] / ns[:end, run]
            x, y = x[np.isfinite(x)], y[np.isfinite(y)]
            if len(x) and len(y) and is_high(x, y):
                when[run] = end - 1
                break
    return when


def is_high(x: np.ndarray, y: np.ndarray) -> bool:
    differences = np.sort((x[:, None] - y).ravel())
    shift = np.median(differences)
    m, n = len(x), len(y)
    _, ties = np.unique(np.concatenate([x, y]), return_counts=True)
    total = m + n
    spread = np.sqrt(max(m * n / 12 * (total + 1 - (ties**3 - ties).sum() / (total * (total - 1))), 0.0))
    lowest = int(np.clip(np.floor(m * n / 2 - 2.326 * spread), 0, m * n - 1))
    lower = differences[lowest]
    return bool(x.mean() > y.mean() and lower > 0.25 * abs(shift))


def agrees_with_the_judge(runs: int = 12) -> None:
    """Fail unless the vectorised rule finds what quadra_matrix.delivery.judge finds, tick by tick."""
    plan = Plan(limits=Limits(latency=False, alpha=LEVEL))
    for seed in range(runs):
        random = np.random.default_rng(seed)
        world = World("check", 50, constant(0.01), constant(0.01 * (1 + seed % 4)), healthy=False)
        memory, logs, better = Memory(), np.zeros((len(WORSE), 1)), np.zeros((len(BETTER), 1))
        late, ticks, peak = np.full((len(WORSE), 1), -np.inf), 0, -np.inf
        events, requests = np.zeros((0, 1)), np.zeros((0, 1))
        for tick in range(60):
            nc, ec, ns, es = draw(world, tick * TICK, np.array([0.0 if tick < 6 else 0.25]), random)
            seen = judge.Tick(Counters(int(ns[0]), int(es[0])), Counters(int(nc[0]), int(ec[0])))
            memory = judge.look(memory, plan, seen)
            phi = dispersion(events, requests, len(events))
            events, requests = np.vstack([events, es])[-judge.HISTORY :], np.vstack([requests, ns])[-judge.HISTORY :]
            tally = memory.tallies[0]
            if not nc[0]:
                continue
            gained = gain(WORSE, 1.0, nc, ec, ns, es) / phi
            logs, late = logs + gained, np.logaddexp(late, np.log(spent(ticks + 1) - spent(ticks))) + gained
            ticks += 1
            peak = max(peak, float(mixed(logs, late, ticks)[0]))
            better += gain(BETTER, 2.0, nc, ec, ns, es) / phi
            assert np.isclose(tally.against.log_e, mixed(logs, late, ticks)[0]), (seed, tick)
            assert np.isclose(tally.better.evidence.log_e, log_mean_exp(better)[0]), (seed, tick)
        verdict = judge.verdict(memory, plan)
        assert (verdict.finding is Finding.WORSE) == bool(
            peak >= -np.log(LEVEL * (1 - judge.GUARD_SHARE))
            and (tally.candidate.rate or 0) - (tally.stable.rate or 0) >= 0.0005
        ) or "guard" in verdict.because


def cells() -> list[World]:
    found = []
    for base in (0.001, 0.01, 0.06):
        for rate in (10.0, 50.0, 500.0):
            for times in (1, 2, 5, 10):
                name = f"{base:.1%}, {rate:g} rps, {times}x"
                found.append(World(name, rate, constant(base), constant(min(1.0, base * times)), times == 1, base))
    return found


def scenarios() -> list[World]:
    calm = constant(0.01)
    shared = outage(0.01, 0.2, 200, 260)
    late = outage(0.01, 0.1, 300, 1e5)
    found = [
        World("shared outage, 20 % for 60 s, 50 rps", 50, shared, shared, True),
        World(
            "independent bursts, 10 s of 10 %, 50 rps",
            50,
            bursts(0.01, 0.1, 10, 300, 1),
            bursts(0.01, 0.1, 10, 300, 2),
            True,
        ),
        World("canary broken, 50 rps", 50, calm, constant(1.0), False),
        World("canary broken, 10 rps", 10, calm, constant(1.0), False),
        World("late fault, 10 % from 300 s, 50 rps", 50, calm, late, False),
        World("flapping, 50 % for 10 s a minute, 50 rps", 50, calm, flapping(0.01, 0.5), False),
    ]
    # Log-normal latencies, sigma 0.5: a canary's request is slow above 1.2 times stable's p95.
    for times, slow in ((1.0, 0.0223), (1.2, 0.05), (1.5, 0.1155), (2.0, 0.2667)):
        for rate in (10.0, 50.0):
            name = f"latency {times:g}x, {rate:g} rps"
            found.append(World(name, rate, constant(0.05), constant(slow), times <= 1.2, 0.05))
    return found


def measured(outcome: Outcome) -> dict[str, float | None]:
    back = outcome.back
    return {
        "back": round(100 * float(back.mean()), 2),
        "held": round(100 * float(outcome.held.mean()), 1) if len(outcome.held) else 0.0,
        "seconds": float(np.median(outcome.at[back])) if back.any() else None,
        "p99_seconds": float(np.quantile(outcome.at[back], 0.99)) if back.any() else None,
        "excess": round(float(outcome.excess[back].mean()), 1) if back.any() else None,
        "errors": round(float(outcome.bad[back].mean()), 1) if back.any() else None,
    }


def table(results: dict[str, dict[str, dict[str, float | None]]]) -> str:
    """Return the results as Markdown: share that went back, median seconds, mean excess errors; i is held."""
    rules = list(
        dict.fromkeys(name for found in results.values() for name in found if "," not in name or "ours" not in name)
    )
    lines = ["| traffic | " + " | ".join(rules) + " |", "|---" * (len(rules) + 1) + "|"]
    for world, found in results.items():
        lines.append(f"| {world} | " + " | ".join(cell(found.get(rule)) for rule in rules) + " |")
        others, gap = [name for name in found if name not in rules], " |" * (len(rules) - 1)
        lines += [f"| {world}: {name} |{gap} {cell(found[name])} |" for name in others]
    return "\n".join(lines)


def cell(one: dict[str, float | None] | None) -> str:
    if one is None:
        return "-"
    parts = [f"{one['back']:g} %"]
    if one["seconds"] is not None:
        parts.append(f"{one['seconds']:g} s, {one['excess']:g}")
    return ", ".join(parts) + (f" ({one['held']:g}i)" if one["held"] else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--only", default="")
    parser.add_argument("--ours", action="store_true", help="leave the other rules out")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "canary_judge.json")
    parser.add_argument("--table", action="store_true", help="print the last results as Markdown and end")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.out.read_text())["results"]))
        return
    agrees_with_the_judge()
    results = {}
    for world in [*cells(), *scenarios()]:
        if options.only not in world.name:
            continue
        random = np.random.default_rng(Random(world.name).randrange(2**32))
        rules = {} if options.ours else fixed_rules(world, options.runs, random)
        guard = not world.name.startswith("latency")
        rules["ours"] = ours(world, options.runs, random, guard=guard)
        if "bursts" in world.name:
            rules["ours, half an hour of history"] = ours(world, options.runs, random, history=1800)
            rules["ours, blind to clumps"] = ours(world, options.runs, random, clumps=False)
        results[world.name] = {name: measured(outcome) for name, outcome in rules.items()}
        for name, found in results[world.name].items():
            if name.startswith("ours"):
                print(world.name, name, json.dumps(found), flush=True)
    options.out.parent.mkdir(exist_ok=True)
    if not options.only and not options.ours:
        options.out.write_text(json.dumps({"runs": options.runs, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
