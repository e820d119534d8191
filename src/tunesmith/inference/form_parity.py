"""Whether the forms of a model answer alike: logits, answers, answers alone and in a batch, answers after reloading."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tunesmith.data.records import Example, Prediction
from tunesmith.inference.artifact import SOURCE, TORCH, WEIGHTS, file_hash, verify
from tunesmith.inference.forms import AnyEntry, entry_of, forms_of
from tunesmith.inference.onnx_graph import FLOAT_TOLERANCE
from tunesmith.inference.parity import difference, fresh_logits
from tunesmith.inference.predictor import Predictor
from tunesmith.tasks import Task, Writing

ALONE = 32
"""How many of the texts are also answered one by one."""
STEP = 0.01
"""How far logits in 8 bits may be from those in a batch, of the largest: a number may round to either side."""
ROUGH = 0.25
"""How far logits in 16 or 8 bits may be from the first form's (root mean squares); rounding leaves a few hundredths."""
SPREAD = 0.05
"""The share of the answers' standard deviation within which two numbers answer alike in 8 bits."""


@dataclass(frozen=True)
class FormCheck:
    """A form beside the first one, over the same texts.

    Attributes:
        artifact, form: what was asked.
        is_exact: whether it has to give the same numbers; one in 16 or 8 bits may answer a few texts otherwise.
        logits: the largest difference of a logit to the first form's; where answers are written, of the mean
            log-likelihood of a text's tokens.
        changed: how many of its answers differ from the first form's, and up to three of these texts.
        alone: the largest difference of a logit between a text answered alone and in a batch.
        changed_alone: how many of those answers differ.
        reloaded: the largest difference of a logit in a fresh process; None where that was left out.
        problems: what is off; empty where the form is sound.
    """

    artifact: Path
    form: str
    is_exact: bool
    texts: int
    logits: float
    changed: int
    changed_texts: tuple[str, ...]
    texts_alone: int
    alone: float
    changed_alone: int
    reloaded: float | None
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Answers:
    """What a form gives for texts."""

    logits: list[Tensor]
    predictions: list[Prediction]


def compare_forms(
    artifacts: Sequence[Path], examples: Sequence[Example], *, tolerance: float, reload: bool
) -> list[FormCheck]:
    """Every form that the artifacts hold, beside the first artifact's own.

    In float32 logits must be the same within 1e-4, and so must answers; in 16 or 8 bits, or beside such a first form, a
    share `tolerance` of the answers and a quarter of the logits may change. A text alone is answered as in a batch, a
    fresh process gives the same bits, and the weights are those behind the first form, or torch's that answer alike.

    Raises:
        ArtifactError: an artifact is damaged or cannot be loaded.
    """
    checks: list[FormCheck] = []
    first: Answers | None = None
    first_is_exact = True
    known: set[str] = set()
    for artifact in artifacts:
        description = verify(artifact)
        for form in forms_of(artifact, description):
            predictor = Predictor.load(artifact, device="cpu", backend=form)
            entry = entry_of(artifact, description, form) if form != TORCH else None
            is_exact = is_in_full(description) if entry is None else entry.is_exact
            ours = answers(predictor, examples)
            if first is None:
                first, first_is_exact = ours, is_exact
            is_exact = is_exact and first_is_exact
            check = _checked(predictor, examples, ours, first, is_exact=is_exact, tolerance=tolerance)
            problems, weights = list(check.problems), weights_behind(artifact, description, entry)
            if not known or (entry is None and is_exact and not problems):
                known.add(weights)
            if weights not in known:
                problems.append("it was made of other weights than the first")
            reloaded = None
            if reload:
                fresh = fresh_logits(predictor, artifact, examples, form)
                reloaded = largest_difference(ours.logits, fresh)
                if reloaded != 0:
                    problems.append(f"a fresh process gives logits that differ by up to {reloaded:.3g}")
            checks.append(FormCheck(artifact, form, is_exact, len(examples), *check.figures, reloaded, tuple(problems)))
    return checks


def is_in_full(description: Mapping[str, object]) -> bool:
    """Whether an artifact holds torch's weights in float32; in few bits its numbers are rounded."""
    return not description.get("weights")


def weights_behind(artifact: Path, description: Mapping[str, object], entry: AnyEntry | None) -> str:
    """The sha256 of the weights that a form was made of, or is."""
    if entry is not None:
        return entry.weights_sha256
    return str(description.get(SOURCE) or file_hash(artifact / WEIGHTS))


def float_tolerance(logits: Sequence[Tensor]) -> float:
    """How far a float32 form's logits may be from these: 1e-4, and of logits beyond 10 in proportion to the largest."""
    return FLOAT_TOLERANCE * max(1.0, _largest(logits) / 10)


def _largest(logits: Sequence[Tensor]) -> float:
    finite = [row[row.isfinite()] for row in logits]
    return max((float(row.abs().max()) for row in finite if row.numel()), default=0.0)


@dataclass(frozen=True)
class _Checked:
    figures: tuple[float, int, tuple[str, ...], int, float, int]
    problems: tuple[str, ...]


def _checked(
    predictor: Predictor,
    examples: Sequence[Example],
    ours: Answers,
    first: Answers,
    *,
    is_exact: bool,
    tolerance: float,
) -> _Checked:
    """A form's answers beside the first form's, and beside its own to texts alone."""
    some = [*range(0, len(examples), max(1, len(examples) // ALONE))][:ALONE]
    single = [answers(predictor, [examples[place]]) for place in some]
    alone = Answers([one.logits[0] for one in single], [one.predictions[0] for one in single])
    together = Answers([ours.logits[place] for place in some], [ours.predictions[place] for place in some])
    near = near_numbers(first.predictions, is_exact=is_exact)
    changed = changed_places(first.predictions, ours.predictions, near)
    changed_alone = changed_places(together.predictions, alone.predictions, near)
    gap, gap_alone = (
        gap_of(predictor.task, one.logits, other.logits) for one, other in ((first, ours), (together, alone))
    )
    exact = FLOAT_TOLERANCE if isinstance(predictor.task, Writing) else float_tolerance(first.logits)
    near_first = (exact, 0) if is_exact else (math.inf, math.ceil(tolerance * len(examples)))
    rounded = STEP * (1 if isinstance(predictor.task, Writing) else _largest(together.logits))
    near_alone = (exact if is_exact else max(exact, rounded), 0)
    problems = []
    for what, wide, moved, total, (most, allowed) in (
        ("the first form", gap, changed, len(examples), near_first),
        ("its own answers alone", gap_alone, changed_alone, len(some), near_alone),
    ):
        if not math.isfinite(wide):
            problems.append(f"its logits cannot be compared with {what}")
        elif wide > most:
            problems.append(f"its logits differ by up to {wide:.3g} from {what}; {most:.2g} is the most")
        if len(moved) > allowed:
            problems.append(f"{len(moved)} of {total} answers differ from {what}; {allowed} is the most")
    is_alike_in_kind = math.isfinite(gap) and not isinstance(predictor.task, Writing)
    if not is_exact and is_alike_in_kind and (rough := relative_difference(first.logits, ours.logits)) > ROUGH:
        problems.append(f"its logits are off by {rough:.2f} of the first form's; {ROUGH} is the most")
    shown = tuple((examples[place].second or examples[place].content)[:80] for place in changed[:3])
    return _Checked((gap, len(changed), shown, len(some), gap_alone, len(changed_alone)), tuple(problems))


def answers(predictor: Predictor, examples: Sequence[Example]) -> Answers:
    """The logits and answers of a predictor."""
    encoded = predictor.encode(examples)
    logits = predictor.logits(encoded)
    return Answers(logits, predictor.decode(examples, encoded, logits))


def gap_of(task: Task, ones: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """How far the outputs of two forms are apart: see `FormCheck.logits`."""
    if isinstance(task, Writing):
        return max((task.apart(one, other) for one, other in zip(ones, others, strict=True)), default=0.0)
    return largest_difference(ones, others)


def largest_difference(ones: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """The largest difference of two lists of logits; infinite where their shapes differ or one is no number."""
    return max((difference(one, other) for one, other in zip(ones, others, strict=True)), default=0.0)


def relative_difference(ones: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """The root mean square of the differences over that of the first logits, where both are finite."""
    apart = size = 0.0
    for one, other in zip(ones, others, strict=True):
        both = one.isfinite() & other.isfinite()
        apart += float((one - other)[both].double().square().sum())
        size += float(one[both].double().square().sum())
    return math.sqrt(apart / size) if size else math.inf if apart else 0.0


def near_numbers(predictions: Sequence[Prediction], *, is_exact: bool) -> float:
    """How far two answers that are numbers may be apart and still be alike."""
    numbers = [one.label for one in predictions if isinstance(one.label, float)]
    if len(numbers) < 2:
        return FLOAT_TOLERANCE
    spread = float(torch.tensor(numbers, dtype=torch.float64).std())
    return max(FLOAT_TOLERANCE, (FLOAT_TOLERANCE if is_exact else SPREAD) * spread)


def changed_places(ones: Sequence[Prediction], others: Sequence[Prediction], near: float) -> list[int]:
    """The places of the answers that are not alike."""
    found = []
    for place, (one, other) in enumerate(zip(ones, others, strict=True)):
        if isinstance(one.label, float) and isinstance(other.label, float):
            is_alike = abs(one.label - other.label) <= near
        else:
            is_alike = one.label == other.label
        if not is_alike:
            found.append(place)
    return found
