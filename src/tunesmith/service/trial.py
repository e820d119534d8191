"""A model tried on plain texts before anybody is answered by it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.data.records import Example, Prediction, Span, Turn
from tunesmith.errors import ArtifactError
from tunesmith.inference.form_parity import float_tolerance, largest_difference
from tunesmith.inference.predictor import Predictor

_TEXTS = (
    "A short text.",
    "今天天气很好，张三在北京的银行工作。",
    "The second quarter was better than expected, said Anna Bell of Harbour Bank in Leeds on 3 March 2024. " * 2,
    "a b",
)
_SECOND = "Who said that? 谁？"


def tried(predictor: Predictor) -> Mapping[str, Any]:
    """Answer plain texts of several lengths, alone and together; what is known of the model.

    Raises:
        ArtifactError: an answer holds a number that is none, or a label that the task does not know.
    """
    items = tuple(vars(predictor.task).get("item_texts", ()))
    examples = plain_examples(predictor.task.inputs, items)
    together = predictor.predict(examples)
    for example in examples[:2]:
        predictor.predict([example])
    for answer in together:
        if wrong := _fault(answer, predictor.task.label_kind, predictor.task.labels):
            raise ArtifactError(
                f"The model answers plain text with {wrong}.",
                where="the trial before serving",
                to_do="Do not serve it: train or export it again.",
            )
    return {"width": predictor.encoder.max_length}


def see_alike(predictor: Predictor, whole: Predictor) -> None:
    """See that what is held beside a base model answers plain texts as the artifact does that was evaluated.

    Raises:
        ArtifactError: a logit differs by more than float32 forms may.
    """
    items = tuple(vars(whole.task).get("item_texts", ()))
    examples = plain_examples(whole.task.inputs, items)
    ours, theirs = (one.logits(one.encode(examples)) for one in (predictor, whole))
    gap, most = largest_difference(theirs, ours), float_tolerance(theirs)
    if not gap <= most:
        raise ArtifactError(
            f"Beside its base model the logits differ by up to {gap:.3g} from the artifact's; {most:.2g} is the most.",
            where="the trial before serving",
            to_do="Serve it without --share-bases.",
        )


def plain_examples(inputs: Sequence[str], items: Sequence[str] = ()) -> list[Example]:
    """Texts for every kind of task, with all that one may ask for; histories are of these items."""
    ends = [len(text.rstrip(" .。")) for text in _TEXTS]
    return [
        Example(
            str(number),
            text,
            second=_SECOND if any(name.startswith("second") for name in inputs) else "",
            marks=(Span(0, 1, "e1"), Span(end - 1, end, "e2")) if "marks" in inputs else (),
            turns=(Turn("user", text),) if "turns" in inputs else (),
            history=tuple(items[:2]) if "history" in inputs else (),
        )
        for number, (text, end) in enumerate(zip(_TEXTS, ends, strict=True))
    ]


def is_sound(answer: Prediction, kind: str) -> bool:
    """Whether the numbers of an answer to this kind of label are numbers; the confidence only where it must be one."""
    numbers = [*answer.scores.values(), *answer.span_scores, *answer.vector]
    if kind == "number" and isinstance(answer.label, float):
        numbers.append(answer.label)
    elif kind in {"class", "classes"}:
        numbers.append(answer.confidence)
    return all(math.isfinite(number) for number in numbers)


def _fault(answer: Prediction, kind: str, labels: Sequence[str]) -> str:
    if not is_sound(answer, kind):
        return "numbers that are none (NaN)"
    found = [answer.label] if kind == "class" else answer.label if kind in {"classes", "spans"} else ()
    assert isinstance(found, Sequence)
    strange = {item.label if isinstance(item, Span) else str(item) for item in found} - set(labels)
    return f"labels that it does not have ({', '.join(sorted(strange)[:3])})" if strange and labels else ""
