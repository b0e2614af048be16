"""``quadra serve``, ``quadra train`` and ``quadra jobs``."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import click

from quadra_matrix.client import credential_headers, request
from quadra_matrix.errors import ServiceError
from quadra_matrix.terminal import Exit, fail, is_terminal, json_option, print_json, print_table, remark, url_option

hub_option = click.option("--hub", help="Address of the WebSocket hub; by default the port after that of --url.")
COLUMNS = ["id", "state", "model", "phase", "fraction", "created", "error"]


@click.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port of the HTTP server.")
@click.option("--hub-port", type=int, help="Port of the WebSocket hub.")
@click.option("--workers", type=int, help="HTTP worker processes.")
@click.option("--tls", is_flag=True, default=None, help="Serve HTTPS and wss.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of everything that must last.")
@click.option("--sample", is_flag=True, help="Train the sample model first, unless it is there.")
def serve(sample: bool, **given: Any) -> None:
    """Run the service: HTTP, WebSocket hub and job runner. Stop it with Ctrl-C; a second one does not wait.

    What is not given here comes from the environment; see quadra config check.
    """
    from quadra_matrix.service.sample import submit_sample
    from quadra_matrix.service.serve import serve as run
    from quadra_matrix.service.settings import load
    from quadra_matrix.service.watching import log_to_stderr
    from quadra_matrix.storage.migrations import upgrade
    from quadra_matrix.storage.sql import Database

    settings = load(**given)
    log_to_stderr(settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    upgrade(database)
    if sample:
        submit_sample(settings, database)
    database.close()
    address = f"{'https' if settings.tls else 'http'}://{settings.host}:{settings.port}"
    run(settings, ready=lambda: remark(f"Quadra Matrix answers at {address}; stop it with Ctrl-C"))


@click.command()
@click.argument("data", required=False)
@click.option("--model", help="Name of the model to publish.")
@click.option("--target", help="Column to predict.")
@click.option("--estimator", help="Name from the catalogue: linear, random_forest, ...")
@click.option("--folds", type=int, help="Folds of cross-validation.")
@click.option("--seed", type=int, help="Seed of every random choice.")
@click.option("--request", "file", type=click.File("rb"), help="JSON file with the whole request; - reads it.")
@click.option("--key", help="Idempotency-Key; by default a new one for each command.")
@click.option("--detach", is_flag=True, help="Print the job and do not wait for it.")
@hub_option
@url_option
@json_option
def train(url: str, hub: str | None, key: str | None, detach: bool, as_json: bool, **asked: Any) -> None:
    """Train a model on DATA, a built-in data set or the id of an uploaded one, and follow the job to its end.

    Exit code 1 when the training fails, 3 when the service refuses the request. Ctrl-C leaves the job running.
    """
    headers = {"Idempotency-Key": key or secrets.token_hex(16)}
    try:
        job = request(f"{url}/api/train", method="POST", body=_body(**asked), headers=headers)
    except ServiceError as refused:
        raise _refused(refused) from refused
    if not detach:
        job = _followed(url, hub, job["id"])
    _show(job, as_json)


@click.group()
def jobs() -> None:
    """List, show, follow and cancel training jobs."""


@jobs.command("list")
@click.option("--state", help="Only jobs in this state.")
@click.option("--limit", default=20, show_default=True, help="Most jobs to list.")
@url_option
@json_option
def listed(url: str, state: str | None, limit: int, as_json: bool) -> None:
    """List jobs, newest first."""
    chosen = f"&state={state}" if state else ""
    found = request(f"{url}/api/train?limit={limit}{chosen}")
    if as_json:
        print_json(found)
    else:
        print_table([_row(job) for job in found["jobs"]], COLUMNS)


@jobs.command()
@click.argument("job")
@url_option
@json_option
def show(url: str, job: str, as_json: bool) -> None:
    """Show one job."""
    _show(request(f"{url}/api/train/{job}"), as_json, judge=False)


@jobs.command()
@click.argument("job")
@url_option
@json_option
def logs(url: str, job: str, as_json: bool) -> None:
    """Print what a job's process wrote last, at most 64 KiB."""
    found = request(f"{url}/api/train/{job}/logs")
    if as_json:
        print_json(found)
    else:
        click.echo(found["text"], nl=False)


@jobs.command("follow")
@click.argument("job")
@hub_option
@url_option
@json_option
def followed(url: str, hub: str | None, job: str, as_json: bool) -> None:
    """Follow a job to its end; exit code 1 when it does not succeed."""
    request(f"{url}/api/train/{job}")  # an unknown job is a 404 here and silence at the hub
    _show(_followed(url, hub, job), as_json)


@jobs.command()
@click.argument("job")
@url_option
@json_option
def cancel(url: str, job: str, as_json: bool) -> None:
    """Cancel a job."""
    _show(request(f"{url}/api/train/{job}/cancel", method="POST"), as_json, judge=False)


def _body(*, data: str | None, file: Any, estimator: str | None, **given: Any) -> Any:
    """Return the body of the training request that the command line describes."""
    if file is not None:
        try:
            return json.load(file)
        except ValueError as broken:
            raise click.UsageError(f"--request is not JSON: {broken}") from broken
    if data is None or given["model"] is None:
        raise click.UsageError("give DATA and --model, or --request")
    # Ids of uploads are 32 hexadecimal digits; no built-in data set is called so.
    uploaded = len(data) == 32 and set(data) <= set("0123456789abcdef")
    body = {name: value for name, value in given.items() if value is not None}
    body["data"] = {"source": "dataset", "id": data} if uploaded else {"source": "builtin", "name": data}
    if estimator is not None:
        body["estimator"] = {"name": estimator}
    return body


def _refused(refused: ServiceError) -> SystemExit:
    """Print what is wrong with a request, field by field, and return the exit to raise."""
    for error in refused.problem.get("errors", []):
        remark(f"{error.get('pointer', '#')}: {error.get('detail', '')}")
    return fail(str(refused), Exit.REFUSED)


def _followed(url: str, hub: str | None, job: str) -> Any:
    """Show the progress of a job on standard error and return the job once it is over."""
    from quadra_matrix.service.jobs.follow import follow, hub_of

    try:
        with _watch() as watch:
            for news in follow(hub or hub_of(url), job, headers=credential_headers(url)):
                watch(news.data.phase or str(news.data.state), news.data.fraction)
    except KeyboardInterrupt:
        remark(f"the job goes on; follow it with: quadra jobs follow {job}")
        raise
    return request(f"{url}/api/train/{job}")


class Watch(Protocol):
    """Shows how far a job is."""

    def __call__(self, phase: str, fraction: float) -> None:
        """Show the phase and the part that is done, 0 to 1."""


@contextmanager
def _watch() -> Iterator[Watch]:
    """Yield a progress bar on a terminal, elsewhere a line on standard error for each phase."""
    if is_terminal():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("queued", total=1.0)
            yield lambda phase, fraction: progress.update(bar, description=phase, completed=fraction)
        return
    said: list[str] = []

    def tell(phase: str, fraction: float) -> None:
        if said[-1:] != [phase]:
            said.append(phase)
            remark(f"{fraction:4.0%} {phase}")

    yield tell


def _row(job: Any) -> dict[str, Any]:
    """Return a job as a row of the table."""
    return {**job, "model": job["about"].get("model")}


def _show(job: Any, as_json: bool, *, judge: bool = True) -> None:
    """Print a job; with ``judge`` the exit code tells whether it failed."""
    if as_json:
        print_json(job)
    else:
        print_table([{**_row(job), **(job["result"] or {})}], [*COLUMNS[:3], *(["version"] if job["result"] else [])])
        for name, value in sorted(job["metrics"].items()):
            click.echo(f"{name} {value:.4g}")
        if job["error"]:
            remark(f"error: {job['error']}")
    if judge and job["state"] in {"failed", "cancelled", "interrupted"}:
        raise SystemExit(Exit.FAILED)
