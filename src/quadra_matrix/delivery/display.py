"""What a rollout looks like: as JSON, as plain lines, and as a live table on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from quadra_matrix.delivery.model import Finding, MetricVerdict, Observation, Rollout
from quadra_matrix.delivery.planfile import as_document
from quadra_matrix.errors import MissingExtra

if TYPE_CHECKING:
    from rich.console import Console, Group

Watch = Callable[[Rollout, Observation], None]


def as_json(rollout: Rollout, seen: Observation | None = None) -> dict[str, Any]:
    """Return a rollout as a JSON document."""
    at = rollout.progress
    return {
        "rollout": rollout.name,
        "kind": rollout.kind,
        "stable": at.stable,
        "candidate": at.candidate,
        "phase": at.phase,
        "step": at.step,
        "asked": dict(at.asked.weights) if at.asked else None,
        "actual": dict(seen.route.weights) if seen else dict(at.sent.weights) if at.sent else None,
        "paused": at.orders.paused,
        "finding": at.verdict.finding,
        "because": at.because or at.verdict.because,
        "metrics": [metric_json(one) for one in at.verdict.metrics],
        "started": rollout.started,
        "ended": rollout.ended,
        "plan": as_document(rollout.plan),
    }


def metric_json(one: MetricVerdict) -> dict[str, Any]:
    """Return one metric's verdict as JSON values."""
    return {
        "metric": one.metric,
        "finding": one.finding,
        "because": one.because,
        "stable": {"requests": one.stable.total, "bad": one.stable.events, "rate": list(one.stable_rate)},
        "candidate": {"requests": one.candidate.total, "bad": one.candidate.events, "rate": list(one.candidate_rate)},
        "evidence": {
            "worse": one.e_worse,
            "better": one.e_better,
            "needed": one.needed,
            "needed_to_pass": one.needed_to_pass,
        },
        "dispersion": one.dispersion,
    }


def line(rollout: Rollout, seen: Observation) -> str:
    """Return one look as one plain line."""
    at = rollout.progress
    asked = at.asked.share(at.candidate) if at.asked else 0.0
    parts = [
        f"{at.phase}",
        f"step {at.step + 1}/{len(rollout.plan.steps)}",
        f"{at.candidate} {seen.route.share(at.candidate):g} % of {asked:g} % asked",
        f"{at.phase_time:.0f} s",
    ]
    parts += [metric_words(one) for one in at.verdict.metrics]
    return "  ".join([*parts, *([at.because] if at.because else [])])


def metric_words(one: MetricVerdict) -> str:
    """Return one metric's rates and finding, short."""
    mine, theirs = one.candidate.rate or 0.0, one.stable.rate or 0.0
    return f"{one.metric} {mine:.2%} against {theirs:.2%} {one.finding}"


def plain(say: Callable[[str], None]) -> Watch:
    """Return a watch that says a line when the phase, the share or the finding changes."""
    last: list[object] = []

    def watch(rollout: Rollout, seen: Observation) -> None:
        at = rollout.progress
        now = [at.phase, at.step, at.sent, at.verdict.finding, at.orders.paused]
        if now != last:
            last[:] = now
            say(line(rollout, seen))

    return watch


@contextmanager
def live(console: Console | None = None) -> Iterator[Watch]:
    """Yield a watch that redraws a table on the terminal, or on another console."""
    try:
        from rich.live import Live
    except ImportError as missing:
        raise MissingExtra("rich", "delivery") from missing
    with Live(console=console, auto_refresh=False) as screen:

        def watch(rollout: Rollout, seen: Observation) -> None:
            screen.update(_table(rollout, seen), refresh=True)

        yield watch


COLOUR = {Finding.WORSE: "red", Finding.NOT_WORSE: "green", Finding.UNDECIDED: "yellow"}


def _table(rollout: Rollout, seen: Observation) -> Group:
    """Return the picture of a rollout: its steps, and the evidence by metric."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    at = rollout.progress
    head = Text(f"{rollout.kind} {at.stable} to {at.candidate}: {at.phase}, {at.phase_time:.0f} s", style="bold")
    steps = Text("  ".join(_step_words(rollout, place) for place in range(len(rollout.plan.steps))))
    asked = at.asked.share(at.candidate) if at.asked else 0.0
    share = Text(f"{at.candidate}: {seen.route.share(at.candidate):g} % of the traffic, {asked:g} % asked")
    evidence = Table("metric", at.stable, at.candidate, "evidence worse", "evidence better", "finding", box=None)
    for one in at.verdict.metrics:
        evidence.add_row(
            one.metric,
            _interval(one.stable_rate, one.stable.total),
            _interval(one.candidate_rate, one.candidate.total),
            f"{one.e_worse:.3g} of {one.needed:.3g}",
            f"{one.e_better:.3g} of {one.needed_to_pass:.3g}",
            Text(one.finding, style=COLOUR[one.finding]),
        )
    because = Text(at.because or ("paused" if at.orders.paused else ""))
    return Group(head, steps, share, evidence, because)


def _step_words(rollout: Rollout, place: int) -> str:
    """Return one step: passed, under way or to come."""
    at, share = rollout.progress, f"{rollout.plan.share_at(place):g} %"
    if place < at.step:
        return f"[done {share}]"
    return f"[now {share}]" if place == at.step else f"[{share}]"


def _interval(rate: tuple[float, float], requests: int) -> str:
    return f"{rate[0]:.2%} to {rate[1]:.2%} of {requests}"
