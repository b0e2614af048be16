"""``quadra local``: versions behind one proxy on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from quadra_matrix.delivery.cli.common import DeliveryGroup, cwd_option, state_option, words_argument
from quadra_matrix.delivery.envoy import Hub
from quadra_matrix.delivery.fleet import Fleet, words_of
from quadra_matrix.delivery.local import LocalTraffic, LocalWorkload, Machine
from quadra_matrix.delivery.supervisor import supervise
from quadra_matrix.errors import InvalidValue
from quadra_matrix.terminal import json_option, print_json, print_table, remark


@click.group(cls=DeliveryGroup)
def local() -> None:
    """Run versions as processes behind one proxy on this machine."""


@local.command()
@click.argument("version")
@words_argument
@state_option
@cwd_option
@json_option
@click.option("--port", default=8080, show_default=True, help="Port of the proxy, on 127.0.0.1.")
@click.option("--health", default="/health", show_default=True, help="Path that answers 200 while a version is ready.")
@click.option("--instances", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes of a version.")
@click.option("--hub", help="PORT/PATH of a WebSocket hub on the same origin, as 5001/ws.")
@click.option("--envoy", envvar="QUADRA_ENVOY", help="Envoy program to use instead of the installed one.")
def up(
    version: str,
    command: tuple[str, ...],
    folder: Path,
    cwd: Path,
    as_json: bool,
    port: int,
    health: str,
    instances: int,
    hub: str | None,
    envoy: str | None,
) -> None:
    """Start VERSION behind the proxy, or take over what runs, and keep it running until interrupted.

    COMMAND starts one process of the version; it must use {port}, and may use {version} and {free_port}.
    """
    given = words_of(command, cwd)
    if given is None:
        raise InvalidValue("command", "", "given after --, as: quadra local up v1 -- python app.py --port {port}")
    machine = Machine(folder)
    machine.up(Fleet(port, health, _hub(hub), instances, envoy), version, given)
    found = machine.read()
    if as_json:
        print_json({"url": f"http://127.0.0.1:{found.port}", "versions": sorted(found.deployed)})
    remark(f"http://127.0.0.1:{found.port}  (Ctrl-C stops watching; quadra local down stops everything)")
    supervise(machine)


@local.command()
@state_option
@json_option
def down(folder: Path, as_json: bool) -> None:
    """Stop every version and the proxy."""
    machine = Machine(folder)
    versions = sorted(machine.read().deployed) if machine.is_set_up() else []
    machine.down()
    if as_json:
        print_json({"stopped": versions})


@local.command()
@state_option
@json_option
def status(folder: Path, as_json: bool) -> None:
    """Show what runs, and where the traffic goes."""
    machine = Machine(folder)
    fleet, workload, route = machine.read(), LocalWorkload(machine), LocalTraffic(machine).read().route
    rows = []
    for version, deployed in fleet.deployed.items():
        ready = workload.ready(version)
        rows.append(
            {
                "version": version,
                "share": route.share(version),
                "ready": ready.ready,
                "wanted": ready.wanted,
                "restarts": ready.restarts,
                "addresses": list(ready.addresses),
                "pids": [one.process.pid for one in deployed.instances],
            }
        )
    watched = fleet.supervisor is not None and machine.processes.lives(fleet.supervisor)
    if as_json:
        print_json({"url": f"http://127.0.0.1:{fleet.port}", "supervised": watched, "versions": rows})
        return
    print_table(rows, ["version", "share", "ready", "wanted", "restarts", "pids"])
    if not watched:
        remark("nobody watches: what ends is not started again until: quadra local up")


def _hub(given: str | None) -> Hub | None:
    """Return the hub in ``PORT/PATH``."""
    if given is None:
        return None
    port, _, path = given.partition("/")
    if not port.isdigit() or not path:
        raise InvalidValue("hub", given, "PORT/PATH, as 5001/ws")
    return Hub(int(port), "/" + path)
