"""What the delivery commands share: options, exit codes, the display, the end of a rollout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

import click

from quadra_matrix.delivery import display, planfile
from quadra_matrix.delivery.model import Kind, Phase, Progress, Rollout
from quadra_matrix.delivery.place import Platform, Split
from quadra_matrix.delivery.plan import Plan
from quadra_matrix.delivery.site import Site, Watch
from quadra_matrix.errors import (
    ClusterForbidden,
    InvalidValue,
    ObjectMissing,
    ProxyUnavailable,
    QuadraError,
    RolloutRefused,
    RolloutStuck,
    StateUnreadable,
    StateUnwritable,
    TrafficRefused,
    TrafficUnknown,
)
from quadra_matrix.terminal import Exit, fail, is_terminal, print_json, remark

REFUSED = (RolloutRefused, ProxyUnavailable, StateUnwritable, ClusterForbidden)
"""Nothing was touched. A rollout under way that cannot be stored any more is ``RolloutStuck``."""
UNKNOWN = (RolloutStuck, TrafficUnknown, TrafficRefused, StateUnreadable)
"""A person must look where the traffic goes."""

ENDS = {
    Phase.DONE: Exit.OK,
    Phase.LIVE: Exit.OK,
    Phase.ROLLED_BACK: Exit.FAILED,
    Phase.HELD: Exit.UNDECIDED,
    Phase.OFFER: Exit.NEEDS_ANSWER,
}
"""How a command that moved a rollout on ends, by where the rollout rests."""


class DeliveryGroup(click.Group):
    """A group whose errors have the exit codes of deliveries."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours becomes one line on standard error and an exit code."""
        try:
            return super().invoke(ctx)
        except (InvalidValue, ObjectMissing) as wrong:  # an object that is missing: a wrong name, as a rule
            raise fail(str(wrong), Exit.USAGE) from wrong
        except REFUSED as refused:
            raise fail(str(refused), Exit.REFUSED) from refused
        except UNKNOWN as unknown:
            raise fail(str(unknown), Exit.UNKNOWN_STATE) from unknown
        except QuadraError as failed:
            raise fail(str(failed)) from failed


state_option = click.option(
    "--state",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("quadra-data/delivery"),
    show_default=True,
    help="Folder of what runs here and of the rollout.",
)


@dataclass(frozen=True, slots=True)
class Where:
    """The place that a command's options name."""

    folder: Path
    platform: str | None = None
    namespace: str | None = None
    context: str | None = None
    name: str | None = None
    split: str | None = None

    def placed(self, plan: Plan) -> Plan:
        """Return the plan with the place that the options name; they win over the plan's own."""
        was = plan.place
        place = replace(
            was,
            platform=Platform(self.platform) if self.platform else was.platform,
            namespace=self.namespace or was.namespace,
            context=self.context or was.context,
            name=self.name or was.name,
            split=Split(self.split) if self.split else was.split,
        )
        return replace(plan, place=place)

    def site(self, kind: Kind, plan: Plan | None = None) -> Site:
        """Return the site; with a plan the one that a rollout of it begins on."""
        place = self.placed(plan or Plan()).place
        if place.platform is Platform.LOCAL:
            from quadra_matrix.delivery import here

            return Site(here.ground(self.folder))
        from quadra_matrix.delivery.kubernetes.cluster import Cluster
        from quadra_matrix.delivery.kubernetes.ground import ground

        cluster = Cluster.at(place.context, place.namespace)
        click.get_current_context().call_on_close(cluster.close)
        return Site(ground(place, kind, cluster, anew=plan is not None))


def where_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that name a place; the command receives ``where``."""

    @wraps(command)
    def run(
        *arguments: Any,
        folder: Path,
        platform: str | None,
        namespace: str | None,
        context: str | None,
        name: str | None,
        split: str | None,
        **options: Any,
    ) -> None:
        command(*arguments, where=Where(folder, platform, namespace, context, name, split), **options)

    kinds = click.Choice([one.value for one in Platform])
    for option in (
        click.option(
            "--split", type=click.Choice([one.value for one in Split]), help="On a cluster: how shares are made."
        ),
        click.option("--name", help="On a cluster: what its objects' names begin with.  [default: quadra-matrix]"),
        click.option("--context", help="Context of the kubeconfig; the current one without."),
        click.option("--namespace", help="Namespace of the cluster; the context's without."),
        click.option("--platform", type=kinds, help="Where versions run; as the plan says, else local."),
        state_option,
    ):
        run = option(run)
    return run


plan_option = click.option(
    "--plan",
    "plan_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML file; its schema: quadra canary plan --schema.",
)
cwd_option = click.option(
    "--cwd",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Folder the command runs in: another checkout, for one.",
)
words_argument = click.argument("command", nargs=-1, type=click.UNPROCESSED)


def plan_of(plan_file: Path | None) -> Plan:
    """Return the plan in a file, or the default one."""
    return Plan() if plan_file is None else planfile.load(plan_file)


@contextmanager
def watching(as_json: bool) -> Iterator[Watch]:
    """Yield what shows a rollout: a live table on a terminal, plain lines elsewhere, on standard error beside JSON."""
    if is_terminal() and not as_json:
        with display.live() as watch:
            yield watch
    else:
        yield display.plain(remark if as_json else click.echo)


def until_phase(*phases: Phase) -> Callable[[Progress], bool]:
    """Return whether a rollout is in one of the phases."""
    return lambda at: at.phase in phases


def end(rollout: Rollout, *, as_json: bool, wanted: Phase | None = None) -> None:
    """Print how the rollout stands, and end with the code that says so; ``wanted`` is what was asked for."""
    at = rollout.progress
    if as_json:
        print_json(display.as_json(rollout))
    else:
        click.echo(f"{at.candidate}: {at.phase}" + (f": {at.because}" if at.because else ""))
    code = Exit.OK if at.phase is wanted else ENDS.get(at.phase, Exit.OK)
    if code is not Exit.OK:
        sys.exit(int(code))
