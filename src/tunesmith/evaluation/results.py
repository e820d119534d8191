"""Predictions as rows of a file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from tunesmith.data.records import Example, Label, Prediction, Span, Turn

DialogueForm = Literal["openai", "alpaca", "sharegpt"]
"""The forms in which software for language models exchanges dialogues."""
_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def prediction_row(prediction: Prediction) -> dict[str, object]:
    """A prediction as plain values, ready for JSON (no number becomes null)."""
    row: dict[str, object] = {"id": prediction.id, "label": plain_label(prediction.label)}
    answer = answer_of(prediction)
    if answer is not None:
        row["answer"] = answer
    row["confidence"] = plain_number(prediction.confidence)
    if not math.isnan(prediction.uncertainty):
        row["uncertainty"] = prediction.uncertainty
    if prediction.scores:
        row["scores"] = {label: plain_number(score) for label, score in prediction.scores.items()}
    if prediction.texts:
        row["texts"] = {label: prediction.texts[label] for label in prediction.scores}
    if prediction.span_scores:
        row["span_scores"] = [plain_number(score) for score in prediction.span_scores]
    if prediction.ranks:
        row["ranks"] = dict(prediction.ranks)
    if prediction.without:
        row["without"] = dict(prediction.without)
    if prediction.vector:
        row["vector"] = list(prediction.vector)
    if prediction.label_tokens:
        row |= {"log_likelihood": plain_number(prediction.log_likelihood), "label_tokens": prediction.label_tokens}
    if not math.isnan(prediction.rejected_log_likelihood):
        row["rejected_log_likelihood"] = plain_number(prediction.rejected_log_likelihood)
    return row


def answered_row(example: Example, prediction: Prediction) -> dict[str, object]:
    """A prediction as plain values beside the text, or the two, that it answers."""
    row = prediction_row(prediction)
    asked = {name: text for name, text in (("text", example.text), ("second", example.second)) if text}
    return {"id": row.pop("id"), **asked, **row}


def example_row(example: Example, label_kind: str) -> dict[str, object]:
    """A labelled example as a row that is read again as it is."""
    row: dict[str, object] = {"id": example.id, "text": example.text}
    if example.words is not None:
        row["word_ranges"] = [list(word) for word in example.words]
    if example.second:
        row["question" if label_kind == "answers" else "second"] = example.second
    row |= {mark.label: {"start": mark.start, "end": mark.end} for mark in example.marks}
    label = example.label
    if label_kind == "answers" and isinstance(label, tuple):
        spans = [span for span in label if isinstance(span, Span)]
        row["answers"] = [{"text": example.text[s.start : s.end], "answer_start": s.start} for s in spans]
    elif label is not None:
        row["spans" if label_kind == "spans" else "label"] = plain_label(label)
    return row | dict(example.attributes)


def dialogue_row(example: Example, prediction: Prediction, form: DialogueForm) -> dict[str, object]:
    """A dialogue with its written answer as a row of data for language models.

    Alpaca's form knows no tools; what they say becomes part of the question that is answered next.
    """
    turns = [*(example.turns or (Turn("user", example.text),)), Turn("assistant", str(prediction.label))]
    if form == "openai":
        return {"id": example.id, "messages": [{"role": turn.role, "content": turn.text} for turn in turns]}
    if form == "sharegpt":
        said = [{"from": _SPEAKERS[turn.role], "value": turn.text} for turn in turns]
        return {"id": example.id, "conversations": said}
    system = turns[0].text if turns[0].role == "system" else ""
    rounds: list[list[str]] = []
    asked: list[str] = []
    for turn in turns[bool(system) :]:
        if turn.role == "assistant":
            rounds.append(["\n\n".join(asked), turn.text])
            asked = []
        else:
            asked.append(turn.text)
    question, answer = rounds.pop()
    row: dict[str, object] = {"id": example.id, "instruction": question, "input": "", "output": answer}
    return row | ({"system": system} if system else {}) | ({"history": rounds} if rounds else {})


def answer_of(prediction: Prediction) -> str | None:
    """The text of an answer that was found in a passage, empty for "no answer"; None for other kinds of task."""
    label = prediction.label
    is_found = isinstance(label, tuple) and any(isinstance(item, Span) for item in label)
    if not prediction.scores or not (is_found or "" in prediction.scores):
        return None
    return next(iter(prediction.scores))


def plain_label(label: Label | None, text: str = "") -> object:
    """A label as plain values; spans with their words, where these are out of `text`."""
    if isinstance(label, tuple):
        return [_plain_span(item, text) if isinstance(item, Span) else item for item in label]
    return plain_number(label) if isinstance(label, float) else label


def _plain_span(span: Span, text: str) -> dict[str, object]:
    return {**asdict(span), **({"text": text[span.start : span.end]} if text else {})}


def plain_number(value: float) -> float | None:
    """A number, or None where it is none or has no end, which JSON has no word for."""
    return value if math.isfinite(value) else None


def write_predictions(
    path: Path, split: str, examples: Sequence[Example], predictions: Sequence[Prediction], *, append: bool
) -> None:
    """Write one JSON line per example: split, id, text, gold label and answer."""
    with path.open("a" if append else "w", encoding="utf-8") as file:
        for example, prediction in zip(examples, predictions, strict=True):
            row = {
                "split": split,
                "text": example.text,
                **({"second": example.second} if example.second else {}),
                "gold": plain_label(example.label, example.text if answer_of(prediction) is not None else ""),
                **prediction_row(prediction),
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
