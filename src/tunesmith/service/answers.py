"""What the service's own route answers: records by the kind of label, for clients and for the OpenAPI page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class FoundSpan:
    """A span of the text: characters `start` to `end` (Unicode code points of the text as sent), the end not included.

    `score` is its probability, `text` its characters.
    """

    start: int
    end: int
    label: str
    text: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why there is no answer to a question: a guard's stable code, and a sentence in English and Chinese."""

    code: str
    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question.

    Attributes:
        label: a class or a written text, a number, several classes, or spans; by the task's kind of label. Null where
            the answer is "I don't know".
        confidence: the probability of the answer; null where there is none.
        scores: the probability of each class, or of the best answers or items.
        answer: the answer to a question about a passage as text, empty for "no answer"; null for other tasks.
        vector: the text's embedding, where it was asked for.
        uncertainty: how far an ensemble's members are apart.
        unknown: why the answer is "I don't know"; null where there is one.
    """

    label: str | float | Sequence[str] | Sequence[FoundSpan] | None
    confidence: float | None = None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    answer: str | None = None
    vector: Sequence[float] | None = None
    uncertainty: float | None = None
    unknown: Unknown | None = None


@dataclass(frozen=True, slots=True)
class PredictResponse:
    """The answers to a request, in the order of its inputs, all by one version of the model."""

    request_id: str
    model: str
    version: str
    answers: Sequence[Answer]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request was not answered (RFC 9457); `code` is stable, no text of the request ever occurs.

    `figures` are what golden examples showed of a version that was refused.
    """

    title: str
    status: int
    code: str
    detail: str
    where: str = ""
    request_id: str = ""
    figures: Mapping[str, str | float | None] = field(default_factory=dict)


def plain_answer(row: Mapping[str, Any], question: Mapping[str, Any], *, vectors: bool = False) -> dict[str, Any]:
    """A worker's row as an answer; spans get the words that they hold."""
    label, text = row["label"], question["text"]
    if isinstance(label, list) and any(isinstance(item, Mapping) for item in label):
        shares = row.get("span_scores") or [None] * len(label)
        label = [
            {**span, "text": text[span["start"] : span["end"]], "score": score}
            for span, score in zip(label, shares, strict=True)
        ]
    answer = {"label": label, "confidence": row.get("confidence")}
    answer |= {name: row[name] for name in ("scores", "answer", "uncertainty", "unknown") if name in row}
    return answer | ({"vector": row["vector"]} if vectors and "vector" in row else {})
