"""What a study found, as Markdown that is also legible as plain text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from tunesmith.evaluation.intervals import Estimate
from tunesmith.study.effects import LEVEL, Effect
from tunesmith.study.findings import CellFindings, StudyFindings, TestFindings

COLUMNS = (
    *("cell", "mean", "95 % interval", "difference", "95 % interval", "p (Holm)", "verdict"),
    *("training", "peak memory", "an answer", "learns", "share"),
)
_POOLED = ("way", "data sets", "difference", "95 % interval", "p (Holm)", "verdict")
_TRIED = ("trial", "metric", "values")
_LEAST = 0.001
"""No p-value is written with more digits."""
_WORDS = ("cell", "way", "verdict", "values")

READING = (
    "Differences are paired by seed and by example, with intervals by Student's t over both, each for itself.",
    f"A verdict needs a p-value below {LEVEL} after Holm's correction (1979) for all comparisons with the baseline.",
    "The seeds asked for would show the observed difference with 80 % power, if it is as large as it seems.",
    "Training is a run's mean with what it took to prepare (copies made and judged), peak memory the most of any run.",
    "In brackets are multiples of the baseline's.",
)


def as_markdown(findings: StudyFindings) -> str:
    """The findings as tables for people, the result first."""
    lines = [f"# {findings.name}", "", f"{said_of(findings)}; differences are from {findings.baseline}."]
    blocks = [(place, list(own)) for place, own in groupby(findings.cells, key=lambda one: (one.data, one.size))]
    for (data, size), cells in blocks:
        if len(blocks) > 1:
            title = ", ".join(part for part in (data, f"{size:,} training examples" if size else "") if part)
            lines += ["", f"## {title} ({cells[0].metric})"]
        lines += ["", *table_of([COLUMNS, *(row_of(cell, findings.baseline) for cell in cells)])]
    if findings.pooled:
        lines += ["", "## Mean effect over the data sets", "", *table_of([_POOLED, *_pooled_rows(findings)])]
    if findings.trials:
        lines += ["", "## Trials", "", *table_of([_TRIED, *_tried_rows(findings)])]
    for curve in findings.curves:
        lines += ["", *curve.sentences()]
    lines += ["", *READING]
    lines += [f"\n{note}" for note in findings.notes]
    lines += [f"\n{line}" for one in findings.tested for line in test_sentences(one)]
    lines += [f"\nFailed: {failure}" for failure in findings.failures]
    return "\n".join(lines) + "\n"


def test_sentences(one: TestFindings) -> list[str]:
    """What the test examples said, in words."""
    place = f" of {one.data}" if one.data else ""
    said = [
        f"Test{place} ({one.examples:,} examples, {one.metric}), answered by the chosen cell and the baseline only:"
    ]
    base = f"{one.baseline} {_with_interval(one.baseline_mean)}"
    if one.effect is None:
        said.append(f"validation chose the baseline itself: {base}.")
    else:
        gap = f"{one.effect.difference.value:+.4f} [{_interval(one.effect.difference, '+.4f')}]"
        chosen = f"{one.chosen} {_with_interval(one.chosen_mean)}"
        said.append(f"{chosen}, {base}: {gap}, {_p_values(one.effect)}, {one.effect.verdict}.")
    if one.looks > 1:
        said.append(
            f"This was look number {one.looks} at these examples: with each choice that is judged on them they flatter "
            "more."
        )
    return [" ".join(said)]


def _p_values(effect: Effect) -> str:
    """The p-value, and the corrected one where several data sets were looked at."""
    corrected = f" ({_p_value(effect.adjusted)} with all data sets counted)" if effect.adjusted > effect.p_value else ""
    sign = "" if effect.p_value < _LEAST else "= "
    return f"p {sign}{_p_value(effect.p_value)}{corrected}"


def _p_value(value: float) -> str:
    return f"< {_LEAST}" if value < _LEAST else f"{value:.3f}"


def table_of(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as the lines of a Markdown table whose columns also stand below each other as plain text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    is_word = [name in _WORDS for name in rows[0]]
    rules = ["-" * width if word else "-" * (width - 1) + ":" for width, word in zip(widths, is_word, strict=True)]
    lines = []
    for row in (rows[0], rules, *rows[1:]):
        fields = zip(row, widths, is_word, strict=True)
        lines.append(f"| {' | '.join(f.ljust(w) if word else f.rjust(w) for f, w, word in fields)} |")
    return lines


def said_of(findings: StudyFindings) -> str:
    """What the figures are, in a few words."""
    seeds = f"{len(findings.seeds)} seed{'s' if len(findings.seeds) > 1 else ''}"
    if len({cell.data for cell in findings.cells}) > 1:
        return f"{len({cell.data for cell in findings.cells})} data sets by {findings.split}, {seeds}"
    return f"{findings.metric} on {findings.examples:,} {findings.split} examples, {seeds}"


def row_of(cell: CellFindings, baseline: str) -> list[str]:
    """The table's fields of a cell."""
    times = cell.relative or (math.nan,) * 3
    return [
        cell.way if cell.data or cell.size else cell.name,
        f"{cell.mean.value:.4f}",
        _interval(cell.mean, ".4f"),
        *_effect_fields(cell.difference),
        cell.verdict or ("baseline" if cell.way == baseline else "–"),
        f"{cell.seconds:.0f} s{_times(times[0])}",
        f"{cell.peak_memory / 1e9:.2f} GB{_times(times[1])}",
        f"{1000 * cell.inference:.1f} ms{_times(times[2])}",
        f"{cell.learning:,}",
        f"{100 * cell.learning / max(1, cell.parameters):.2f} %",
    ]


def _effect_fields(effect: Effect | None) -> list[str]:
    if effect is None:
        return ["–", "–", "–"]
    p_value = "–" if math.isnan(effect.adjusted) or effect.seeds == 1 else _p_value(effect.adjusted)
    return [f"{effect.difference.value:+.4f}", _interval(effect.difference, "+.4f"), p_value]


def _pooled_rows(findings: StudyFindings) -> list[list[str]]:
    return [
        [
            f"{one.way}, {one.size} examples" if one.size else one.way,
            str(one.sets),
            *_effect_fields(one.effect),
            one.effect.verdict,
        ]
        for one in findings.pooled
    ]


def _tried_rows(findings: StudyFindings) -> list[list[str]]:
    rows = []
    for trial in findings.trials:
        values = ", ".join(
            f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in trial.values.items()
        )
        rows.append([str(trial.number), "failed" if trial.score is None else f"{trial.score:.4f}", values])
    return rows


def _times(one: float) -> str:
    return "" if math.isnan(one) else f" ({one:.1f}x)"


def _with_interval(one: Estimate) -> str:
    return f"{one.value:.4f} [{_interval(one, '.4f')}]"


def _interval(one: Estimate, form: str) -> str:
    return "–" if math.isnan(one.low) else f"{one.low:{form}} to {one.high:{form}}"
