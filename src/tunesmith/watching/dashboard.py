"""The dashboard for Grafana: what each panel shows is written down here, and laid out by the functions below."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

SCHEMA = 38
"""The version of Grafana's dashboard form; Grafana 10 reads it, later ones bring it up to date."""

_SOURCE = {"type": "prometheus", "uid": "${source}"}
_WIDTH, _HEIGHT, _PER_ROW = 8, 8, 3


@dataclass(frozen=True)
class Panel:
    """A graph: title, Grafana's name of the unit, and expressions with their legends.

    In an expression, `$m` stands for the models chosen above, `$w` for a window that fits the picture.
    """

    title: str
    unit: str
    targets: Sequence[tuple[str, str]]


def _quantiles(metric: str) -> list[tuple[str, str]]:
    buckets = f"sum by (le, model) (rate(tunesmith_{metric}_bucket{{$m}}[$w]))"
    return [(f"histogram_quantile({q}, {buckets})", f"{{{{model}}}} p{q * 100:g}") for q in (0.5, 0.99)]


def _mean(metric: str) -> list[tuple[str, str]]:
    of, to = (f"sum by (model) (rate(tunesmith_{metric}_{part}{{$m}}[$w]))" for part in ("sum", "count"))
    return [(f"{of} / {to}", "{{model}}")]


def _rate(metric: str, by: str, models: str = "") -> list[tuple[str, str]]:
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return [(f"sum by ({by}) (rate(tunesmith_{metric}{models}[$w]))", legend)]


_FAILING = (
    'sum by (model) (rate(tunesmith_requests_total{code=~"5..", $m}[$w])) '
    "/ sum by (model) (rate(tunesmith_requests_total{$m}[$w]))"
)
_PADDING = (
    "sum by (model) (rate(tunesmith_padding_tokens_total{$m}[$w])) "
    "/ (sum by (model) (rate(tunesmith_padding_tokens_total{$m}[$w])) "
    "+ sum by (model) (rate(tunesmith_tokens_total{$m}[$w])))"
)
_CLASS_SHARE = (
    "sum by (model, label) (rate(tunesmith_predictions_total{$m}[$w])) "
    "/ on (model) group_left () sum by (model) (rate(tunesmith_predictions_total{$m}[$w]))"
)
ROWS: dict[str, list[Panel]] = {
    "Requests": [
        Panel("Requests by status", "reqps", _rate("requests_total", "code", "{$m}")),
        Panel(
            "Share of requests that fail",
            "percentunit",
            [(_FAILING, "{{model}}")],
        ),
        Panel("Time to answer", "s", _quantiles("request_duration_seconds")),
    ],
    "Load": [
        Panel(
            "Requests at work, texts that wait",
            "short",
            [
                ("sum(tunesmith_inflight)", "at work"),
                ("sum by (model) (tunesmith_queue_length{$m})", "{{model}} waiting"),
            ],
        ),
        Panel("Wait for a batch", "s", _quantiles("queue_seconds")),
        Panel(
            "Turned away",
            "reqps",
            [*_rate("shed_total", "reason"), *_rate("limit_refusals_total", "reason")],
        ),
    ],
    "Batches": [
        Panel("Time of the model per batch", "s", _quantiles("inference_seconds")),
        Panel("Texts and tokens per batch", "short", [*_mean("batch_size"), *_mean("batch_tokens")]),
        Panel(
            "Share of padding",
            "percentunit",
            [(_PADDING, "{{model}}")],
        ),
        Panel(
            "Tokens read and written",
            "short",
            [*_rate("tokens_total", "model", "{$m}"), *_rate("generated_tokens_total", "model", "{$m}")],
        ),
    ],
    "Answers": [
        Panel(
            "Share of each class",
            "percentunit",
            [(_CLASS_SHARE, "{{model}} {{label}}")],
        ),
        Panel("Mean confidence", "percentunit", _mean("confidence")),
        Panel("Verdicts of users", "short", _rate("feedback_total", "verdict")),
        Panel(
            "Answers that were not remembered", "short", [("sum(rate(tunesmith_answers_dropped_total[$w]))", "lost")]
        ),
    ],
    "Safety": [
        Panel("What guards did", "short", _rate("guard_actions_total", "guard, action")),
        Panel("Personal data found", "short", _rate("pii_found_total", "kind, action")),
    ],
    "Models and processes": [
        Panel(
            "Models and workers",
            "short",
            [("max(tunesmith_models_ready)", "versions ready"), ("sum(tunesmith_workers)", "workers")],
        ),
        Panel(
            "Versions",
            "short",
            [("max by (model, version, form) (tunesmith_model_info{$m})", "{{model}} {{version}} {{form}}")],
        ),
        Panel(
            "Share of the requests",
            "percentunit",
            [("max by (model, version) (tunesmith_version_share{$m})", "{{model}} {{version}}")],
        ),
        Panel("Answers of shadows", "short", _rate("shadow_answers_total", "model, version, result", "{$m}")),
        Panel("Time to swap", "s", _mean("model_swap_seconds")),
        Panel("Workers restarted", "short", _rate("worker_restarts_total", "reason")),
        Panel(
            "Memory of the front",
            "bytes",
            [
                ("max(tunesmith_process_resident_memory_bytes)", "in memory"),
                ("max(tunesmith_process_virtual_memory_bytes)", "addressed"),
            ],
        ),
        Panel(
            "Processor of the front", "percentunit", [("sum(rate(tunesmith_process_cpu_seconds_total[$w]))", "cores")]
        ),
        Panel(
            "Open files of the front",
            "short",
            [("max(tunesmith_process_open_fds)", "open"), ("max(tunesmith_process_max_fds)", "allowed")],
        ),
        Panel("Time since the start", "s", [("time() - max(tunesmith_process_start_time_seconds)", "front")]),
    ],
}
"""Every metric of the service stands in a panel."""


def dashboard() -> dict[str, object]:
    """The dashboard as Grafana imports it; it asks for the Prometheus to read."""
    return {
        "uid": "tunesmith-service",
        "title": "Tunesmith",
        "tags": ["tunesmith"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_source_choice(), _model_choice()]},
        "panels": _panels(),
    }


def dashboard_json() -> str:
    """The same as the text of a file."""
    return json.dumps(dashboard(), indent=1) + "\n"


def _source_choice() -> dict[str, object]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}}


def _model_choice() -> dict[str, object]:
    query = "label_values(tunesmith_requests_total, model)"
    return {
        "name": "model",
        "label": "Model",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": "models"},
        "definition": query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panels() -> list[dict[str, object]]:
    made: list[dict[str, object]] = []
    top = 0
    for title, panels in ROWS.items():
        place = {"h": 1, "w": _WIDTH * _PER_ROW, "x": 0, "y": top}
        made.append({"id": len(made) + 1, "type": "row", "title": title, "gridPos": place, "panels": []})
        top += 1
        for number, panel in enumerate(panels):
            place = {
                "h": _HEIGHT,
                "w": _WIDTH,
                "x": number % _PER_ROW * _WIDTH,
                "y": top + number // _PER_ROW * _HEIGHT,
            }
            made.append(_panel(panel, len(made) + 1, place))
        top += -(-len(panels) // _PER_ROW) * _HEIGHT
    return made


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, object]:
    targets = [
        {
            "refId": chr(ord("A") + position),
            "datasource": _SOURCE,
            "expr": expression.replace("$m", 'model=~"$model"').replace("$w", "$__rate_interval"),
            "legendFormat": legend,
        }
        for position, (expression, legend) in enumerate(panel.targets)
    ]
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }
