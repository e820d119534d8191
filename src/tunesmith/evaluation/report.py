"""All that is known about a run and its splits, as plain records; `page.py` makes them a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tunesmith.data.records import Example, Finding, Label, Prediction, Span
from tunesmith.evaluation.calibration import Calibration, calibration_error, judged_confidences, reliability
from tunesmith.evaluation.intervals import Estimate, estimate
from tunesmith.evaluation.results import answer_of
from tunesmith.evaluation.slices import Slice, slices_of
from tunesmith.scoring.answers import spans_of
from tunesmith.scoring.entities import count_words
from tunesmith.scoring.subgroups import with_worst_subgroup
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.tasks import Task

WORST = 50
"""How many mistakes a report shows."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong answer beside the right one; `badness` grows with how sure and how wrong it was.

    `second` is the question about the text, or the other text of a pair.
    """

    id: str
    text: str
    gold: Label
    answer: Label
    confidence: float
    badness: float
    second: str = ""


@dataclass(frozen=True, slots=True)
class SplitReport:
    """Everything measured on one split.

    `size` counts examples; `units` counts what else was scored, such as {"words": 46435, "entities": 5648}. `wrong`
    counts all examples answered wrongly, of which `mistakes` are the worst.
    """

    name: str
    size: int
    units: Mapping[str, int]
    metrics: Mapping[str, Estimate]
    tables: tuple[Table, ...]
    confusion: Confusion | None
    calibration: Calibration | None
    slices: tuple[Slice, ...]
    wrong: int
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """One optimiser step of the learning curve; `validation` is the metric, where it was measured."""

    step: int
    epoch: float
    loss: float
    learning_rate: float
    validation: float | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What the run took; `energy_wh` is None where the machine does not tell.

    `seconds_preparing` is the time before the first step: copies made and judged, the model loaded, texts encoded.
    """

    seconds_training: float
    seconds_total: float
    energy_wh: float | None
    parameters_total: int
    parameters_trained: int
    peak_memory_bytes: int
    examples_per_second: float
    seconds_preparing: float = 0.0


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run as its report tells it, from the result to the last setting.

    `main_metric` names the metric by which models of this task are judged, `choosing_metric` that of the learning curve
    where it is another; `settings` is the recipe after defaults; `parity` says how the reload check ended;
    `learning_rate_test` holds (rate, loss) points if there was a range test. Where texts without labels were used,
    `promotion` says which model was promoted, and below that every sign that this may have gone astray.
    """

    name: str
    created: str
    task_name: str
    main_metric: str
    splits: tuple[SplitReport, ...]
    history: tuple[HistoryPoint, ...]
    findings: tuple[Finding, ...]
    cost: Cost
    settings: str
    versions: Mapping[str, str]
    seed: int
    model_identity: str
    fingerprints: Mapping[str, str]
    sizes: Mapping[str, int]
    parity: str
    learning_rate_test: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()
    choosing_metric: str = ""
    promotion: tuple[str, ...] = ()


def evaluate_split(
    name: str, task: Task, examples: Sequence[Example], predictions: Sequence[Prediction], *, seed: int, resamples: int
) -> SplitReport:
    """Measure a set of answers in every way that the task knows, each metric with its 95 % bootstrap interval.

    Raises:
        DataError: predictions and examples do not match.
        LabelError: an example has no label.
    """
    measures = with_worst_subgroup(task.measures(examples, predictions), task.metric, examples)
    metrics = estimate(measures, seed=seed, resamples=resamples)
    judged = judged_confidences(task, examples, predictions)
    pairs = [pair for answers in judged for pair in answers]
    has_confidence = not all(math.isnan(sure) for sure, _ in pairs)
    if has_confidence:
        metrics["ece"] = calibration_error(judged, seed=seed, resamples=resamples)
    wrong = [
        (example, prediction)
        for example, prediction in zip(examples, predictions, strict=True)
        if not task.is_correct(example, prediction)
    ]
    worst = sorted((mistake_of(example, prediction) for example, prediction in wrong), key=lambda one: -one.badness)
    return SplitReport(
        name=name,
        size=len(examples),
        units=units_of(task, examples),
        metrics=metrics,
        tables=task.tables(examples, predictions),
        confusion=task.confusion(examples, predictions),
        calibration=reliability([one for one, _ in pairs], [right for _, right in pairs]) if has_confidence else None,
        slices=slices_of(task, examples, predictions, seed=seed, resamples=resamples),
        wrong=len(wrong),
        mistakes=tuple(worst[:WORST]),
    )


def units_of(task: Task, examples: Sequence[Example]) -> dict[str, int]:
    """How many words and entities were scored, or how many passages were asked about; nothing for whole texts."""
    if task.label_kind == "answers":
        return units_of_questions(examples)
    if task.label_kind != "spans":
        return {}
    return {"words": count_words(examples), "entities": sum(len(spans_of(example)) for example in examples)}


def units_of_questions(examples: Sequence[Example]) -> dict[str, int]:
    """How many passages the questions are about, and how many have no answer, if any."""
    without = sum(not spans_of(example) for example in examples)
    passages = len({example.text for example in examples})
    return {"passages": passages} | ({"questions without an answer": without} if without else {})


def mistake_of(example: Example, prediction: Prediction) -> Mistake:
    """The wrong answer to an example, and how bad it is."""
    gold = example.label if example.label is not None else ()
    bad = badness(gold, prediction, example.text)
    gold, answer = (_with_text(label, prediction.texts) for label in (gold, prediction.label))
    return Mistake(example.id, example.text, gold, answer, prediction.confidence, bad, example.second)


def _with_text(label: Label, texts: Mapping[str, str]) -> Label:
    """The label, or an item's id with what it reads."""
    return f"{label} {texts[label]}" if isinstance(label, str) and label in texts else label


def badness(gold: Label, prediction: Prediction, text: str = "") -> float:
    """How wrong an answer is, so that a sure mistake stands before an unsure one.

    Numbers: the distance. A class: the probability withheld from the right one. Several classes: the probability on the
    wrong side, summed. Spans: the missed ones, plus the probability of each wrong one. Answers out of `text`: how
    much likelier than the right ones the answer was held to be. A raw text: its loss per token.
    """
    answer = prediction.label
    if answer == "" and prediction.label_tokens:
        return -prediction.log_likelihood / prediction.label_tokens
    if isinstance(gold, int | float) and isinstance(answer, int | float):
        return abs(float(gold) - float(answer))
    if answer_of(prediction) is not None and isinstance(gold, tuple):
        texts = {text[item.start : item.end] for item in gold if isinstance(item, Span)} or {""}
        return prediction.confidence - sum(prediction.scores.get(one, 0.0) for one in texts)
    if prediction.scores:
        right = {gold} if isinstance(gold, str) else set(gold)  # type: ignore[arg-type]
        gaps = [1 - p if label in right else p for label, p in prediction.scores.items()]
        return sum(gaps) if not isinstance(gold, str) else 1 - prediction.scores.get(gold, 0.0)
    if isinstance(gold, tuple) and isinstance(answer, tuple):
        wrong = [score for span, score in zip(answer, prediction.span_scores, strict=False) if span not in gold]
        return len(set(gold) - set(answer)) + sum(wrong) if prediction.span_scores else len(set(gold) ^ set(answer))
    return 1.0


def without_texts(report: RunReport) -> RunReport:
    """The report as it travels with the model: all figures, findings and settings, and no text of the data."""
    splits = tuple(replace(split, mistakes=()) for split in report.splits)
    findings = tuple(replace(finding, examples=()) for finding in report.findings)
    return replace(report, splits=splits, findings=findings)


def metrics_json(report: RunReport) -> dict[str, dict[str, dict[str, float | None]]]:
    """Split -> metric -> value and interval; null where a number is not defined."""
    return {split.name: {name: plain(one) for name, one in split.metrics.items()} for split in report.splits}


def plain(one: Estimate) -> dict[str, float | None]:
    """An estimate as plain values."""
    values = {"value": one.value, "low": one.low, "high": one.high}
    return {name: None if math.isnan(value) else value for name, value in values.items()}
