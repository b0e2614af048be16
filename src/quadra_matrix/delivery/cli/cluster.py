"""What only a cluster offers: rollouts that are rehearsed, and rollouts that run there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import click

from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.delivery import desk
from quadra_matrix.delivery.cli.common import Where, end, watching
from quadra_matrix.delivery.model import Kind, Observation, Phase, Rollout
from quadra_matrix.delivery.place import Platform
from quadra_matrix.delivery.plan import Plan
from quadra_matrix.delivery.site import Order, Site, Watch
from quadra_matrix.errors import InvalidValue, RolloutStuck
from quadra_matrix.terminal import print_json, remark

ALONE = 120.0
"""Seconds that a Job may take to begin its rollout, or to come back to it."""


def cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a deployment on a cluster."""
    for option in (
        click.option(
            "--in-cluster", is_flag=True, help="On a cluster: run the rollout there, as a Job; Ctrl-C leaves it."
        ),
        click.option("--dry-run", is_flag=True, help="On a cluster: write nothing, print the calls of the rollout."),
        click.option("--image", help="On a cluster: image with {version} as its tag; the one that runs without."),
    ):
        command = option(command)
    return command


def with_image(plan: Plan, image: str | None) -> Plan:
    """Return the plan with the image of the options."""
    return replace(plan, place=replace(plan.place, image=image)) if image else plan


def rehearsed(kind: Kind, version: str, plan: Plan, *, as_json: bool, order: Order | None = None) -> None:
    """Print the calls of a rollout that goes well."""
    from quadra_matrix.delivery.kubernetes.cluster import Cluster
    from quadra_matrix.delivery.kubernetes.rehearsal import Call, rehearse

    _require_cluster(plan, "dry_run")
    cluster = Cluster.at(plan.place.context, plan.place.namespace)
    click.get_current_context().call_on_close(cluster.close)
    found = rehearse(cluster, kind, version, plan, SYSTEM_CLOCK, order=order)

    def shown(one: Call) -> dict[str, Any]:
        return {"verb": one.verb, "resource": one.resource, "name": one.name, "changes": one.changes}

    if as_json:
        calls = [{**shown(one), "operations": list(one.operations)} for one in found.calls]
        print_json({"calls": calls, "checks": list(found.checked), "records": found.records})
        return
    for check in found.checked:
        click.echo(check)
    for one in found.calls:
        changes = ", ".join(f"{path} {value}" for path, value in one.changes.items())
        click.echo(f"{one.verb} {one.resource}/{one.name}: {changes or 'a new revision'}")
    remark(f"nothing was written; beside these calls the record and the lease are written {found.records} times")


def in_cluster(where: Where, kind: Kind, version: str, plan: Plan, options: Sequence[str], *, as_json: bool) -> None:
    """Run a rollout as a Job, and look over its shoulder until it rests."""
    from quadra_matrix.delivery.kubernetes.cluster import Cluster
    from quadra_matrix.delivery.kubernetes.job import submit

    _require_cluster(plan, "in_cluster")
    site = where.site(kind, plan)
    before = site.state.read().record
    desk.idle(before, SYSTEM_CLOCK.now())
    cluster = Cluster.at(plan.place.context, plan.place.namespace)
    click.get_current_context().call_on_close(cluster.close)
    name = submit(cluster, kind, version, plan, options, SYSTEM_CLOCK.now())
    remark(f"job/{name} runs the rollout; its log: kubectl logs --namespace {cluster.namespace} job/{name}")
    with watching(as_json) as watch:
        rollout = _followed(
            site, before.rollout.name if before.rollout else None, name, watch, switches="--auto" in options
        )
    end(rollout, as_json=as_json)


def _followed(site: Site, last: str | None, job: str, watch: Watch, *, switches: bool) -> Rollout:
    """Show the rollout of a Job until it rests. Raises ``RolloutStuck`` when nobody moves it on."""
    alone = SYSTEM_CLOCK.monotonic()
    while True:
        record = site.state.read().record
        rollout, lease = record.rollout, record.lease
        begun = rollout is not None and rollout.name != last
        if rollout is not None and begun:
            watch(rollout, Observation(site.route()))
            if rollout.progress.rests and not (switches and rollout.progress.phase is Phase.OFFER):
                return rollout
        if begun and lease is not None and lease.until > SYSTEM_CLOCK.now():
            alone = SYSTEM_CLOCK.monotonic()
        elif SYSTEM_CLOCK.monotonic() - alone > ALONE:
            raise RolloutStuck(f"job/{job} does not move a rollout on; its log says why; then: resume or rollback")
        SYSTEM_CLOCK.sleep(site.ground.glance)


def _require_cluster(plan: Plan, option: str) -> None:
    if plan.place.platform is not Platform.KUBERNETES:
        raise InvalidValue(option, True, "left out on this machine; it needs --platform kubernetes")
