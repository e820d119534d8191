"""What guards would have done with labelled examples: what they cost in coverage, and what they save in errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from tunesmith.data.records import Example, Prediction
from tunesmith.evaluation.intervals import Estimate, share_of
from tunesmith.guard_fitting import texts_of
from tunesmith.guarding.evidence import answered, written
from tunesmith.guarding.guards import Guards
from tunesmith.guarding.saved import names_of, read_guards
from tunesmith.guarding.verdicts import Evidence, Verdict
from tunesmith.inference.predictor import Predictor
from tunesmith.judging import Candidate, examples_to_judge
from tunesmith.tasks import Task

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)


@dataclass(frozen=True)
class Effect:
    """What a guard, or all of them, did with the examples; each share has its interval (Wilson 1927).

    Attributes:
        name: the guard's name; "all" for all in a row.
        refused, unknown: the shares of the examples that were refused, and answered with "I don't know".
        changed: how many texts or answers were changed.
        coverage: the share that was answered.
        accuracy: the share of right answers among these.
        stopped_wrong: of those not answered, the share whose answer would have been wrong.
        codes: how often each objection was made.
        outside: the share of the texts of another kind that were not answered; none without such texts.
    """

    name: str
    refused: Estimate
    unknown: Estimate
    changed: int
    coverage: Estimate
    accuracy: Estimate
    stopped_wrong: Estimate
    codes: Mapping[str, int]
    outside: Estimate | None


@dataclass(frozen=True)
class Check:
    """All guards on the examples of a file or split, beside the answers without guards."""

    texts_of: str
    examples: int
    outside: int
    accuracy: Estimate
    effects: tuple[Effect, ...]
    curve: tuple[tuple[float, float, Estimate], ...]
    """The most confident answers: the share that is answered, the lowest confidence, and the share of right answers."""

    def plain(self) -> dict[str, object]:
        """The check as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Observed:
    """Examples as guards see them: with evidence before and after, and the model's answers."""

    examples: Sequence[Example]
    predictions: Sequence[Prediction]
    before: Sequence[Evidence]
    after: Sequence[Evidence]


def check_guards(artifact: Path, guards: Path, *, data: str = "", outside: str = "") -> Check:
    """Look at what each guard alone, and all in a row, would have done.

    Every guard sees the same answers, also those to texts that another one refuses.

    Args:
        artifact: whose answers are guarded.
        guards: the fitted guards.
        data: labelled examples; the recipe's test split if empty.
        outside: texts of another kind, which should not be answered; or empty.

    Raises:
        ArtifactError: the guards were fitted on another artifact.
        RecipeError: a guard is unknown or was not fitted.
        DataError: there are no examples.
    """
    saved = read_guards(guards)
    saved.check_fits(artifact)
    row = Guards(saved.members)
    candidate = Candidate.load(artifact)
    further = {folder: Predictor.load(Path(folder)) for folder in row.models}
    name, examples = examples_to_judge(candidate, data, ())
    inside = observed(candidate.predictor, examples, row, further)
    task = candidate.predictor.task
    strange = None
    if outside:
        strange = observed(candidate.predictor, texts_of(outside, task.inputs), row, further)
    alone = [(title, (one,)) for title, one in zip(names_of(saved.members), saved.members, strict=True)]
    effects = [
        effect_of(title, Guards(members), inside, task, strange) for title, members in [*alone, ("all", saved.members)]
    ]
    right = [task.is_correct(one, answer) for one, answer in zip(inside.examples, inside.predictions, strict=True)]
    return Check(
        name,
        len(examples),
        0 if strange is None else len(strange.examples),
        share_of(sum(right), len(right)),
        tuple(effects),
        risk_coverage(inside.predictions, right),
    )


def observed(
    predictor: Predictor, examples: Sequence[Example], guards: Guards, further: Mapping[str, Predictor]
) -> Observed:
    """Ask the model, and the further models, all that the guards need."""
    predictions, told = answered(predictor, examples, guards.needs)
    before, after = list(told), list(told)
    for folder, moments in guards.models.items():
        model = further[folder]
        if "before" in moments:
            texts = [Example(one.id, one.text) for one in examples]
            before = _with_answers(before, folder, model.predict(texts))
        if "after" in moments:
            texts = [Example(one.id, one.text) for one in written(examples, predictions)]
            after = _with_answers(after, folder, model.predict(texts))
    return Observed(examples, predictions, before, after)


def _with_answers(told: Sequence[Evidence], folder: str, answers: Sequence[Prediction]) -> list[Evidence]:
    return [replace(one, answers={**one.answers, folder: answer}) for one, answer in zip(told, answers, strict=True)]


def effect_of(name: str, guards: Guards, seen: Observed, task: Task, outside: Observed | None) -> Effect:
    """What these guards did with the examples."""
    counts, codes = dict.fromkeys(("refuse", "unknown", "right", "wrong", "stopped wrong"), 0), dict[str, int]()
    for example, answer, found in zip(seen.examples, seen.predictions, outcomes(guards, seen), strict=True):
        if isinstance(found, Verdict):
            counts[found.action] += 1
            counts["stopped wrong"] += not task.is_correct(example, answer)
            codes[found.code] = codes.get(found.code, 0) + 1
        else:
            counts["right" if task.is_correct(example, found) else "wrong"] += 1
    changed = sum(count for (_, _, action), count in guards.counts.items() if action == "change")
    size, given = len(seen.examples), counts["right"] + counts["wrong"]
    caught = None
    if outside is not None:
        stopped = [isinstance(one, Verdict) for one in outcomes(Guards(guards.members), outside)]
        caught = share_of(sum(stopped), len(stopped))
    return Effect(
        name,
        share_of(counts["refuse"], size),
        share_of(counts["unknown"], size),
        changed,
        share_of(given, size),
        share_of(counts["right"], given),
        share_of(counts["stopped wrong"], size - given),
        codes,
        caught,
    )


def outcomes(guards: Guards, seen: Observed) -> list[Prediction | Verdict]:
    """The answer or the objection for each example; an answer is that to the text as it was given."""
    first = guards.before_many(seen.examples, seen.before)
    found: list[Prediction | Verdict] = []
    for example, allowed, answer, told in zip(seen.examples, first, seen.predictions, seen.after, strict=True):
        found.append(allowed if isinstance(allowed, Verdict) else guards.after(example, answer, told))
    return found


def risk_coverage(
    predictions: Sequence[Prediction], is_right: Sequence[bool]
) -> tuple[tuple[float, float, Estimate], ...]:
    """The accuracy of the most confident answers, by the share of all that these are (El-Yaniv and Wiener 2010)."""
    sure = np.array([one.confidence for one in predictions])
    if not len(sure) or np.isnan(sure).any():
        return ()
    order = np.argsort(-sure, kind="stable")
    right = np.array(is_right)[order]
    found = []
    for coverage in COVERAGES:
        count = max(1, round(coverage * len(sure)))
        found.append((coverage, float(sure[order[count - 1]]), share_of(int(right[:count].sum()), count)))
    return tuple(found)
