"""What clients ask: requests as typed records, as questions for workers, and as examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, with_config

from tunesmith.data.records import Example, Span, Turn
from tunesmith.service.refusals import NoAnswerError

_STRICT = ConfigDict(extra="forbid")


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Mark:
    """A given span: characters `start` to `end` (Unicode code points), the end not included, and its role."""

    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=1)]
    label: Literal["e1", "e2"]


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Message:
    """One message of a dialogue."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Question:
    """One thing to answer; which fields it must have depends on the model's task (`GET /v1/models/{name}`).

    Attributes:
        text: what is read; the passage of a question, the first text of a pair.
        second: the other text of a pair, or the question about `text`.
        marks: the two entities of a relation.
        messages: a dialogue, for models that write; `text` alone is one message of a user.
        history: ids of items that a user had, the oldest first.
        subject: whom the text is about or from, as the client knows the person; kept as a keyed hash only.
    """

    text: str = ""
    second: str = ""
    marks: Sequence[Mark] = ()
    messages: Sequence[Message] = ()
    history: Sequence[str] = ()
    subject: str = ""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class PredictRequest:
    """What `POST /v1/models/{name}/predict` takes.

    Attributes:
        inputs: the questions, or texts; answered in this order.
        version: ask this version of the model and no other.
        vectors: also give each text's embedding, where the model has one.
    """

    inputs: Sequence[Question | str] = field(default_factory=list)
    version: str = ""
    vectors: bool = False


def plain_question(given: Question | str, inputs: Sequence[str], place: int) -> dict[str, Any]:
    """A question as plain values for a worker.

    Raises:
        NoAnswerError: it lacks what the task reads, or has what it cannot use.
    """
    asked = Question(text=given) if isinstance(given, str) else given
    needed = [name for name in inputs if not name.endswith("?")]
    there = _there(asked)
    lacking = [name for name in _FIELDS if name in needed and not (there[name] or (name == "turns" and asked.text))]
    known = {name.rstrip("?") for name in inputs} | ({"text"} if "turns" in inputs else set())
    strange = [name for name in _FIELDS if name not in known and name != "text" and there[name]]
    if lacking:
        raise NoAnswerError("missing_field", where=f"inputs[{place}]", field=_FIELDS[lacking[0]])
    if strange:
        raise NoAnswerError("unused_field", where=f"inputs[{place}]", field=_FIELDS[strange[0]])
    if any(mark.end > len(asked.text) or mark.start >= mark.end for mark in asked.marks):
        raise NoAnswerError("bad_span", where=f"inputs[{place}].marks", limit=len(asked.text))
    question: dict[str, Any] = {"text": asked.messages[-1].content if asked.messages else asked.text}
    if asked.second:
        question["second"] = asked.second
    if asked.marks:
        question["marks"] = [[mark.start, mark.end, mark.label] for mark in asked.marks]
    if "turns" in inputs:
        said = asked.messages or (Message("user", asked.text),)
        question["turns"] = [[one.role, one.content] for one in said]
    if asked.subject:
        question["subject"] = asked.subject
    if asked.history:
        question["history"] = list(asked.history)
    return question


_FIELDS = {"text": "text", "second": "second", "marks": "marks", "turns": "messages", "history": "history"}


def _there(asked: Question) -> dict[str, bool]:
    """Which of the fields that tasks read a question has, by the names that they have in an `Example`."""
    return {
        "text": bool(asked.text),
        "second": bool(asked.second),
        "marks": bool(asked.marks),
        "turns": bool(asked.messages),
        "history": bool(asked.history),
    }


def texts_of(question: Mapping[str, Any]) -> list[str]:
    """Every text that a question holds."""
    turns = [text for _, text in question.get("turns", ())]
    own = [] if turns else [question["text"]]
    return [text for text in (*own, question.get("second", ""), *turns, *question.get("history", ())) if text]


def example_of(question: Mapping[str, Any], name: str) -> Example:
    """A question as an example without a label."""
    return Example(
        name,
        question["text"],
        second=question.get("second", ""),
        marks=tuple(sorted((Span(*mark) for mark in question.get("marks", ())), key=lambda mark: mark.label)),
        turns=tuple(Turn(*turn) for turn in question.get("turns", ())),
        history=tuple(question.get("history", ())),
    )


def question_of(example: Example, inputs: Sequence[str]) -> dict[str, Any]:
    """A labelled example as a question for a worker: what a request would ask, and so without word borders."""
    question: dict[str, Any] = {"text": example.text}
    if example.second:
        question["second"] = example.second
    if "marks" in inputs:
        question["marks"] = [[mark.start, mark.end, mark.label] for mark in example.marks]
    return question
