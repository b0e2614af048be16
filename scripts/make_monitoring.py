"""Write what is made from the table of metrics and events: the files of k8s/monitoring and the reference page."""

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from quadra_matrix.telemetry.alerts import ALERTS
from quadra_matrix.telemetry.listener import event_name
from quadra_matrix.telemetry.table import BUILD, DURATIONS, EVENTS, METRICS, REQUESTS, Kind, Metric, Row

ROOT = Path(__file__).parents[1]
LABELS = {"app.kubernetes.io/name": "quadra-matrix", "app.kubernetes.io/part-of": "quadra-matrix"}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT, PER_LINE = 8, 7, 3
"""Of a panel, in units of Grafana's grid, which is 24 wide."""


def files() -> dict[str, str]:
    """Return the text of every file by its path below the root."""
    return {
        "k8s/monitoring/service-monitor.yaml": _yaml(service_monitor()),
        "k8s/monitoring/prometheus-rule.yaml": _yaml(prometheus_rule()),
        "k8s/monitoring/grafana-dashboard.json": json.dumps(dashboard(), indent=2) + "\n",
        "docs/reference/metrics.md": reference(),
    }


def service_monitor() -> dict[str, Any]:
    """Return how the Prometheus operator finds and scrapes the service: with a key of the scope ``metrics``."""
    endpoint = {
        "port": "http",
        "path": "/metrics",
        "interval": "15s",
        "authorization": {"type": "Bearer", "credentials": {"name": "quadra-matrix-metrics", "key": "key"}},
    }
    spec = {
        "selector": {"matchLabels": {"app.kubernetes.io/name": LABELS["app.kubernetes.io/name"]}},
        "scrapeProtocols": ["OpenMetricsText1.0.0", "PrometheusText0.0.4"],
        "endpoints": [endpoint],
    }
    return _object("ServiceMonitor", spec)


def prometheus_rule() -> dict[str, Any]:
    """Return the alerts; its ``spec`` is a rule file of Prometheus."""
    rules = [
        {
            "alert": alert.name,
            "expr": alert.holds,
            "for": alert.lasting,
            "labels": {"severity": str(alert.severity)},
            "annotations": {"summary": alert.says},
        }
        for alert in ALERTS
    ]
    return _object("PrometheusRule", {"groups": [{"name": "quadra-matrix", "rules": rules}]})


def dashboard() -> dict[str, Any]:
    """Return the Grafana dashboard: requests first, then every other number by the table's order."""
    rate = f"sum(rate({REQUESTS.name}[$__rate_interval]))"
    failed = f'sum(rate({REQUESTS.name}{{status=~"5.."}}[$__rate_interval]))'
    quantiles = {f"p{share}": _quantile(share) for share in (50, 95, 99)}
    first = [
        _panel(
            "Requests a second", {"{{route}}": f"sum by (route) (rate({REQUESTS.name}[$__rate_interval]))"}, "reqps"
        ),
        _panel("Share of failed requests", {"failed": f"{failed} / {rate}"}, "percentunit"),
        _panel("Seconds to an answer", quantiles, "s", exemplar=True),
    ]
    others = [_panel_of(metric) for metric in METRICS if metric not in (REQUESTS, DURATIONS, BUILD)]
    panels = [_placed(panel, number) for number, panel in enumerate([*first, *others])]
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    return {
        "uid": "quadra-matrix",
        "title": "Quadra Matrix",
        "tags": ["quadra-matrix"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }


HEAD = """\
# Metrics, events and alerts

Made by `make monitoring` from `src/quadra_matrix/telemetry/table.py` and `alerts.py`; see
[how an event becomes a number](../explanation/events.md). Counters and histograms are the sum over all processes of a
machine, gauges what the process that answers sees.
"""
OF_EVENTS = """\
The name is that of the span event and of the field `event` in the log. The logger is `quadra_matrix.events.ROOM`.
"""
OF_ALERTS = """\
`k8s/monitoring/prometheus-rule.yaml` holds them for the Prometheus operator; its `spec` is a rule file for others.
"""


def reference() -> str:
    """Return the page of metrics, events and alerts."""
    metrics = [(f"`{each.name}`", each.kind, ", ".join(each.labels), each.help) for each in METRICS]
    alerts = [(f"`{alert.name}`", alert.severity, alert.lasting, alert.says) for alert in ALERTS]
    parts = [
        HEAD,
        "## Metrics\n",
        _table(("metric", "kind", "labels", "what it says"), metrics),
        f"## Events\n\n{OF_EVENTS}",
        _table(("event", "room", "level", "log line", "counted in"), [_event(row) for row in EVENTS]),
        f"## Alerts\n\n{OF_ALERTS}",
        _table(("alert", "severity", "lasting", "what it says"), alerts),
    ]
    return "\n".join(parts)


def _event(row: Row) -> tuple[str, ...]:
    room = row.event.__module__.rpartition(".")[2]
    counters = ", ".join(f"`{count.metric.name}`" for count in row.counts)
    return f"`{event_name(row.event)}`", room, logging.getLevelName(row.level).lower(), row.says, counters


def _object(kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": "quadra-matrix", "labels": LABELS}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": kind, "metadata": metadata, "spec": spec}


def _quantile(share: int) -> str:
    return f"histogram_quantile({share / 100}, sum by (le) (rate({DURATIONS.name}_bucket[$__rate_interval])))"


def _panel_of(metric: Metric) -> dict[str, Any]:
    by = f" by ({', '.join(metric.labels)})" if metric.labels else ""
    legend = " ".join(f"{{{{{label}}}}}" for label in metric.labels) or "all"
    if metric.kind is Kind.GAUGE:
        return _panel(metric.help, {legend: f"max{by} ({metric.name})"}, "short")
    return _panel(metric.help, {legend: f"sum{by} (increase({metric.name}[$__rate_interval]))"}, "short")


def _panel(title: str, asked: Mapping[str, str], unit: str, *, exemplar: bool = False) -> dict[str, Any]:
    targets = [
        {"refId": chr(65 + place), "expr": expression, "legendFormat": legend, "exemplar": exemplar}
        for place, (legend, expression) in enumerate(asked.items())
    ]
    return {
        "type": "timeseries",
        "title": title.rstrip("."),
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def _placed(panel: Mapping[str, Any], number: int) -> dict[str, Any]:
    line, column = divmod(number, PER_LINE)
    place = {"h": HEIGHT, "w": WIDTH, "x": WIDTH * column, "y": HEIGHT * line}
    return {"id": number + 1, "gridPos": place, **panel}


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n" for cells in lines)


def _yaml(document: Mapping[str, Any]) -> str:
    head = "# Made by `make monitoring` from the table of metrics; change src/quadra_matrix/telemetry instead.\n"
    return head + yaml.safe_dump(document, sort_keys=False, width=110)


if __name__ == "__main__":
    for name, text in files().items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
