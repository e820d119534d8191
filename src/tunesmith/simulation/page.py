"""A simulation's curves as JSON, as a table, and as a page with a figure."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import jinja2
import numpy as np
import plotly.graph_objects as go

from tunesmith.evaluation.figures import fragment, script
from tunesmith.evaluation.intervals import Estimate
from tunesmith.simulation.curves import Cost, Curves
from tunesmith.study.table import table_of
from tunesmith.writing import defined, written

COLUMNS = (
    "strategy", "area by texts", "interval", "less random", "interval of it", "verdict", "less random, by words",
    "interval of that", "final", "time",
)  # fmt: skip

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{{ curves.name }}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.2rem .7rem;text-align:right}
td:first-child,th:first-child{text-align:left}tr{border-bottom:1px solid #8884}</style>
<script>{{ script }}</script></head><body><h1>{{ curves.name }}: active learning</h1><p>{{ said }}</p>
<h2>{{ curves.metric }} on {{ curves.split }} against labelled texts</h2>{{ texts }}
<h2>Against labelled words</h2>{{ words }}
<table><tr>{% for name in columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in rows %}<tr>{% for field in row %}<td>{{ field }}</td>{% endfor %}</tr>{% endfor %}</table>
{% for note in curves.notes %}<p>{{ note }}</p>{% endfor %}</body></html>
"""


def fields_of(curves: Curves) -> list[list[str]]:
    """The table's fields, a row per strategy."""
    return [
        [
            row.strategy,
            f"{row.area.value:.4f}",
            _interval(row.area, ".4f"),
            _value(row.gain),
            _interval(row.gain, "+.4f"),
            row.verdict or "–",
            _value(row.gain_by_words),
            _interval(row.gain_by_words, "+.4f"),
            f"{row.final.value:.4f}",
            f"{row.seconds:.0f} s",
        ]
        for row in curves.rows
    ]


def _value(one: Estimate) -> str:
    return "–" if math.isnan(one.value) else f"{one.value:+.4f}"


def _interval(one: Estimate, form: str) -> str:
    return "–" if math.isnan(one.low) else f"{one.low:{form}} to {one.high:{form}}"


def said_of(curves: Curves) -> str:
    """What the figures are, in a sentence or two."""
    return (
        f"Area under the curve of {curves.metric} on {curves.judging_texts:,} {curves.split} texts (the mean height "
        f"between start and end), mean of {len(curves.seeds)} seeds with its 95 % t interval; differences are paired "
        "by seed, with the same texts labelled at the start."
    )


def as_markdown(curves: Curves) -> str:
    """The table for people."""
    lines = [f"# {curves.name}: active learning", "", said_of(curves), "", *table_of([COLUMNS, *fields_of(curves)])]
    lines += ["", *curves.notes]
    return "\n".join(lines) + "\n"


def figure_of(curves: Curves, cost: Cost) -> str:
    """The mean over seeds of each strategy's curve, with the range of its seeds."""
    figure = go.Figure()
    lines: dict[str, dict[int, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for point in curves.points:
        spent = point.texts if cost == "texts" else point.words
        lines[point.strategy][point.round].append((float(spent), point.value))
    for strategy, by_round in lines.items():
        means = [np.mean(by_round[number], axis=0) for number in sorted(by_round)]
        values = [[value for _, value in by_round[number]] for number in sorted(by_round)]
        figure.add_scatter(
            x=[float(one[0]) for one in means],
            y=[float(one[1]) for one in means],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [max(found) - float(one[1]) for found, one in zip(values, means, strict=True)],
                "arrayminus": [float(one[1]) - min(found) for found, one in zip(values, means, strict=True)],
                "thickness": 1,
            },
            mode="lines+markers",
            name=strategy,
        )
    figure.update_xaxes(title=f"labelled {cost}")
    figure.update_yaxes(title=curves.metric)
    return fragment(figure, height=420)


def page_of(curves: Curves) -> str:
    """The page: one file, which loads nothing from elsewhere."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    safe: Mapping[str, str] = {
        "script": script(),
        "texts": figure_of(curves, "texts"),
        "words": figure_of(curves, "words"),
    }
    trusted = {name: jinja2.filters.do_mark_safe(text) for name, text in safe.items()}
    template = environment.from_string(PAGE)
    return template.render(curves=curves, said=said_of(curves), rows=fields_of(curves), columns=COLUMNS, **trusted)


def plain_curves(curves: Curves) -> dict[str, object]:
    """The curves as plain values; what is no number is null."""
    plain: dict[str, object] = defined(asdict(curves))  # type: ignore[assignment]
    return plain


def write_curves(curves: Curves, folder: Path) -> None:
    """Write active.json, active.md and active.html."""
    plain = json.dumps(plain_curves(curves), ensure_ascii=False, indent=1)
    for name, text in (
        ("active.json", plain + "\n"),
        ("active.md", as_markdown(curves)),
        ("active.html", page_of(curves)),
    ):
        with written(folder / name) as file:
            file.write(text)
