"""``quadra bluegreen``: two colours, one switch."""

from __future__ import annotations

from pathlib import Path

import click

from quadra_matrix.delivery import desk
from quadra_matrix.delivery.bluegreen import COLOURS, inactive
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
from quadra_matrix.delivery.fleet import words_of
from quadra_matrix.delivery.model import ENDED, Kind, Phase
from quadra_matrix.delivery.plan import valid_version
from quadra_matrix.delivery.site import Site, Watch, shares
from quadra_matrix.errors import RolloutRefused
from quadra_matrix.terminal import can_answer, json_option, print_json, remark


@click.group(cls=DeliveryGroup)
def bluegreen() -> None:
    """Start a new version beside the old one, test it, switch all traffic at once, and back at once."""


@bluegreen.command()
@click.argument("version")
@words_argument
@where_options
@plan_option
@cwd_option
@json_option
@click.option("--auto", is_flag=True, help="Switch without asking.")
@cluster_options
def deploy(
    version: str,
    command: tuple[str, ...],
    where: Where,
    plan_file: Path | None,
    cwd: Path,
    as_json: bool,
    auto: bool,
    image: str | None,
    dry_run: bool,
    in_cluster: bool,
) -> None:
    """Start VERSION on the colour without traffic, test it, and ask whether to switch."""
    valid_version(version)
    plan = with_image(where.placed(plan_of(plan_file)), image)
    if dry_run:
        order = (lambda record: desk.promoted(record, version)) if auto else None
        rehearsed(Kind.BLUE_GREEN, version, plan, as_json=as_json, order=order)
        return
    if in_cluster:
        run_in_cluster(where, Kind.BLUE_GREEN, version, plan, ["--auto"] if auto else [], as_json=as_json)
        return
    site = where.site(Kind.BLUE_GREEN, plan)
    with watching(as_json) as watch:
        _finish_the_last(site, watch)
        rollout = site.deploy(Kind.BLUE_GREEN, version, plan, watch, command=words_of(command, cwd))
    if rollout.progress.phase is Phase.OFFER and (auto or _agrees(version)):
        with watching(as_json) as watch:
            rollout = site.order(lambda record: desk.promoted(record, version), until_phase(Phase.LIVE), watch)
    end(rollout, as_json=as_json)


@bluegreen.command()
@click.argument("colour", required=False)
@where_options
@plan_option
@json_option
def switch(colour: str | None, where: Where, plan_file: Path | None, as_json: bool) -> None:
    """Give COLOUR, or the one without traffic, all of it."""
    site = where.site(Kind.BLUE_GREEN)
    record, serving = site.record(), site.serving()
    colour = colour or inactive(desk.colour_of(record, serving))
    version = desk.version_of(record, colour)
    if version == serving:
        remark(f"{colour} ({version}) already has the traffic")
        if as_json:
            print_json({"colour": colour, "version": version, "phase": None})
        return
    if not site.ground.workload.ready(version).ready:
        raise RolloutRefused(f"{colour} ({version}) has no ready instance")
    with watching(as_json) as watch:
        rollout = record.rollout
        if rollout is not None and rollout.progress.phase is Phase.LIVE:
            end(site.rollback(f"a person switched to {colour}", watch), as_json=as_json, wanted=Phase.ROLLED_BACK)
            return
        if rollout is None or rollout.progress.phase in ENDED:
            site.deploy(Kind.BLUE_GREEN, version, where.placed(plan_of(plan_file)), watch)
        moved = site.order(lambda found: desk.promoted(found, version), until_phase(Phase.LIVE), watch)
    end(moved, as_json=as_json)


@bluegreen.command()
@where_options
@json_option
def rollback(where: Where, as_json: bool) -> None:
    """Give the version before the switch everything, by one change of the route."""
    with watching(as_json) as watch:
        rollout = where.site(Kind.BLUE_GREEN).rollback("a person asked", watch)
    end(rollout, as_json=as_json, wanted=Phase.ROLLED_BACK)


@bluegreen.command()
@where_options
@json_option
def finish(where: Where, as_json: bool) -> None:
    """Drain and stop the colour without traffic; from then on rollback has to start it again."""
    with watching(as_json) as watch:
        rollout = where.site(Kind.BLUE_GREEN).order(desk.finished, until_phase(Phase.DONE), watch)
    end(rollout, as_json=as_json)


@bluegreen.command("test")
@click.argument("colour")
@where_options
@plan_option
@json_option
def run_checks(colour: str, where: Where, plan_file: Path | None, as_json: bool) -> None:
    """Send the plan's smoke tests straight to COLOUR."""
    site = where.site(Kind.BLUE_GREEN)
    version = desk.version_of(site.record(), colour)
    addresses = site.ground.workload.ready(version).addresses
    if not addresses:
        raise RolloutRefused(f"{colour} ({version}) has no ready instance")
    plan = plan_of(plan_file)
    site.ground.outside.check(plan.checks, addresses)
    held = len(plan.checks) * len(addresses)
    if as_json:
        print_json({"colour": colour, "version": version, "checks": held})
    else:
        click.echo(f"{colour} ({version}): {held} checks hold")


@bluegreen.command()
@where_options
@json_option
def status(where: Where, as_json: bool) -> None:
    """Show which colour has the traffic, as the proxy says, and what runs on both."""
    site = where.site(Kind.BLUE_GREEN)
    record, route, workload = site.record(), site.route(), site.ground.workload
    colours = {}
    for colour in COLOURS:
        version = record.colours.get(colour)
        ready = workload.ready(version) if version else None
        colours[colour] = {
            "version": version,
            "share": route.share(version) if version else 0.0,
            "ready": ready.ready if ready else 0,
            "wanted": ready.wanted if ready else 0,
        }
    active = next((colour for colour, one in colours.items() if one["share"] == 100), None)
    phase = record.rollout.progress.phase if record.rollout else None
    if as_json:
        print_json({"active": active, "colours": colours, "phase": phase, "route": route.weights})
        return
    click.echo(f"Active Deployment: {active or f'none ({shares(route)})'}")
    click.echo(f"Inactive Deployment: {inactive(active) if active else 'none'}")
    for colour, one in colours.items():
        click.echo(f"{colour}: {one['version'] or 'nothing'}, {one['ready']} of {one['wanted']} ready")


def _finish_the_last(site: Site, watch: Watch) -> None:
    """Retire the old colour of a rollout that is live: the new version takes its place."""
    rollout = site.state.read().record.rollout
    if rollout is not None and rollout.kind is Kind.BLUE_GREEN and rollout.progress.phase is Phase.LIVE:
        site.order(desk.finished, until_phase(Phase.DONE), watch)


def _agrees(version: str) -> bool:
    """Ask whether to switch; without a terminal nobody agrees."""
    if not can_answer():
        remark(f"{version} is ready; switch with: quadra bluegreen switch")
        return False
    return click.confirm(f"{version} is ready. Switch all traffic to it now?")
