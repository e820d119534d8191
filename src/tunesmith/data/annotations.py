"""Texts on their way to people who label them, and back: rows of JSON, or tasks of Label Studio."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tunesmith.data.files import Place, read_lines
from tunesmith.data.records import Example, Label, Prediction, Span
from tunesmith.errors import DataError

AnnotationForm = Literal["jsonl", "label_studio"]
"""How a batch is written: a row per text, or what Label Studio imports."""

_FROM, _TO = "label", "text"
"""The names of the control and of the text in Label Studio's labelling configuration."""


def batch_rows(
    examples: Sequence[Example], predictions: Sequence[Prediction], label_kind: str
) -> Iterator[dict[str, object]]:
    """A row per text with the model's answer, which a person confirms or corrects in `label` or `spans`."""
    for example, prediction in zip(examples, predictions, strict=True):
        yield {
            **_asked(example, label_kind),
            **_answer(prediction.label, label_kind, example.text),
            "suggested": True,
            "confidence": prediction.confidence,
        }


def label_studio_tasks(
    examples: Sequence[Example], predictions: Sequence[Prediction], label_kind: str
) -> list[dict[str, object]]:
    """Tasks with the model's answers as predictions, for a labelling configuration whose names are label and text.

    The kind of label goes along, since an annotation without a result does not tell it.
    """
    return [
        {
            "data": {**_asked(example, label_kind), "label_kind": label_kind},
            "predictions": [{"score": prediction.confidence, "result": _results(prediction.label, example.text)}],
        }
        for example, prediction in zip(examples, predictions, strict=True)
    ]


def _asked(example: Example, label_kind: str) -> dict[str, object]:
    """What is shown of an example, and where its words are if these are given."""
    row: dict[str, object] = {"id": example.id, "text": example.text}
    if example.second:
        row["question" if label_kind == "answers" else "second"] = example.second
    if example.words is not None:
        row["word_ranges"] = [list(word) for word in example.words]
    return row


def _answer(label: Label, label_kind: str, text: str) -> dict[str, object]:
    spans = [item for item in label if isinstance(item, Span)] if isinstance(label, tuple) else []
    if label_kind == "answers":
        return {"answers": [_found(text, span.start, span.end) for span in spans]}
    if label_kind == "spans":
        return {"spans": [{"start": span.start, "end": span.end, "label": span.label} for span in spans]}
    return {"label": list(label) if isinstance(label, tuple) else label}


def _found(text: str, start: int, end: int) -> dict[str, object]:
    return {"text": text[start:end], "answer_start": start}


def _results(label: Label, text: str) -> list[dict[str, object]]:
    items = label if isinstance(label, tuple) else (label,)
    spans = [item for item in items if isinstance(item, Span)]
    if spans:
        return [
            _result("labels", {"start": s.start, "end": s.end, "text": text[s.start : s.end], "labels": [s.label]})
            for s in spans
        ]
    choices = [str(item) for item in items]
    return [_result("choices", {"choices": choices})] if choices else []


def _result(kind: str, value: Mapping[str, object]) -> dict[str, object]:
    return {"from_name": _FROM, "to_name": _TO, "type": kind, "value": dict(value)}


def answered_rows(path: Path) -> Iterator[dict[str, object]]:
    """The rows that people have answered, from a batch as `batch_rows` wrote it or an export of Label Studio (JSON).

    A row of a batch counts as answered once "suggested" is false or gone; a task once it has an annotation that was not
    skipped, of which the newest counts.

    Raises:
        DataError: the file is neither.
    """
    text = "".join(read_lines(Place.of(str(path)), "utf-8"))
    try:
        if text.lstrip().startswith("["):
            yield from (row for task in json.loads(text) if (row := _of_task(task, path)) is not None)
            return
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict) or "text" not in row:
                    raise DataError("The row has no text.", where=f"{path}:{number}")
                if not row.pop("suggested", False):
                    row.pop("confidence", None)
                    yield row
    except json.JSONDecodeError as error:
        raise DataError(
            f"The file is not JSON: {error.msg}.",
            where=f"{path}:{error.lineno}",
            to_do="Give the batch as it was written, with its answers, or Label Studio's JSON export.",
        ) from error


def _of_task(task: Any, path: Path) -> dict[str, object] | None:
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict) or "text" not in task["data"]:
        raise DataError(
            "A task has no data.text.", where=str(path), to_do="Export as JSON (not JSON-MIN) from Label Studio."
        )
    data = task["data"]
    kept = {key: data[key] for key in ("id", "text", "second", "question", "word_ranges") if key in data}
    given = [one for one in task.get("annotations", []) if not one.get("was_cancelled")]
    if not given:
        return None
    newest = max(given, key=lambda one: str(one.get("updated_at", "")))
    results = newest.get("result", [])
    spans = [one["value"] for one in results if one.get("type") == "labels"]
    choices = [choice for one in results if one.get("type") == "choices" for choice in one["value"]["choices"]]
    kind = data.get("label_kind") or ("spans" if spans else "classes" if len(choices) > 1 else "class")
    if kind == "spans":
        found = [{"start": one["start"], "end": one["end"], "label": one["labels"][0]} for one in spans]
        return {**kept, "spans": found}
    if kind == "answers":
        return {**kept, "answers": [_found(data["text"], one["start"], one["end"]) for one in spans]}
    if kind == "classes":
        return {**kept, "label": choices}
    return {**kept, "label": choices[0]} if choices else None
