"""``quadra chaos``: break something on purpose, see that it is mended, say what that showed."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from quadra_matrix.chaos import doctor as machine
from quadra_matrix.chaos import planfile, report, suite
from quadra_matrix.chaos.engine import Surroundings, run
from quadra_matrix.chaos.guard import Allowed
from quadra_matrix.chaos.history import History, as_document
from quadra_matrix.chaos.interrupt import Interrupt, signals
from quadra_matrix.chaos.journal import Journal
from quadra_matrix.chaos.mend import mend_abandoned
from quadra_matrix.chaos.model import Experiment
from quadra_matrix.chaos.outcome import Outcome
from quadra_matrix.chaos.recovery import fewest
from quadra_matrix.chaos.repeated import repeated
from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.errors import FaultRemains
from quadra_matrix.events import Event
from quadra_matrix.events.chaos import ChaosPhaseBegan, FaultInjected, FaultLifted
from quadra_matrix.pids import lives
from quadra_matrix.terminal import json_option, print_json, print_table, remark

REMAINS = 5
"""Exit code where a fault may still be in place."""
STOP_WITHIN = 30.0
"""Seconds that a stopped experiment has to take its faults back."""
FOLDER = Path("quadra-data/chaos")


def _option(*names: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(*names, **options)


state_option = _option(
    "--state",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=FOLDER,
    show_default=True,
    help="Folder of the journal and the history; one for all experiments of a machine.",
)
RUNNING = (
    state_option,
    json_option,
    _option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML there."),
    _option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write Markdown there."),
    _option("--allow-production", is_flag=True, help="Also where the target's environment is production."),
    _option("--allow-public", is_flag=True, help="Also where the target's address is public."),
)
AIMED = (
    _option("--base-url", default=suite.BASE_URL, show_default=True, help="Address of the service."),
    _option("--path", default="/health", show_default=True, help="What probes ask, unless the address names it."),
    _option("--pid", type=click.IntRange(2), help="Process of the service; found by its port on this machine."),
    _option("--environment", default="development", show_default=True, help="Where the service runs."),
    _option("--duration", type=click.FloatRange(0, min_open=True), default=30.0, show_default=True, help="Seconds."),
)


def options(*groups: Sequence[Callable[[Callable[..., Any]], Callable[..., Any]]]) -> Callable[..., Any]:
    """Return a decorator that adds every option of the groups."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for group in reversed(groups):
            for option in reversed(group):
                command = option(command)
        return command

    return add


@click.group()
def chaos() -> None:
    """Break something on purpose; it is mended whatever happens.

    Exit codes: 0 passed; 1 deviated or not recovered; 2 usage; 3 not steady before any fault; 4 the fault did not
    arrive; 5 a fault may remain; 6 refused by a guard; 7 this machine lacks something; 130 and 143 interrupted.
    """


@chaos.command("run")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options(RUNNING)
@click.option("--repeat", type=click.IntRange(1, 1000), default=1, show_default=True, help="Run so many times.")
def run_file(file: Path, repeat: int, **how: Any) -> None:
    """Run the experiment in FILE (YAML or JSON)."""
    experiment = planfile.load(file)
    _run([experiment] * repeat, **how)


@chaos.command("suite")
@click.argument("name", type=click.Choice(["standard"]), default="standard")
@options(AIMED, RUNNING)
def run_suite(
    name: str, base_url: str, path: str, pid: int | None, environment: str, duration: float, **how: Any
) -> None:
    """Run the standard suite: latency of 500 and 2000 ms, memory at 70 %, processors at 80 %."""
    target = suite.target_at(base_url, pid=pid, path=path, environment=environment)
    _run(suite.standard(target, duration), with_summary=True, **how)


@chaos.command("latency")
@options(AIMED, RUNNING)
@click.option("--latency", "milliseconds", type=float, default=1000.0, show_default=True, help="Milliseconds.")
def run_latency(
    milliseconds: float,
    base_url: str,
    path: str,
    pid: int | None,
    environment: str,
    duration: float,
    **how: Any,
) -> None:
    """Hold every answer of a service back."""
    target = suite.target_at(base_url, pid=pid, path=path, environment=environment)
    _run([suite.latency(milliseconds, target, duration)], **how)


@chaos.command("resource")
@options(AIMED, RUNNING)
@click.option("--resource", "kind", type=click.Choice(["cpu", "memory"]), default="cpu", show_default=True)
@click.option("--percent", type=float, default=80.0, show_default=True, help="Level, in percent of the limit.")
def run_resource(
    kind: str,
    percent: float,
    base_url: str,
    path: str,
    pid: int | None,
    environment: str,
    duration: float,
    **how: Any,
) -> None:
    """Use up the processors or the memory of a service."""
    target = suite.target_at(base_url, pid=pid, path=path, environment=environment)
    _run([suite.resource(kind, percent, target, duration)], **how)


@chaos.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what this machine can do for experiments, and what it lacks."""
    rows = [
        {"capability": one.name, "there": "yes" if one.is_there else "no", "detail": one.detail}
        for one in machine.examine()
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ["capability", "there", "detail"])


@chaos.command()
@state_option
@json_option
def stop(folder: Path, as_json: bool) -> None:
    """Stop every experiment of this machine and take every fault back."""
    journal, clock = Journal(folder), SYSTEM_CLOCK
    stopped = [entry for entry in journal.entries() if lives(entry.injector)]
    for entry in stopped:
        os.kill(entry.injector.pid, signal.SIGTERM)
    deadline = clock.monotonic() + STOP_WITHIN
    while any(lives(entry.injector) for entry in stopped) and clock.monotonic() < deadline:
        clock.sleep(0.05)
    try:
        mended = mend_abandoned(journal)
    except FaultRemains as remains:
        remark(f"error: {remains}")
        raise SystemExit(REMAINS) from remains
    left = [entry.run for entry in journal.entries()]
    if as_json:
        print_json({"stopped": [entry.run for entry in stopped], "mended": mended, "left": left})
    else:
        click.echo(f"stopped {len(stopped)}, mended {len(mended)}, left {len(left)}")
    if left:
        raise SystemExit(REMAINS)


@chaos.command()
@state_option
@json_option
def history(folder: Path, as_json: bool) -> None:
    """List the runs that ended, oldest first."""
    found = History(folder).outcomes()
    if as_json:
        print_json([as_document(outcome) for outcome in found])
        return
    rows = [
        {
            "started": report.moment(outcome.started),
            "experiment": outcome.experiment,
            "verdict": outcome.verdict.value,
            "recovered after": report.seconds(outcome.times.to_recover) if outcome.times.to_recover else None,
            "because": outcome.because,
        }
        for outcome in found
    ]
    print_table(rows, ["started", "experiment", "verdict", "recovered after", "because"])


def _run(
    experiments: Sequence[Experiment],
    *,
    folder: Path,
    as_json: bool,
    junit: Path | None,
    markdown: Path | None,
    allow_production: bool,
    allow_public: bool,
    with_summary: bool = False,
) -> None:
    """Run experiments one after the other, report, and end with the worst exit code."""
    interrupt, outcomes = Interrupt(), list[Outcome]()
    around = Surroundings(folder, _tell, interrupt, Allowed(production=allow_production, public=allow_public))
    with signals(interrupt):
        for experiment in experiments:
            remark(_needs(experiment))
            outcome = run(experiment, around)
            outcomes.append(outcome)
            History(folder).add(outcome)
            if not as_json:
                click.echo("\n".join(report.lines(outcome)))
            if interrupt.is_asked or outcome.verdict.exit == REMAINS:
                break
    if as_json:
        print_json([as_document(outcome) for outcome in outcomes])
    elif with_summary:
        click.echo(report.summary(outcomes))
    elif len(outcomes) > 1:
        click.echo(str(repeated(outcomes, random.random)))
    for path, text in ((junit, report.as_junit), (markdown, report.as_markdown)):
        if path is not None:
            path.write_text(text(outcomes))
    raise SystemExit(report.exit_of(outcomes))


def _needs(experiment: Experiment) -> str:
    """Return how long a run watches before and after the fault, and the fewest samples its margins can be judged by."""
    probing = experiment.probing
    seconds = probing.samples / probing.rate
    return (
        f"{experiment.name}: {probing.samples} probes in {seconds:.0f} s of baseline, as many of recovery; "
        f"its margins need at least {fewest(experiment.margins)}"
    )


def _tell(event: Event) -> None:
    """Say on standard error what happens."""
    match event:
        case ChaosPhaseBegan(experiment=name, phase=phase):
            remark(f"{name}: {phase}")
        case FaultInjected(experiment=name, fault=fault):
            remark(f"{name}: {fault} is in place")
        case FaultLifted(experiment=name, fault=fault):
            remark(f"{name}: {fault} is gone")
        case _:
            return
