"""``quadra traces``: list the traces of a running service and draw one."""

from __future__ import annotations

import shutil
from typing import Any
from urllib.parse import quote, urlencode

import click

from quadra_matrix import client
from quadra_matrix.telemetry.traces import from_json
from quadra_matrix.telemetry.waterfall import waterfall
from quadra_matrix.terminal import json_option, print_json, print_table, url_option

COLUMNS = ("trace_id", "name", "services", "ms", "spans", "errors")


@click.group()
def traces() -> None:
    """List the recent traces of a running service and draw one."""


@traces.command("list")
@click.option("--service", help="Only traces that this service took part in.")
@click.option("--errors", is_flag=True, help="Only traces with a failed span.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Most traces to list.")
@url_option
@json_option
def list_traces(service: str | None, errors: bool, limit: int, url: str, as_json: bool) -> None:
    """List the newest traces first."""
    asked = {"limit": limit, "errors": "true" if errors else "false"} | ({"service": service} if service else {})
    found = client.request(f"{url.rstrip('/')}/api/traces?{urlencode(asked)}")["traces"]
    if as_json:
        print_json(found)
    else:
        print_table([_shown(trace) for trace in found], COLUMNS)


@traces.command("show")
@click.argument("trace_id")
@url_option
@json_option
def show_trace(trace_id: str, url: str, as_json: bool) -> None:
    """Draw the trace TRACE_ID as a waterfall; a failed span is drawn with exclamation marks."""
    found = client.request(f"{url.rstrip('/')}/api/traces/{quote(trace_id, safe='')}")
    if as_json:
        return print_json(found)
    for line in waterfall([from_json(span) for span in found["spans"]], shutil.get_terminal_size((100, 24)).columns):
        click.echo(line)
    return None


def _shown(trace: dict[str, Any]) -> dict[str, Any]:
    return {**trace, "services": ", ".join(trace["services"]), "ms": round(trace["seconds"] * 1e3, 1)}
