"""Whether a service answers over HTTP as its artifact does in this process: labels, probabilities, which artifact."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.client import Answer, Client, RequestError
from tunesmith.data.records import Example
from tunesmith.errors import DataError, TunesmithError
from tunesmith.evaluation.results import prediction_row
from tunesmith.inference.artifact import MANIFEST, TORCH, file_hash, verify
from tunesmith.inference.form_parity import STEP, is_in_full, near_numbers
from tunesmith.inference.forms import entry_of, forms_of
from tunesmith.inference.onnx_graph import FLOAT_TOLERANCE
from tunesmith.inference.predictor import Predictor
from tunesmith.service_beside import started_service

TOGETHER = 8
"""Texts of a request."""
_NAME = "served"


@dataclass(frozen=True)
class ServedCheck:
    """What a service answers, beside what the same form of the artifact answers here.

    Attributes:
        artifact, form: what is compared with.
        version: the version that answered, as the service calls it.
        is_exact: whether probabilities have to be the same numbers.
        texts: how many were asked.
        changed: how many answers differ, and up to three of these texts.
        probabilities: the largest difference of a probability; infinite where only one side gives one.
        unanswered: how many texts were refused, by the service's code.
        problems: what is off; empty where it is sound.
    """

    artifact: Path
    form: str
    version: str
    is_exact: bool
    texts: int
    changed: int
    changed_texts: tuple[str, ...]
    probabilities: float
    unanswered: Mapping[str, int]
    problems: tuple[str, ...]


def check_started(artifacts: Sequence[Path], examples: Sequence[Example]) -> list[ServedCheck]:
    """Start a service for each form of each artifact, and ask it.

    Raises:
        DataError: a text has a picture or a recording beside it, which services do not take.
        TunesmithError: a service does not start.
    """
    checks = []
    for artifact in artifacts:
        for form in forms_of(artifact, verify(artifact)):
            with started_service(f"{_NAME}={artifact}", ("predict",), "--backend", form) as (address, key):
                checks.append(check_running(address, key, _NAME, [artifact], examples))
    return checks


def check_running(
    address: str, key: str, model: str, artifacts: Sequence[Path], examples: Sequence[Example]
) -> ServedCheck:
    """Ask a service that runs, and compare with the one of the artifacts that it says to serve, else with the first.

    Raises:
        DataError: a text has a picture or a recording beside it, which services do not take.
        TunesmithError: it serves several models, and none is named; or it cannot be asked at all.
    """
    if any(example.media for example in examples):
        raise DataError("Pictures and recordings cannot be asked over HTTP.", to_do="Leave --http and --url out.")
    by_sum = {file_hash(artifact / MANIFEST): artifact for artifact in reversed(artifacts)}
    client = Client(address, key)
    try:
        name, told = _chosen(client, model, by_sum)
        artifact = by_sum.get(str(told["sha256"]), artifacts[0])
        rows = list(_answers(client, name, str(told["version"]), examples))
    finally:
        client.close()
    is_known = str(told["sha256"]) in by_sum
    held = forms_of(artifact, verify(artifact))
    form = str(told["form"]) if told["form"] in held else held[0]
    found = _compared(artifact, form, examples, rows)
    problems = [] if is_known else ["it serves another artifact"]
    if form != told["form"]:
        problems.append(f"it serves the form {told['form']}, which the artifact does not hold")
    return replace(found, version=str(told["version"]), problems=(*problems, *found.problems))


def _chosen(client: Client, model: str, by_sum: Mapping[str, Path]) -> tuple[str, Mapping[str, Any]]:
    """The model to ask, and what the service says of it."""
    names = [model] if model else client.models()
    told = {name: client.describe(name) for name in names}
    fitting = [name for name, one in told.items() if one["sha256"] in by_sum]
    name = next(iter(fitting), names[0])
    if not fitting and len(names) > 1:
        raise TunesmithError(
            f"The service serves {', '.join(names)}, and none of them is one of these artifacts.",
            where="--url",
            to_do="Say which one is meant: --model NAME.",
        )
    return name, told[name]


def _answers(client: Client, model: str, version: str, examples: Sequence[Example]) -> Iterator[Answer | RequestError]:
    """The answer to each text; where several are refused together each is asked alone, to know which."""
    for start in range(0, len(examples), TOGETHER):
        questions = [question_of(example) for example in examples[start : start + TOGETHER]]
        try:
            yield from client.predict(model, questions, version=version)
            continue
        except RequestError as error:
            if not 400 <= error.status < 500:
                raise
        for question in questions:
            try:
                yield from client.predict(model, [question], version=version)
            except RequestError as error:
                if not 400 <= error.status < 500:
                    raise
                yield error


def question_of(example: Example) -> dict[str, Any]:
    """An example as the service takes questions: without its label, and without word borders."""
    made: dict[str, Any] = {
        "text": "" if example.turns else example.text,
        "second": example.second,
        "marks": [{"start": mark.start, "end": mark.end, "label": mark.label} for mark in example.marks],
        "messages": [{"role": turn.role, "content": turn.text} for turn in example.turns],
        "history": list(example.history),
    }
    return {name: value for name, value in made.items() if value}


def _compared(
    artifact: Path, form: str, examples: Sequence[Example], rows: Sequence[Answer | RequestError]
) -> ServedCheck:
    # As they are asked: a file's own word borders are not sent.
    asked = [
        Example(one.id, one.text, second=one.second, marks=one.marks, turns=one.turns, history=one.history)
        for one in examples
    ]
    predictions = Predictor.load(artifact, device="cpu", backend=form).predict(asked)
    description = verify(artifact)
    is_exact = is_in_full(description) if form == TORCH else entry_of(artifact, description, form).is_exact
    near = near_numbers(predictions, is_exact=is_exact)
    changed, gap, refused = [], 0.0, Counter[str]()
    problems = []
    for place, (row, prediction) in enumerate(zip(rows, predictions, strict=True)):
        if isinstance(row, RequestError):
            refused[row.code] += 1
            continue
        ours = prediction_row(prediction)
        gap = max(gap, _gap(row, ours))
        if not _is_alike(row.label, ours["label"], near):
            changed.append(place)
    if changed:
        problems.append(f"{len(changed)} of {len(examples)} answers differ; 0 is the most")
    most = FLOAT_TOLERANCE if is_exact else STEP
    if gap > most:
        problems.append(f"its probabilities differ by up to {gap:.3g}; {most:.2g} is the most")
    if refused:
        codes = ", ".join(f"{code} ({count})" for code, count in sorted(refused.items()))
        problems.append(f"{refused.total()} of {len(examples)} texts are not answered: {codes}")
    shown = tuple((examples[place].second or examples[place].content)[:80] for place in changed[:3])
    return ServedCheck(
        artifact, form, "", is_exact, len(examples), len(changed), shown, gap, dict(refused), tuple(problems)
    )


def _is_alike(served: Any, ours: Any, near: float) -> bool:
    if isinstance(served, float | int) and isinstance(ours, float):
        return abs(served - ours) <= near
    return bool(_without_scores(served) == _without_scores(ours))


def _without_scores(label: Any) -> Any:
    """A label of which spans have their place and class alone."""
    if isinstance(label, list):
        return [(one["start"], one["end"], one["label"]) if isinstance(one, Mapping) else one for one in label]
    return label


def _gap(served: Answer, ours: Mapping[str, Any]) -> float:
    """The largest difference of a probability. Of best answers and items those that both name count."""
    pairs = [(served.confidence, ours["confidence"])]
    scores = ours.get("scores", {})
    pairs += [(score, scores[name]) for name, score in served.scores.items() if name in scores]
    if isinstance(served.label, list) and "span_scores" in ours and len(served.label) == len(ours["span_scores"]):
        pairs += [(span["score"], score) for span, score in zip(served.label, ours["span_scores"], strict=True)]
    return max((_apart(one, other) for one, other in pairs), default=0.0)


def _apart(one: float | None, other: float | None) -> float:
    if one is None or other is None:
        return 0.0 if one is other else math.inf
    return abs(one - other)
