"""The figures of a study's page, drawn by Plotly: effects, what they cost, learning curves, the search."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from tunesmith.evaluation.figures import BLUE, GREY, ORANGE, fragment
from tunesmith.evaluation.intervals import Estimate
from tunesmith.study.curves import Curve
from tunesmith.study.effects import Effect
from tunesmith.study.findings import CellFindings
from tunesmith.study.search import Trial

GREEN, RED = "#2f9e6e", "#c0504d"
_INKS = (BLUE, ORANGE, GREEN, RED, GREY)
_ROW = 30


def effects(named: Sequence[tuple[str, Effect]], metric: str) -> str:
    """Differences from the baseline with their intervals, the largest on top; shown ones are coloured."""
    figure = go.Figure()
    shown = [(name, one) for name, one in named if not math.isnan(one.difference.low)]
    for colour, own in _by_colour(shown):
        gaps = [one.difference for _, one in own]
        figure.add_scatter(
            x=[gap.value for gap in gaps],
            y=[name for name, _ in own],
            error_x=_interval_bars(gaps),
            mode="markers",
            marker={"size": 10, "color": colour},
            text=[one.verdict for _, one in own],
            hovertemplate="%{y}: %{x:+.4f}, %{text}<extra></extra>",
            showlegend=False,
        )
    figure.add_vline(x=0, line={"color": GREY, "width": 1, "dash": "dot"})
    names = [name for name, _ in shown]
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], showgrid=False)
    figure.update_xaxes(title=f"{metric}, difference from the baseline", zeroline=False)
    return fragment(figure, height=110 + _ROW * len(names))


def _by_colour(named: Sequence[tuple[str, Effect]]) -> list[tuple[str, list[tuple[str, Effect]]]]:
    parts: dict[str, list[tuple[str, Effect]]] = {GREEN: [], RED: [], GREY: []}
    for name, one in named:
        is_shown = not one.verdict.startswith("no difference")
        parts[(GREEN if one.gain > 0 else RED) if is_shown else GREY].append((name, one))
    return [(colour, own) for colour, own in parts.items() if own]


def cost_against_gain(cells: Sequence[CellFindings], metric: str) -> str:
    """The difference of each cell against its training time beside the baseline's; larger points take more memory."""
    figure = go.Figure()
    names = list(dict.fromkeys(cell.data for cell in cells))
    for number, data in enumerate(names):
        own = [
            cell for cell in cells if cell.data == data and cell.difference is not None and cell.relative is not None
        ]
        figure.add_scatter(
            x=[cell.relative[0] for cell in own if cell.relative],
            y=[cell.difference.difference.value for cell in own if cell.difference],
            mode="markers+text",
            text=[cell.way for cell in own],
            textposition="top center",
            textfont={"size": 11},
            marker={
                "size": [7 + 5 * min(4.0, cell.relative[1]) for cell in own if cell.relative],
                "color": _INKS[number % len(_INKS)],
                "opacity": 0.75,
            },
            name=data or "cells",
            showlegend=len(names) > 1,
            hovertemplate="%{text}: %{y:+.4f} for %{x:.1f} times the time<extra></extra>",
        )
    figure.add_hline(y=0, line={"color": GREY, "width": 1, "dash": "dot"})
    figure.update_xaxes(
        title="time to prepare and train, as a multiple of the baseline's", type="log", dtick=math.log10(2)
    )
    figure.update_yaxes(title=f"{metric}, difference", zeroline=False)
    return fragment(figure, height=420)


def learning_curves(curves: Sequence[Curve]) -> str:
    """The metric against the number of training examples, measured and fitted, and what the fit says of more."""
    figure = go.Figure()
    for number, curve in enumerate(curves):
        colour = _INKS[number % len(_INKS)]
        name = ", ".join(part for part in (curve.data, curve.way) if part)
        points = list(curve.points.values())
        figure.add_scatter(
            x=list(curve.points),
            y=[one.value for one in points],
            error_y=_interval_bars(points),
            mode="markers",
            marker={"size": 9, "color": colour},
            name=name,
        )
        line = {"color": colour, "width": 2}
        figure.add_scatter(
            x=list(curve.line), y=list(curve.line.values()), mode="lines", line=line, name=name, showlegend=False
        )
        further = list(curve.expected.values())
        figure.add_scatter(
            x=list(curve.expected),
            y=[one.value for one in further],
            error_y=_interval_bars(further),
            mode="markers",
            marker={"size": 9, "color": colour, "symbol": "circle-open", "line": {"width": 2}},
            name=f"{name}, expected",
            showlegend=False,
        )
    figure.update_xaxes(title="training examples", type="log")
    figure.update_yaxes(title=curves[0].metric if curves else "")
    return fragment(figure, height=400)


def search_history(trials: Sequence[Trial], metric: str, *, higher_is_better: bool) -> str:
    """The metric of each trial, and the best so far."""
    figure = go.Figure()
    scored = [trial for trial in trials if trial.score is not None]
    best: list[float] = []
    for trial in scored:
        assert trial.score is not None
        best.append(trial.score if not best else (max if higher_is_better else min)(best[-1], trial.score))
    numbers = [trial.number for trial in scored]
    said = [", ".join(f"{key} = {value}" for key, value in trial.values.items()) for trial in scored]
    figure.add_scatter(x=numbers, y=best, mode="lines", line={"color": BLUE, "width": 2}, name="best so far")
    figure.add_scatter(
        x=numbers,
        y=[trial.score for trial in scored],
        mode="markers",
        marker={"size": 8, "color": ORANGE},
        text=said,
        hovertemplate="trial %{x}: %{y:.4f}<br>%{text}<extra></extra>",
        name="trial",
    )
    figure.update_xaxes(title="trial")
    figure.update_yaxes(title=f"{metric} on validation")
    return fragment(figure, height=320)


def _interval_bars(points: Sequence[Estimate]) -> dict[str, object]:
    """Error bars from values to the ends of their intervals; none where there is no interval."""
    above = [0.0 if math.isnan(one.high) else one.high - one.value for one in points]
    below = [0.0 if math.isnan(one.low) else one.value - one.low for one in points]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 2, "width": 4}
