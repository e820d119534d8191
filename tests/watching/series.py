"""Series in promtool's notation, made and read, and both ways to evaluate rules over them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.watching.prometheus_tools import promtool
from tunesmith.watching.durations import duration_of
from tunesmith.watching.evaluator import Alert, Evaluator
from tunesmith.watching.history import History, Labels, Sample
from tunesmith.watching.rules import RuleSet

Given = Mapping[tuple[str, Labels], Sequence[float | None]]
"""A series and its values, one per interval; none where the scrape lacked it."""


def read_notation(series: str) -> tuple[str, Labels]:
    """Name and labels of `name{label="value"}`."""
    name, _, inside = series.partition("{")
    return name, tuple(sorted(re.findall(r'(\w+)="([^"]*)"', inside)))


def read_values(text: str) -> list[float | None]:
    """The values of `0+10x5 3 stale _`."""
    values: list[float | None] = []
    for part in text.split():
        found = re.fullmatch(r"(-?[\d.e]+)\+(-?[\d.e]+)x(\d+)", part)
        if found:
            start, step = float(found[1]), float(found[2])
            values += [start + step * number for number in range(int(found[3]) + 1)]
        else:
            values.append(None if part in ("_", "stale") else float(part))
    return values


def evaluated(rules: RuleSet, given: Given, interval: float, rounds: int) -> Iterator[tuple[float, list[Alert]]]:
    """The time and the alerts that wait or fire, after each of so many scrapes by the built-in evaluator."""
    history = History(rules.series(), keep=rules.longest() + 300)
    evaluator = Evaluator(rules)
    for number in range(rounds):
        now = number * interval
        scrape: list[Sample] = [
            (name, labels, value)
            for (name, labels), values in given.items()
            if number < len(values) and (value := values[number]) is not None
        ]
        history.add(now, scrape)
        evaluator.step(history, now)
        yield now, evaluator.alerts


def states(alerts: Sequence[Alert]) -> list[dict[str, str]]:
    """The labels of Prometheus's own series ALERTS for these alerts."""
    rows = [
        {"alertname": a.rule, "alertstate": a.state, "severity": a.severity, **{k: v for k, v in a.labels if v}}
        for a in alerts
    ]
    return sorted(rows, key=lambda row: sorted(row.items()))


def asked_of_promtool(
    folder: Path, rules: RuleSet, given: Given, interval: float, expected: Mapping[float, list[dict[str, str]]]
) -> str:
    """What promtool complains of when ALERTS is expected to be so at these times; nothing if all agree."""
    (folder / "rules.yaml").write_text(rules.for_prometheus(), encoding="utf-8")
    rows = [
        {
            "series": f"{name}{{{', '.join(f'{k}={json.dumps(v)}' for k, v in labels)}}}",
            "values": " ".join("stale" if value is None else repr(value) for value in values),
        }
        for (name, labels), values in given.items()
    ]
    checks = [
        {
            "expr": "ALERTS",
            "eval_time": duration_of(time) if time else "0s",
            "exp_samples": [
                {"labels": f"ALERTS{{{', '.join(f'{k}={json.dumps(v)}' for k, v in row.items())}}}", "value": 1}
                for row in alerts
            ],
        }
        for time, alerts in expected.items()
    ]
    every = duration_of(interval)
    tests = [{"interval": every, "input_series": rows, "promql_expr_test": checks}]
    text = json.dumps({"rule_files": ["rules.yaml"], "evaluation_interval": every, "tests": tests})
    (folder / "test.yaml").write_text(text, encoding="utf-8")  # JSON is YAML
    done = promtool("test", "rules", folder / "test.yaml")
    return "" if done.returncode == 0 else done.stdout + done.stderr
