"""Several runs as one artifact whose members answer together, with what that costs beside what it gains."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tunesmith.combining import Combined, artifacts_of, held_out, paired, vet_out, write_combined
from tunesmith.data.duplicates import text_key
from tunesmith.data.records import Example, Prediction
from tunesmith.errors import DataError
from tunesmith.evaluation.intervals import Comparison
from tunesmith.evaluation.report import evaluate_split
from tunesmith.inference.ensemble import Combination
from tunesmith.inference.ensemble_folder import check_members, save_ensemble
from tunesmith.inference.predictor import Predictor
from tunesmith.judging import Candidate
from tunesmith.trade_offs import parameters_in

WARM = 8
"""Examples that are answered before the clock runs, so that no first use of anything is measured."""


@dataclass(frozen=True)
class Judged:
    """A member on the test split: its answers, the seconds they took, and the texts that it learnt from.

    `learnt` is None where its data cannot be read any more, and `parameters` 0 where its form does not say how many.
    """

    artifact: Path
    predictions: tuple[Prediction, ...]
    seconds: float
    learnt: frozenset[int] | None
    parameters: int


def make_ensemble(runs: Sequence[Path], out: Path, by: Combination) -> Combined:
    """Put runs together, and compare them with the best of them on the test split.

    Examples that a member learnt from (as of folds, or of splits by seed) are left out of it.

    Raises:
        ArtifactError: a run is damaged, or the runs cannot answer as one in this way.
        DataError: the test split is not what it was, or a member learnt from all of it.
    """
    began = time.monotonic()
    vet_out(out)
    artifacts = artifacts_of(runs)
    check_members(artifacts, by)
    first = Predictor.load(artifacts[0])
    test = held_out(artifacts[0], first.task, "test")
    if not len(test):
        raise DataError(
            "The first run has no test split, on which an ensemble could be compared with its members.",
            where=str(artifacts[0]),
            to_do="Train with data.test.",
        )
    judged = [on_test(artifact, test) for artifact in artifacts]
    keys = [text_key(example.content) for example in test]
    known = frozenset[int]().union(*(one.learnt or () for one in judged))
    fresh = [place for place, key in enumerate(keys) if key not in known]
    if not fresh:
        raise DataError(
            "Every test example was learnt from by one of the members, so that nothing fair is left to judge by.",
            where=str(artifacts[0]),
            to_do="Train all with the same file as data.test.",
        )
    save_ensemble(out, artifacts, by)
    served = Predictor.load(out)
    examples = [test[place] for place in fresh]
    answers, seconds = timed(served, test)
    ours = [answers[place] for place in fresh]
    experiment = Candidate.load(artifacts[0]).experiment
    seed = experiment.seed
    best, comparisons = against_best(served, examples, ours, judged, fresh, seed)
    split = evaluate_split("test", served.task, examples, ours, seed=seed, resamples=experiment.evaluation.resamples)
    relative = seconds / (sum(one.seconds for one in judged) / len(judged))
    facts: dict[str, object] = {
        "by": by,
        "members": [str(one.artifact) for one in judged],
        "parameters": sum(one.parameters for one in judged),
        "seconds": round(seconds, 3),
        "seconds_of_a_member": round(seconds / relative, 3),
        "relative_time": round(relative, 2),
        "examples": len(examples),
        "left_out": len(test) - len(examples),
        "best": str(best.artifact),
        "against_best": [asdict(one) for one in comparisons],
    }
    said = notes(facts, *([str(one.artifact) for one in judged if lacks(one)] for lacks in (_unread, _uncounted)))
    made = Combined(out, best.artifact, (split,), comparisons, facts, said)
    write_combined(made, served.task, "ensemble", sum(one.parameters for one in judged), began)
    return made


def _unread(one: Judged) -> bool:
    return one.learnt is None


def _uncounted(one: Judged) -> bool:
    return not one.parameters


def on_test(artifact: Path, test: Sequence[Example]) -> Judged:
    """A member's answers on the test split, and what it learnt from; its weights are let go of again."""
    candidate = Candidate.load(artifact)
    predictions, seconds = timed(candidate.predictor, test)
    return Judged(artifact, tuple(predictions), seconds, candidate.learnt(), parameters_in(artifact))


def timed(predictor: Predictor, examples: Sequence[Example]) -> tuple[list[Prediction], float]:
    """The answers, and the seconds that they took."""
    predictor.predict(examples[:WARM])
    began = time.perf_counter()
    answers = predictor.predict(examples)
    return answers, time.perf_counter() - began


def against_best(
    served: Predictor,
    examples: Sequence[Example],
    ours: Sequence[Prediction],
    judged: Sequence[Judged],
    fresh: Sequence[int],
    seed: int,
) -> tuple[Judged, tuple[Comparison, ...]]:
    """The member that is best on these examples, and the paired differences to it."""

    def worth(one: Judged) -> float:
        measures = served.task.measures(examples, [one.predictions[place] for place in fresh])
        main = next(measure for measure in measures if measure.name == served.task.metric)
        return main.value() if main.higher_is_better else -main.value()

    best = max(judged, key=worth)
    theirs = [best.predictions[place] for place in fresh]
    return best, paired(served.task, examples, ours, theirs, seed)


def notes(facts: Mapping[str, object], unread: Sequence[str], uncounted: Sequence[str]) -> tuple[str, ...]:
    """What the ensemble is and costs, in words."""
    members = facts["members"]
    assert isinstance(members, list)
    said = [
        f"{len(members)} members answer together by {facts['by']}: {', '.join(members)}.",
        f"They have {facts['parameters']:,} parameters.",
        f"They take {facts['relative_time']} times as long as one: {facts['seconds']} s for the test split.",
        f"It is compared with the member that is best on the test split: {facts['best']}.",
    ]
    if facts["left_out"]:
        said.append(f"{facts['left_out']} test examples are left out, since a member learnt from them.")
    if uncounted:
        said.append(f"Without those of members whose form does not say how many it has: {', '.join(uncounted)}.")
    if unread:
        said.append(f"Whether these learnt from test examples is not known: {', '.join(unread)}.")
    return tuple(said)
