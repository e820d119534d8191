"""What a smaller model costs and gains beside the one that it was made of: answers, quality, size, time."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from safetensors import safe_open

from tunesmith.data.records import Example, Prediction
from tunesmith.data.splits import spread
from tunesmith.evaluation.intervals import Comparison, Estimate, compare, estimate
from tunesmith.evaluation.results import plain_label
from tunesmith.evaluation.slices import ComparedSlice, compared_slices
from tunesmith.evaluation.speed import Speed, side_by_side
from tunesmith.inference.artifact import TORCH, WEIGHTS, read_description
from tunesmith.inference.forms import HEAD, entry_of, forms_of
from tunesmith.inference.predictor import Predictor

SINGLE = 24
"""Texts that are answered one at a time, for the latency."""

MANY = 256
"""Texts that are answered in batches, for the processor's time."""


@dataclass(frozen=True)
class Change:
    """An example that the two models answer otherwise, and which of them is right."""

    id: str
    text: str
    gold: object
    before: object
    after: object
    was_right: bool
    is_right: bool


@dataclass(frozen=True)
class TradeOff:
    """A step's model beside the original.

    Attributes:
        name: of the step.
        settings: of the step.
        stands: whether it was kept.
        why: what decided that, in a sentence.
        size: bytes of the artifact's weights.
        parameters: how many numbers the model has; 0 in a form that does not say so.
        quality: the main metric on validation with its interval.
        difference: the same, paired with the original.
        slices: the same on parts of the validation examples.
        changes: all examples with another answer than the original's.
        speed: beside the original.
        seconds: that the step took.
        facts, notes: what the step says of itself.
    """

    name: str
    settings: Mapping[str, object]
    stands: bool
    why: str
    size: int
    parameters: int
    quality: Estimate
    difference: Comparison | None
    slices: tuple[ComparedSlice, ...]
    changes: tuple[Change, ...]
    speed: Speed | None
    seconds: float = 0.0
    facts: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def harmed(self) -> int:
        """How many answers became wrong."""
        return sum(one.was_right and not one.is_right for one in self.changes)

    @property
    def mended(self) -> int:
        """How many answers became right."""
        return sum(one.is_right and not one.was_right for one in self.changes)


@dataclass(frozen=True)
class Original:
    """The model before any step, with its answers to the validation examples."""

    predictor: Predictor
    examples: Sequence[Example]
    answers: Sequence[Prediction]
    size: int
    parameters: int
    seed: int

    @classmethod
    def of(cls, artifact: Path, examples: Sequence[Example], seed: int) -> Original:
        """Load an artifact and answer the examples."""
        predictor = Predictor.load(artifact)
        answers, size = predictor.predict(examples), weight_of(artifact)
        return cls(predictor, examples, answers, size, parameters_in(artifact), seed)

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the main metric is."""
        task = self.predictor.task
        measures = task.measures(self.examples, self.answers)
        return next(one.higher_is_better for one in measures if one.name == task.metric)

    def as_trade_off(self) -> TradeOff:
        """The original as the first row of a table."""
        return TradeOff(
            "original",
            {},
            stands=True,
            why="",
            size=self.size,
            parameters=self.parameters,
            quality=self._quality(self.predictor, self.answers),
            difference=None,
            slices=(),
            changes=(),
            speed=None,
        )

    def beside(self, artifact: Path) -> TradeOff:
        """The model of another artifact of the same task, measured beside this one; it has no name and verdict yet."""
        ours = Predictor.load(artifact)
        answers = ours.predict(self.examples)
        task = self.predictor.task
        one, other = (
            next(measure for measure in task.measures(self.examples, given) if measure.name == task.metric)
            for given in (answers, self.answers)
        )
        return TradeOff(
            "",
            {},
            stands=True,
            why="",
            size=weight_of(artifact),
            parameters=parameters_in(artifact),
            quality=self._quality(ours, answers),
            difference=compare(one, other, seed=self.seed),
            slices=compared_slices(task, self.examples, answers, self.answers, seed=self.seed),
            changes=self._changes(answers),
            speed=side_by_side(
                ours,
                self.predictor,
                spread(self.examples, SINGLE),
                spread(self.examples, MANY),
                seed=self.seed,
            ),
        )

    def _quality(self, predictor: Predictor, answers: Sequence[Prediction]) -> Estimate:
        task = predictor.task
        main = [one for one in task.measures(self.examples, answers) if one.name == task.metric]
        return estimate(main, seed=self.seed)[task.metric]

    def _changes(self, answers: Sequence[Prediction]) -> tuple[Change, ...]:
        task = self.predictor.task
        return tuple(
            Change(
                example.id,
                example.content,
                plain_label(example.label, example.text),
                plain_label(old.label, example.text),
                plain_label(new.label, example.text),
                task.is_correct(example, old),
                task.is_correct(example, new),
            )
            for example, old, new in zip(self.examples, self.answers, answers, strict=True)
            if old.label != new.label
        )


def loss_of(difference: Comparison, *, higher_is_better: bool) -> float:
    """How much of the original's metric is lost, as a share of it; below 0 for a gain.

    It is infinite where it cannot be said, and for a loss from a metric of 0.
    """
    lost = difference.b - difference.a if higher_is_better else difference.a - difference.b
    if math.isnan(lost):
        return math.inf
    return lost / abs(difference.b) if difference.b else math.copysign(math.inf, lost) if lost else 0.0


def weight_of(artifact: Path) -> int:
    """The bytes of the weights with which an artifact answers; further forms that lie beside them do not count."""
    description = read_description(artifact)
    form = forms_of(artifact, description)[0]
    names = (WEIGHTS,) if form == TORCH else (entry_of(artifact, description, form).file, HEAD)
    return sum((artifact / name).stat().st_size for name in names)


def parameters_in(artifact: Path) -> int:
    """How many numbers an artifact's weights are; 0 where it holds another form alone, which does not say so."""
    path = artifact / WEIGHTS
    if not path.is_file():
        description = read_description(artifact)
        return entry_of(artifact, description, forms_of(artifact, description)[0]).parameters
    held = bool(read_description(artifact).get("weights"))
    with safe_open(path, framework="numpy") as weights:
        slices = {name: weights.get_slice(name) for name in weights.keys()}  # noqa: SIM118
        return sum(_numbers(name, one) if held else math.prod(one.get_shape()) for name, one in slices.items())


def _numbers(name: str, tensor: Any) -> int:
    """How many weights a tensor of an artifact in few bits stands for: of codes in 4 bits two to a byte."""
    if name.endswith(".held.scales"):
        return 0
    shape: list[int] = tensor.get_shape()
    return math.prod(shape) * (2 if name.endswith(".held.codes") and tensor.get_dtype() == "U8" else 1)


def verdict(row: TradeOff, original: Original, floor: float | None) -> tuple[bool, str]:
    """Whether a step stands, and what decided that."""
    assert row.difference is not None
    metric = row.difference
    lost = loss_of(metric, higher_is_better=original.higher_is_better)
    gap = metric.difference
    interval = "" if math.isnan(gap.low) else f", 95 % interval {gap.low:+.4f} to {gap.high:+.4f}"
    said = f"{metric.name} {metric.a:.4f} on validation, {gap.value:+.4f} from the original's{interval}"
    if floor is None:
        return True, f"Stands: {said}; there is no floor."
    share = f"a loss of {100 * lost:.2f} %" if lost > 0 else "no loss"
    if lost <= floor:
        return True, f"Stands: {said}; {share}, and {100 * floor:g} % are allowed."
    return False, f"Undone: {said}; {share}, and only {100 * floor:g} % are allowed."


def measured_before(path: Path) -> TradeOff | None:
    """What was measured of a step before an interruption; None where there is no such file."""
    if not path.is_file():
        return None
    return TypeAdapter(TradeOff).validate_python(json.loads(path.read_text(encoding="utf-8")))
