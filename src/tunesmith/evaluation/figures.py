"""The report's figures as fragments of HTML, drawn by Plotly in colours that work on light and on dark paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from tunesmith.evaluation.calibration import Calibration
from tunesmith.evaluation.report import HistoryPoint
from tunesmith.scoring.tables import Confusion

BLUE, ORANGE, GREY = "#4c78d0", "#e08a3c", "#8b93a1"
_FAINT = "rgba(92,136,224,0.42)"
_GRID = "rgba(128,136,150,0.22)"
SHADES = ((0.0, "rgba(76,120,208,0.04)"), (0.2, "rgba(76,120,208,0.30)"), (1.0, "rgba(76,120,208,0.75)"))
"""Of a confusion matrix; faint enough for the page's ink, which its counts are written in (by the page's style)."""

_TICK = 16
"""Class names of more characters are cut at the axes of the confusion matrix; pointing at a cell shows them whole."""

_POINTS = 1000
"""A curve of more points is thinned to about so many; no screen shows more."""


def script() -> str:
    """Plotly's own JavaScript, to stand in the page once."""
    return str(get_plotlyjs())


def learning_curve(history: Sequence[HistoryPoint], metric: str) -> str:
    """The loss of each step (faint), its running mean, and the validation metric where it was measured."""
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    losses = running_mean([point.loss for point in history])
    every = max(1, len(history) // _POINTS)
    steps = [point.step for point in history][::every]
    raw = [point.loss for point in history][::every]
    figure.add_scatter(x=steps, y=raw, mode="lines", name="loss of each step", line={"color": _FAINT, "width": 1})
    figure.add_scatter(
        x=steps, y=losses[::every], mode="lines", name="loss, smoothed", line={"color": BLUE, "width": 2}
    )
    measured = [point for point in history if point.validation is not None]
    figure.add_scatter(
        x=[point.step for point in measured],
        y=[point.validation for point in measured],
        mode="lines+markers",
        name=f"validation {metric}",
        line={"color": ORANGE, "width": 2},
        marker={"size": 8},
        secondary_y=True,
    )
    figure.update_xaxes(title="step")
    figure.update_yaxes(title="loss", rangemode="tozero", secondary_y=False)
    figure.update_yaxes(title=f"validation {metric}", showgrid=False, zeroline=False, tickmode="auto", secondary_y=True)
    return fragment(figure)


def learning_rates(history: Sequence[HistoryPoint]) -> str:
    """The learning rate of each step."""
    every = max(1, len(history) // _POINTS)
    shown = history[::every]
    figure = go.Figure()
    rates = [point.learning_rate for point in shown]
    figure.add_scatter(x=[point.step for point in shown], y=rates, mode="lines", line={"color": GREY, "width": 2})
    figure.update_xaxes(title="step")
    figure.update_yaxes(
        title={"text": "learning rate", "standoff": 12}, rangemode="tozero", exponentformat="e", nticks=4
    )
    return fragment(figure, height=220)


def range_test(points: Sequence[tuple[float, float]]) -> str:
    """The loss against the learning rate, on a logarithmic axis."""
    figure = go.Figure()
    rates, losses = [rate for rate, _ in points], [loss for _, loss in points]
    figure.add_scatter(x=rates, y=losses, mode="lines+markers", line={"color": BLUE, "width": 2}, marker={"size": 5})
    figure.update_xaxes(title="learning rate", type="log", exponentformat="e")
    figure.update_yaxes(title="loss")
    return fragment(figure, height=280)


def confusion(matrix: Confusion) -> str:
    """A heat map: a row per gold class, a column per answer, coloured by the share of the row."""
    counts = matrix.counts
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = go.Figure()
    figure.add_heatmap(
        z=shares,
        x=list(matrix.labels),
        y=list(matrix.labels),
        text=counts,
        texttemplate="%{text}" if len(matrix.labels) <= 16 else "",
        hovertemplate="gold %{y}, answer %{x}: %{text}<extra></extra>",
        colorscale=SHADES,
        showscale=False,
        xgap=1,
        ygap=1,
    )
    names = [label if len(label) <= _TICK else f"{label[: _TICK - 1]}…" for label in matrix.labels]
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(type="category", tickvals=list(matrix.labels), ticktext=names, showgrid=False)
    figure.update_xaxes(tickangle=-90 if len(names) * max(map(len, names), default=0) > 48 else 0)
    figure.update_yaxes(autorange="reversed")
    return fragment(figure, height=200 + 26 * len(matrix.labels))


def reliability(calibration: Calibration) -> str:
    """Accuracy against confidence in bins; larger points and bars are more answers, and the diagonal is honest."""
    filled = [one for one in calibration.bins if one.count]
    most = max((one.count for one in filled), default=1)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.75, 0.25], vertical_spacing=0.06)
    line = {"color": GREY, "dash": "dot", "width": 1}
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=line, name="honest", row=1, col=1)
    figure.add_scatter(
        x=[one.confidence for one in filled],
        y=[one.accuracy for one in filled],
        mode="lines+markers",
        line={"color": BLUE, "width": 2},
        marker={"size": [5 + 9 * math.sqrt(one.count / most) for one in filled], "opacity": 1, "line": {"width": 0}},
        name="this model",
        row=1,
        col=1,
    )
    middles = [(one.low + one.high) / 2 for one in calibration.bins]
    counts = [one.count for one in calibration.bins]
    figure.add_bar(x=middles, y=counts, marker_color=_FAINT, name="answers", row=2, col=1)
    figure.update_yaxes(title="share right", range=[0, 1.02], row=1, col=1)
    figure.update_yaxes(title="answers", row=2, col=1)
    figure.update_xaxes(title="confidence", range=[0, 1.02], row=2, col=1)
    return fragment(figure, height=380)


def running_mean(values: Sequence[float]) -> list[float]:
    """Each value averaged with those before it, over a fiftieth of the curve."""
    width = max(1, len(values) // 50)
    sums = np.cumsum([0.0, *values])
    return [float((sums[end] - sums[max(0, end - width)]) / min(width, end)) for end in range(1, len(values) + 1)]


def fragment(figure: Any, height: int = 340) -> str:
    """A figure as a piece of HTML without Plotly's script, transparent and without fixed colours of paper."""
    layout: Mapping[str, Any] = {
        "height": height,
        "margin": {"l": 70, "r": 30, "t": 20, "b": 50},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": GREY, "size": 13},
        "legend": {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0},
        "template": None,
    }
    figure.update_layout(**layout)
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(
            gridcolor=_GRID, zerolinecolor=_GRID, linecolor=_GRID, tickcolor=_GRID, title_font_size=13, automargin=True
        )
    settings = {"displayModeBar": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config=settings))


def is_drawable(points: Sequence[tuple[float, float]]) -> bool:
    """Whether there are at least two finite points to connect."""
    return sum(math.isfinite(rate) and math.isfinite(loss) for rate, loss in points) > 1
