"""The files for monitoring are made from the table, name what exists, and real Prometheus programs take them."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import yaml

from quadra_matrix.telemetry.alerts import ALERTS
from quadra_matrix.telemetry.series import Metrics, training_jobs
from quadra_matrix.telemetry.table import EVENTS, METRICS, Kind
from tests.services.process import free_port, needs, running, wait_until

ROOT = Path(__file__).parents[2]
RULES = ROOT / "k8s/monitoring/prometheus-rule.yaml"
DASHBOARD = ROOT / "k8s/monitoring/grafana-dashboard.json"
NAMED = re.compile(r"\bquadra_\w+")
CHOSEN = re.compile(r'(\w+)\{(\w+)="(\w+)"')
TRACE = 0x4BF92F3577B34DA6A3CE929D0E0E4736


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_monitoring", ROOT / "scripts/make_monitoring.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rules() -> dict[str, Any]:
    """Return the rule file that the operator's object holds."""
    found: dict[str, Any] = yaml.safe_load(RULES.read_text())["spec"]
    return found


def expressions() -> list[str]:
    """Return every expression of the alerts and of the dashboard."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    drawn = [target["expr"].replace("$__rate_interval", "1m") for panel in panels for target in panel["targets"]]
    return [alert.holds for alert in ALERTS] + drawn


def series() -> set[str]:
    """Return the name of every series that the table makes."""
    names = {metric.name for metric in METRICS}
    histograms = {metric.name for metric in METRICS if metric.kind is Kind.HISTOGRAM}
    return names | {f"{name}{end}" for name in histograms for end in ("_bucket", "_sum", "_count")}


@pytest.mark.parametrize("name", sorted(script().files()))
def test_the_files_are_what_the_table_says_now(name: str) -> None:
    assert (ROOT / name).read_text() == script().files()[name], "run: make monitoring"


def test_every_expression_names_series_that_exist() -> None:
    named = {name for expression in expressions() for name in NAMED.findall(expression)}

    assert named <= series()
    assert {metric.name for metric in METRICS if metric.kind is not Kind.HISTOGRAM} <= named


def test_every_label_value_that_an_alert_names_is_one_that_the_table_gives() -> None:
    given = {
        (count.metric.name, label, value.removeprefix("="))
        for row in EVENTS
        for count in row.counts
        for label, value in zip(count.metric.labels, count.values, strict=True)
        if value.startswith("=")
    } | {("quadra_spans_total", "outcome", "dropped"), ("quadra_training_jobs", "state", "queued")}

    assert {found for alert in ALERTS for found in CHOSEN.findall(alert.holds)} <= given


def test_every_label_that_an_alert_shows_is_one_of_its_series() -> None:
    labels = {metric.name: set(metric.labels) for metric in METRICS}

    for alert in ALERTS:
        shown = set(re.findall(r"\$labels\.(\w+)", alert.says))
        assert all(shown <= labels[name] for name in NAMED.findall(alert.holds) if name in labels), alert.name


def test_panels_fill_the_grid_without_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]

    assert len(set(places)) == len(places) == len({panel["id"] for panel in panels})
    assert {panel["gridPos"]["x"] + panel["gridPos"]["w"] for panel in panels} <= {8, 16, 24}


def test_promtool_accepts_the_rules(tmp_path: Path) -> None:
    promtool = needs("promtool", "apt-get install prometheus")
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules()))

    checked = subprocess.run([promtool, "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"SUCCESS: {len(ALERTS)} rules found" in checked.stdout


def firing(promtool: str, folder: Path, series: dict[str, str], at: str, *alerts: str) -> None:
    """Let promtool play series and hold that exactly these alerts are there."""
    (folder / "rules.yml").write_text(yaml.safe_dump(rules()))
    names = {alert.name for alert in ALERTS} - {"QuadraMatrixAbsent"}
    played = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count by (alertname) (ALERTS{{alertstate="firing",alertname=~"{"|".join(sorted(names))}"}})',
                "eval_time": at,
                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in alerts],
            }
        ],
    }
    (folder / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": [played]}))
    ran = subprocess.run([promtool, "test", "rules", folder / "test.yml"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("series", "at", "alerts"),
    [
        ({'quadra_http_requests_total{status="200"}': "0+90x30", 'quadra_http_requests_total{status="503"}': "0+10x30"},
         "20m", ["RequestsFail"]),
        ({'quadra_http_requests_total{status="200"}': "0+99x30", 'quadra_http_requests_total{status="503"}': "0+1x30"},
         "20m", []),
        ({'quadra_circuit_state{circuit="pay"}': "1x30"}, "20m", ["CircuitStaysOpen"]),
        ({'quadra_circuit_state{circuit="pay"}': "1x3 2x30"}, "20m", []),
        ({'quadra_backups_total{outcome="failed"}': "_x5 1x30"}, "10m", ["BackupFailed"]),
        ({'quadra_backups_total{outcome="failed"}': "3x500"}, "490m", []),
        ({'quadra_chaos_faults_total{experiment="e",fault="f",to="injected"}': "1x90"}, "80m", ["FaultIsNotLifted"]),
        ({'quadra_chaos_faults_total{experiment="e",fault="f",to="injected"}': "1x90",
          'quadra_chaos_faults_total{experiment="e",fault="f",to="lifted"}': "_x5 1x85"}, "80m", []),
        ({'quadra_spans_total{outcome="dropped"}': "0+5x30"}, "20m", ["SpansAreDropped"]),
    ],
    ids=["many fail", "few fail", "open", "closes", "first failure", "old failure", "stays", "lifted", "dropped"],
)  # fmt: skip
def test_alerts_fire_when_they_should(series: dict[str, str], at: str, alerts: list[str], tmp_path: Path) -> None:
    firing(needs("promtool", "apt-get install prometheus"), tmp_path, series, at, *alerts)


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  as the base calls it
        """Say nothing."""


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    """Serve numbers of every metric that an event or a request makes."""
    metrics = Metrics(tmp_path / "metrics", (training_jobs(lambda: {"queued": 1}),))
    samples: dict[Any, Any] = {str: "x", int: 3, float: 0.5, bool: False, str | None: None, float | None: None}
    for row in EVENTS:
        hints = get_type_hints(row.event)
        metrics.hear(row.event(**{each.name: samples.get(hints[each.name], ("x",)) for each in fields(row.event)}))
    metrics.request("GET", "/", 200, 0.2, TRACE)
    metrics.spans("dropped", 1)

    def answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        text, content_type = metrics.exposition(environ.get("HTTP_ACCEPT", ""))
        start_response("200 OK", [("Content-Type", content_type)])
        return [text]

    with make_server("127.0.0.1", 0, answer, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(10)
    metrics.close()


@pytest.mark.slow
def test_a_real_prometheus_answers_every_expression_and_keeps_the_trace(target: int, tmp_path: Path) -> None:
    program = needs("prometheus", "apt-get install prometheus")
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules()))
    scrape = {"job_name": "quadra", "scrape_interval": "1s", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
    config = {"rule_files": ["rules.yml"], "scrape_configs": [scrape]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [program, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"]

    def ask(path: str, **asked: str) -> Any:
        address = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]

    def is_scraped() -> bool:
        try:
            return bool(ask("query", query="quadra_build_info")["result"])
        except OSError:
            return False

    with running(command, log=tmp_path / "prometheus.log", ready=is_scraped):
        for expression in expressions():
            assert "result" in ask("query", query=expression), expression
        known = {name for name in ask("label/__name__/values") if name.startswith("quadra_")}
        wait_until(lambda: exemplars(ask), "the exemplar")
        groups = ask("rules")["groups"]
        shown = exemplars(ask)

    silent = {"quadra_circuit_calls_total", "quadra_circuit_state", "quadra_circuit_state_seconds"}  # no breaker here
    assert series() - known <= silent | {"quadra_http_request_duration_seconds"}
    assert len(groups[0]["rules"]) == len(ALERTS)
    assert {rule["health"] for rule in groups[0]["rules"]} <= {"ok", "unknown"}
    assert shown == [f"{TRACE:032x}"]


def exemplars(ask: Any) -> list[str]:
    """Return the trace ids that Prometheus keeps for the request histogram."""
    found = ask(
        "query_exemplars",
        query="quadra_http_request_duration_seconds_bucket",
        start="2020-01-01T00:00:00Z",
        end="2100-01-01T00:00:00Z",
    )
    return sorted({example["labels"]["trace_id"] for one in found for example in one["exemplars"]})
