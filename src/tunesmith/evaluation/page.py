"""report.html: one file without network, a result on top for whoever decides, everything below for whoever builds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import groupby, pairwise

import jinja2
import numpy as np

from tunesmith.data.records import Label, Span
from tunesmith.evaluation import figures
from tunesmith.evaluation.report import Mistake, RunReport, SplitReport
from tunesmith.evaluation.slices import MOST
from tunesmith.scoring.tables import ClassRow, Confusion, Table

LONGEST = 400
"""Up to so many characters a stretch without marks is shown whole in a passage; of a longer one both ends are."""

MATRIX = 30
"""Up to so many classes the confusion matrix is drawn; beyond, the most frequent confusions are listed.

A table of more rows begins with the averages and the weakest classes."""

_NAMES = {
    "f1": "F1", "macro_f1": "macro F1", "micro_f1": "micro F1", "weighted_f1": "weighted F1",
    "mcc": "Matthews correlation (MCC)", "roc_auc": "area under the ROC curve", "ece": "calibration error (ECE)",
    "token_loss": "loss per token", "token_accuracy": "accuracy of tokens",
    "bits_per_character": "bits per character",
    "mae": "mean absolute error", "rmse": "root mean squared error", "r2": "R²", "pearson": "Pearson correlation",
    "spearman": "Spearman correlation", "answerable_f1": "F1 of the questions with an answer",
    "unanswerable_accuracy": "share of the questions without an answer that got none",
    "bleu": "BLEU", "chrf": "chrF", "rouge_1": "ROUGE-1", "rouge_2": "ROUGE-2", "rouge_l": "ROUGE-L",
    "exact_match": "exact match",
    "preference_accuracy": "preference accuracy", "margin": "margin of log-likelihoods",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a text with the same gold and predicted entity types (empty for none).

    `is_right` says that both are of one span with the same borders and type; `note` names what ends here.
    """

    text: str
    gold: str
    answer: str
    is_right: bool = False
    note: str = ""


def render(report: RunReport) -> str:
    """The whole page; all text is escaped, and nothing is loaded from elsewhere."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=number,
        percent=percent,
        name=metric_name,
        words=metric_words,
        seconds=seconds,
        label=show_label,
        in_words=in_words,
        segments=segments,
        in_order=in_order,
        count=count,
    )
    source = (files("tunesmith.evaluation") / "report.html.jinja").read_text(encoding="utf-8")
    order = sorted(
        report.splits,
        key=lambda split: ("test", "validation").index(split.name) if split.name in ("test", "validation") else 2,
    )
    main = order[0] if order else None
    return environment.from_string(source).render(
        report=report,
        splits=[view_of(split, report.main_metric) for split in order],
        main=main,
        result=main.metrics.get(report.main_metric) if main else None,
        sentence=sentence(main, report.main_metric) if main else "",
        severities=[
            (kind, [one for one in report.findings if one.severity == kind]) for kind in ("error", "warning", "note")
        ],
        curve=figures.learning_curve(report.history, metric_words(report.choosing_metric or report.main_metric))
        if report.history
        else "",
        rates=figures.learning_rates(report.history) if report.history else "",
        range_test=figures.range_test(report.learning_rate_test)
        if figures.is_drawable(report.learning_rate_test)
        else "",
        script=figures.script(),
        most_slices=MOST,
        many=MATRIX,
    )


@dataclass(frozen=True)
class View:
    """A split with its figures drawn."""

    split: SplitReport
    confusion: str
    confused: tuple[tuple[str, str, int], ...]
    reliability: str
    slices: tuple[tuple[str, tuple[object, ...]], ...]
    metric: str


def view_of(split: SplitReport, metric: str) -> View:
    """Draw what a split has to show."""
    small = split.confusion is not None and len(split.confusion.labels) <= MATRIX
    return View(
        split,
        figures.confusion(split.confusion) if split.confusion is not None and small else "",
        most_confused(split.confusion) if split.confusion is not None and not small else (),
        figures.reliability(split.calibration) if split.calibration is not None else "",
        tuple((kind, tuple(group)) for kind, group in groupby(split.slices, key=lambda one: one.kind)),
        metric,
    )


def sentence(split: SplitReport, metric: str) -> str:
    """The result in words."""
    result = split.metrics.get(metric)
    if result is None:
        return ""
    units = ", ".join(f"{size:,} {unit}" for unit, size in split.units.items())
    counted = f"{split.size:,} {split.name} examples" + (f" ({units})" if units else "")
    said = f"On {counted} the {metric_words(metric)} is {number(result.value)}."
    if math.isnan(result.low):
        return said
    return f"{said} The interval says how far this number depends on which examples were drawn."


def metric_words(metric: str) -> str:
    """A metric's name for people, within a sentence."""
    return _NAMES.get(metric, metric.replace("_", " "))


def metric_name(metric: str) -> str:
    """A metric's name for people, at the beginning of a line."""
    words = metric_words(metric)
    return words[:1].upper() + words[1:]


def in_order(table: Table) -> tuple[ClassRow, ...]:
    """The rows of a table; where they are too many to see at once, the averages first and then the weakest classes."""
    if len(table.rows) <= MATRIX:
        return table.rows
    averages = [row for row in table.rows if row.label.endswith(" avg")]
    classes = [row for row in table.rows if not row.label.endswith(" avg")]
    return (*averages, *sorted(classes, key=lambda row: row.f1))


def number(value: float) -> str:
    """A number with four digits; a dash where there is none."""
    return "–" if math.isnan(value) else f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"


def count(value: int) -> str:
    """A number of parameters, in millions where there are so many."""
    return f"{value / 1e6:.1f} M" if value >= 1_000_000 else f"{value:,}"


def percent(value: float) -> str:
    """A share of one, kept within the drawing, as a percentage for a style."""
    return "0%" if math.isnan(value) else f"{100 * min(1.0, max(0.0, value)):.2f}%"


def seconds(value: float) -> str:
    """A time for people."""
    if value < 100:
        return f"{value:.0f} s"
    return f"{value / 60:.1f} min" if value < 6000 else f"{value / 3600:.1f} h"


def show_label(label: Label) -> str:
    """A label in words; spans are shown in the text instead."""
    if isinstance(label, tuple):
        return ", ".join(str(item) for item in label if not isinstance(item, Span)) or "none"
    return f"{label:.4g}" if isinstance(label, float) else str(label)


def segments(mistake: Mistake) -> list[Segment]:
    """A text cut wherever a gold or predicted span begins or ends; empty for labels that are no spans."""
    gold, answer = spans_of(mistake.gold), spans_of(mistake.answer)
    if not gold and not answer:
        return []
    borders = sorted({0, len(mistake.text), *(place for span in (*gold, *answer) for place in (span.start, span.end))})
    found = []
    for start, end in pairwise(borders):
        one, other = covering(gold, start), covering(answer, start)
        types = one.label if one else "", other.label if other else ""
        is_right = one is not None and one == other
        note = "" if mistake.second else ending(one, other, end)
        found.append(Segment(mistake.text[start:end], *types, is_right=is_right, note=note))
    return [abridged(part) for part in found] if mistake.second else found


def abridged(part: Segment) -> Segment:
    """A long stretch of a passage without its middle, so that what is marked stays in sight."""
    if part.gold or part.answer or len(part.text) <= LONGEST:
        return part
    return replace(part, text=f"{part.text[: LONGEST // 2]} […] {part.text[-LONGEST // 2 :]}")


def in_words(label: Label, text: str) -> str:
    """The words of a label's spans, each once."""
    words = dict.fromkeys(text[span.start : span.end] for span in spans_of(label))
    return " / ".join(words) or "no answer"


def ending(gold: Span | None, answer: Span | None, place: int) -> str:
    """The types of the gold and the predicted span that end at a place, as gold → answer, and how they differ."""
    one = gold.label if gold is not None and gold.end == place else ""
    other = answer.label if answer is not None and answer.end == place else ""
    if one != other:
        return f"{one} → {other}".strip()
    return one if not one or gold == answer else f"{one}, other borders"


def spans_of(label: Label) -> tuple[Span, ...]:
    """The spans among a label's items."""
    return tuple(item for item in label if isinstance(item, Span)) if isinstance(label, tuple) else ()


def covering(spans: Sequence[Span], place: int) -> Span | None:
    """The span over a character."""
    return next((span for span in spans if span.start <= place < span.end), None)


def most_confused(matrix: Confusion, most: int = 30) -> tuple[tuple[str, str, int], ...]:
    """The most frequent pairs of gold class and wrong answer, with their counts."""
    wrong = matrix.counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = [np.unravel_index(int(place), wrong.shape) for place in order]
    return tuple(
        (matrix.labels[row], matrix.labels[column], int(wrong[row, column]))
        for row, column in places
        if wrong[row, column]
    )
