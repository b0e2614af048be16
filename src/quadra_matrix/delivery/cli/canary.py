"""``quadra canary``: traffic step by step, judged all the time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import click

from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.delivery import desk, display, planfile
from quadra_matrix.delivery.cli.approval import approving, require_somebody, unanswered
from quadra_matrix.delivery.cli.cluster import cluster_options, rehearsed, with_image
from quadra_matrix.delivery.cli.cluster import in_cluster as run_in_cluster
from quadra_matrix.delivery.cli.common import (
    DeliveryGroup,
    Where,
    cwd_option,
    end,
    plan_of,
    plan_option,
    until_phase,
    watching,
    where_options,
    words_argument,
)
from quadra_matrix.delivery.counters import since
from quadra_matrix.delivery.fleet import words_of
from quadra_matrix.delivery.forecast import StepForecast, Traffic, forecast
from quadra_matrix.delivery.model import Finding, Kind, Observation, Orders, Phase, Progress, Record, Rollout
from quadra_matrix.delivery.plan import Plan, Undecided, valid_version
from quadra_matrix.delivery.site import Site, shares, unattended
from quadra_matrix.errors import InvalidValue
from quadra_matrix.terminal import Exit, can_answer, fail, json_option, print_json, print_table, remark


@click.group(cls=DeliveryGroup)
def canary() -> None:
    """Give a new version traffic step by step, compare it with the old one all the time, go back if it is worse."""


@canary.command()
@click.argument("version")
@words_argument
@where_options
@plan_option
@cwd_option
@json_option
@click.option("--auto", is_flag=True, help="Take every step without asking.")
@click.option("--wait", is_flag=True, help="At steps that need approval, ask nobody: wait for: quadra canary resume.")
@click.option("--manual", is_flag=True, help="Start and test VERSION, then leave its share to: quadra canary scale.")
@cluster_options
def deploy(
    version: str,
    command: tuple[str, ...],
    where: Where,
    plan_file: Path | None,
    cwd: Path,
    as_json: bool,
    auto: bool,
    wait: bool,
    manual: bool,
    image: str | None,
    dry_run: bool,
    in_cluster: bool,
) -> None:
    """Roll VERSION out. COMMAND starts it; without one it is started like the last version, {version} filled in."""
    valid_version(version)
    plan = with_image(where.placed(plan_of(plan_file)), image)
    plan = unattended(plan) if auto else plan
    if dry_run:
        rehearsed(Kind.CANARY, version, plan, as_json=as_json)
        return
    if any(step.approve for step in plan.steps) and not (wait or manual or can_answer()):
        raise unanswered("--auto", "--wait")
    if in_cluster:
        run_in_cluster(where, Kind.CANARY, version, plan, ["--manual"] if manual else ["--wait"], as_json=as_json)
        return
    words, site = words_of(command, cwd), where.site(Kind.CANARY, plan)
    with watching(as_json) as watch:
        if manual:
            watched = until_phase(Phase.WATCH)
            order = _left_to_a_person
            rollout = site.deploy(Kind.CANARY, version, plan, watch, command=words, order=order, until=watched)
        else:
            with approving(site, watch, wait=wait) as asking:
                rollout = site.deploy(Kind.CANARY, version, plan, asking, command=words)
    _end_or_ask(site, rollout, as_json=as_json)


@canary.command()
@click.argument("percent", type=click.FloatRange(0, 100))
@where_options
@json_option
def scale(percent: float, where: Where, as_json: bool) -> None:
    """Give the candidate PERCENT of the traffic and stay there, until resumed."""
    share = round(percent, 2)

    def is_done(at: Progress) -> bool:
        return at.phase is Phase.WATCH and at.asked is not None and at.asked.share(at.candidate) == share

    with watching(as_json) as watch:
        rollout = where.site(Kind.CANARY).order(lambda record: desk.scaled(record, share), is_done, watch)
    end(rollout, as_json=as_json)


@canary.command()
@click.argument("seconds", type=click.FloatRange(0, min_open=True))
@where_options
@json_option
def monitor(seconds: float, where: Where, as_json: bool) -> None:
    """Watch and judge the candidate for SECONDS at its share. 0: not worse; 1: went back; 6: undecided."""
    site = where.site(Kind.CANARY)
    with watching(as_json) as watch:
        rollout = site.monitor(seconds, watch)
    end(rollout, as_json=as_json)
    if rollout.progress.verdict.finding is Finding.UNDECIDED:
        raise SystemExit(int(Exit.UNDECIDED))


@canary.command()
@click.argument("version")
@where_options
@json_option
def promote(version: str, where: Where, as_json: bool) -> None:
    """Give VERSION, the candidate, everything now, and retire the old version."""
    done = until_phase(Phase.DONE)
    with watching(as_json) as watch:
        rollout = where.site(Kind.CANARY).order(
            lambda record: desk.promoted(record, valid_version(version)), done, watch
        )
    end(rollout, as_json=as_json)


@canary.command()
@where_options
@json_option
def rollback(where: Where, as_json: bool) -> None:
    """Give the version before everything, whoever moves the rollout; also after its end."""
    with watching(as_json) as watch:
        rollout = where.site(Kind.CANARY).rollback("a person asked", watch)
    end(rollout, as_json=as_json, wanted=Phase.ROLLED_BACK)


@canary.command()
@where_options
@json_option
def pause(where: Where, as_json: bool) -> None:
    """Stay at the share. The candidate is still judged, and still goes back if it is worse."""
    rollout = where.site(Kind.CANARY).ask(desk.paused)
    if as_json:
        print_json(display.as_json(rollout))


@canary.command()
@where_options
@json_option
@click.option(
    "--wait", is_flag=True, help="At later steps that need approval, ask nobody: wait for: quadra canary resume."
)
def resume(where: Where, as_json: bool, wait: bool) -> None:
    """Go on: after a pause, at a step that asks for approval, after the process that moved the rollout was lost."""
    site = where.site(Kind.CANARY)
    if not wait:
        require_somebody(site)
    with watching(as_json) as watch, approving(site, watch, wait=wait) as asking:
        rollout = site.resume(asking)
    _end_or_ask(site, rollout, as_json=as_json)


@canary.command()
@where_options
@json_option
def status(where: Where, as_json: bool) -> None:
    """Show where the traffic goes, and how the rollout stands."""
    site = where.site(Kind.CANARY)
    record, route = site.state.read().record, site.route()
    if as_json:
        rollout = display.as_json(record.rollout) if record.rollout else None
        print_json({"route": route.weights, "rollout": rollout, "holder": record.lease and record.lease.holder})
        return
    click.echo(f"traffic: {shares(route)}")
    if record.rollout is not None:
        click.echo(display.line(record.rollout, Observation(route)))
        for one in record.rollout.progress.verdict.metrics:
            click.echo(f"  {one.because}")


@canary.command()
@where_options
@json_option
def history(where: Where, as_json: bool) -> None:
    """List the rollouts that ended, oldest first."""
    rows = [
        {
            "rollout": past.name,
            "stable": past.stable,
            "candidate": past.candidate,
            "outcome": past.outcome.value,
            "seconds": round(past.ended - past.started),
            "because": past.because,
        }
        for past in where.site(Kind.CANARY).state.read().record.history
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ["rollout", "stable", "candidate", "outcome", "seconds", "because"])


@canary.command("plan")
@where_options
@plan_option
@json_option
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a plan file.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Requests a second; observed without.")
@click.option("--error-rate", type=click.FloatRange(0, 1), help="Stable's error rate; observed without.")
@click.option("--seconds", default=5.0, show_default=True, help="Seconds to observe stable.")
def show_plan(
    where: Where,
    plan_file: Path | None,
    as_json: bool,
    schema: bool,
    rate: float | None,
    error_rate: float | None,
    seconds: float,
) -> None:
    """Say what each step would find at the traffic there is, before any of it moves."""
    if schema:
        print_json(planfile.schema())
        return
    plan = plan_of(plan_file)
    traffic = (
        _observed(where.site(Kind.CANARY), plan, seconds)
        if rate is None or error_rate is None
        else Traffic(rate, error_rate)
    )
    traffic = Traffic(rate or traffic.rate, traffic.error_rate if error_rate is None else error_rate)
    found = forecast(plan, traffic, Random(1))  # noqa: S311  not a secret: the same question has the same answer
    if as_json:
        print_json({"traffic": traffic_json(traffic), "steps": [step_json(one) for one in found]})
        return
    click.echo(f"stable: {traffic.rate:.3g} requests/s, {traffic.error_rate:.3%} errors")
    print_table([step_json(one) for one in found], ["share", "seconds", "finds_2x", "finds_5x", "finds_10x", "decided"])
    for warning in warnings(found, plan):
        remark(f"warning: {warning}")


def traffic_json(traffic: Traffic) -> dict[str, float]:
    """Return the traffic as JSON values."""
    return {"rate": traffic.rate, "error_rate": traffic.error_rate}


def step_json(one: StepForecast) -> dict[str, float | str | None]:
    """Return what a step finds as JSON values."""
    caught = {f"finds_{ratio:g}x": round(chance, 2) for ratio, chance in one.caught.items()}
    return {"share": one.share, "seconds": one.seconds, **caught, "decided": one.decided_after}


def warnings(found: list[StepForecast], plan: Plan) -> list[str]:
    """Return what a person should know before a rollout begins."""
    slow = [one for one in found if one.decided_after is None]
    said = [
        f"at {one.share:g} % a good version is not decided in {plan.patience:g} s: the rollout will {plan.undecided}"
        for one in slow
    ]
    missed = [f"{ratio:g}x" for ratio, chance in found[-1].caught.items() if chance < 0.5]
    if missed:
        said.append(f"a version with {' or '.join(missed)} stable's errors is more often missed than found")
    return said


def _observed(site: Site, plan: Plan, seconds: float) -> Traffic:
    """Return what the serving version's counters say over some seconds."""
    evidence, version = site.ground.evidence(plan), site.serving()
    before = evidence.read(version)
    SYSTEM_CLOCK.sleep(seconds)
    counted = since(before, evidence.read(version))
    if not counted.requests:
        raise InvalidValue("rate", 0, "above 0; no request was seen, so give --rate and --error-rate")
    return Traffic(counted.requests / seconds, counted.errors / counted.requests)


def _left_to_a_person(record: Record) -> Record:
    """Return the record of a rollout that starts and tests its candidate, and gives it nothing by itself."""
    rollout = desk.current(record)
    progress = replace(rollout.progress, orders=Orders(paused=True, share=0.0))
    return replace(record, rollout=replace(rollout, progress=progress))


def _end_or_ask(site: Site, rollout: Rollout, *, as_json: bool) -> None:
    """End, or ask what to do with a rollout that is held where the plan says so and somebody can answer."""
    at = rollout.progress
    if at.phase is Phase.HELD and rollout.plan.undecided is Undecided.ASK:
        if not can_answer():
            raise fail(f"{at.because}; answer with quadra canary promote, resume or rollback", Exit.NEEDS_ANSWER)
        if click.confirm(f"{at.because}\npromote {at.candidate} all the same?"):
            with watching(as_json) as watch:
                done = until_phase(Phase.DONE)
                rollout = site.order(lambda record: desk.promoted(record, at.candidate), done, watch)
    end(rollout, as_json=as_json)
