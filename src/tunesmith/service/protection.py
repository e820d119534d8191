"""What stands before and behind the models: personal data taken out, guards, and answers that are remembered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tunesmith.data.records import Prediction
from tunesmith.evaluation.results import prediction_row
from tunesmith.guarding.guards import Guards
from tunesmith.guarding.verdicts import Evidence, Verdict
from tunesmith.privacy import Offsets, PersonalDataError, Redactor
from tunesmith.remembered.labels import LabelSchema
from tunesmith.remembered.records import Answered
from tunesmith.remembered.store import Store
from tunesmith.service.aside import Aside, in_time
from tunesmith.service.engine import ServiceError
from tunesmith.service.questions import example_of, texts_of
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.rows import prediction_of
from tunesmith.service.versions import Version
from tunesmith.watching.metrics import Metrics

KINDS = ("class", "number", "classes", "spans", "text")
"""The kinds of label on which feedback can give the right answer."""


class GuardedError(ServiceError):
    """A guard refuses a request.

    Attributes:
        verdict: which guard's code, and its numbers.
    """

    def __init__(self, verdict: Verdict, where: str = "") -> None:
        super().__init__(verdict.message("en"), where=where)
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class Taken:
    """A question as the model may see it.

    Attributes:
        question: with personal data taken out.
        offsets: from places in the text as the model saw it to places as it was sent; None where nothing was changed.
    """

    question: Mapping[str, Any]
    offsets: Offsets | None = None


@dataclass(frozen=True)
class Protection:
    """What is done to all requests; nothing by default.

    Attributes:
        metrics: what counts it.
        redactor: takes personal data out of requests, and out of texts that models write.
        aside: where the redactor works if it asks a model for names; None for the loop itself.
        guards: by the name of a model.
        further: the models that guards ask, by the folder that guards know them by.
        store: remembers answers.
        schemas: by the name of a model, what right answers may be; feedback is judged by them.
    """

    metrics: Metrics
    redactor: Redactor | None = None
    aside: Aside | None = None
    guards: Mapping[str, Guards] = field(default_factory=dict)
    further: Mapping[str, Version] = field(default_factory=dict)
    store: Store | None = None
    schemas: dict[str, LabelSchema] = field(default_factory=dict)
    _noted: Counter[Any] = field(default_factory=Counter, repr=False)

    def judges(self, model: str) -> bool:
        """Whether what this model writes is looked at before it goes out."""
        return self.redactor is not None or model in self.guards

    async def all_taken(self, questions: Sequence[Mapping[str, Any]], until: float) -> list[Taken]:
        """The questions without personal data.

        Raises:
            NoAnswerError: one holds what is refused; or too much waits for that, or it is not done in time.
        """
        if self.redactor is None or self.aside is None:
            return [self.taken(question, place) for place, question in enumerate(questions)]
        async with in_time(until):
            return [
                await self.aside.done(partial(self.taken, question, place), sum(map(len, texts_of(question))))
                for place, question in enumerate(questions)
            ]

    def taken(self, question: Mapping[str, Any], place: int) -> Taken:
        """A question without personal data.

        Raises:
            NoAnswerError: it holds what is refused.
        """
        if self.redactor is None:
            return Taken(question)
        try:
            found = self.redactor.apply(question["text"])
            changed = {**question, "text": found.text}
            counts = Counter(found.counts)
            if question.get("second"):
                second = self.redactor.apply(question["second"])
                changed["second"] = second.text
                counts.update(second.counts)
            if question.get("turns"):
                turns = [
                    (role, found if text == question["text"] else self.redactor.apply(text))
                    for role, text in question["turns"]
                ]
                changed["turns"] = [[role, one.text] for role, one in turns]
                for _, one in turns[:-1]:  # the last one is the text itself
                    counts.update(one.counts)
        except PersonalDataError as error:
            for kind, count in error.counts.items():
                self.metrics.personal_data(kind, "refuse", count)
            kinds = ", ".join(sorted(error.counts))
            raise NoAnswerError("personal_data", where=f"inputs[{place}]", field=kinds) from None
        if question.get("marks"):
            moved = [(*found.offsets.to_redacted(start, end), label) for start, end, label in question["marks"]]
            changed["marks"] = [list(mark) for mark in moved]
        for kind, count in counts.items():
            self.metrics.personal_data(kind, "replaced", count)
        return Taken(changed, found.offsets if found.found else None)

    def before(
        self, version: Version, question: Mapping[str, Any], evidence: Evidence, place: int
    ) -> Mapping[str, Any]:
        """The question as the guards let it pass.

        Raises:
            GuardedError: one refuses it.
            UnknownError: one answers it with "I don't know".
        """
        guards = self.guards[version.model]
        example = example_of(question, str(place))
        found = guards.before(example, evidence)
        self._note(guards)
        if isinstance(found, Verdict):
            if found.action == "unknown":
                raise UnknownError(found)
            raise GuardedError(found, f"inputs[{place}]")
        return question if found is example else {**question, "text": found.text, "second": found.second}

    def after(
        self, version: Version, question: Mapping[str, Any], row: Mapping[str, Any], evidence: Evidence, place: int
    ) -> Mapping[str, Any]:
        """The answer as the guards let it pass; one that they do not know has no label.

        Raises:
            GuardedError: one refuses it.
        """
        guards = self.guards[version.model]
        prediction = prediction_of(row, version.label_kind, str(place))
        found = guards.after(example_of(question, str(place)), prediction, evidence)
        self._note(guards)
        if isinstance(found, Verdict):
            if found.action == "refuse":
                raise GuardedError(found, f"inputs[{place}]")
            return unknown_row(found)
        return row if found is prediction else {**row, **prediction_row(found)}

    async def all_shown(
        self, rows: Sequence[Mapping[str, Any]], taken: Sequence[Taken], version: Version, until: float
    ) -> list[Mapping[str, Any]]:
        """The answers for the client.

        Raises:
            NoAnswerError: one holds what is refused; or too much waits for that, or it is not done in time.
        """
        pairs = list(zip(rows, taken, strict=True))
        if self.aside is None or version.label_kind != "text":
            return [self.shown(row, one, version) for row, one in pairs]
        async with in_time(until):
            return [
                await self.aside.done(partial(self.shown, row, one, version), len(row.get("label") or ""))
                for row, one in pairs
            ]

    def shown(self, row: Mapping[str, Any], taken: Taken, version: Version) -> Mapping[str, Any]:
        """The answer for the client: spans where they are in the text as sent, no personal data in written texts."""
        label = row.get("label")
        if taken.offsets is not None and isinstance(label, list):
            return {**row, **moved_spans(row, taken.offsets)}
        if self.redactor is not None and version.label_kind == "text" and isinstance(label, str):
            try:
                found = self.redactor.apply(label)
            except PersonalDataError as error:
                raise NoAnswerError("personal_data", field=", ".join(sorted(error.counts))) from None
            for kind, count in found.counts.items():
                self.metrics.personal_data(kind, "replaced", count)
            return {**row, "label": found.text}
        return row

    def remember(self, given: Sequence[Answered]) -> None:
        """Remember answers, where there is a store; those for which there is no room are counted."""
        if self.store is not None:
            kept = self.store.remember(given)
            if kept < len(given):
                self.metrics.dropped(len(given) - kept)

    def known(self, version: Version) -> None:
        """A version answers from now on: right answers are judged by its labels."""
        if version.label_kind in KINDS:
            self.schemas[version.model] = LabelSchema(version.label_kind, version.labels)  # type: ignore[arg-type]

    def _note(self, guards: Guards) -> None:
        for (name, moment, action), count in guards.counts.items():
            key = (id(guards), name, moment, action)
            if action != "pass" and count > self._noted[key]:
                for _ in range(count - self._noted[key]):
                    self.metrics.guard(name, action)
                self._noted[key] = count


class UnknownError(ServiceError):
    """A guard wants a question answered with "I don't know"."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message("en"))
        self.verdict = verdict


def unknown_row(verdict: Verdict) -> dict[str, Any]:
    """The answer "I don't know", with why in both languages."""
    why = {"code": verdict.code, "en": verdict.message("en"), "zh": verdict.message("zh")}
    return {"label": None, "confidence": None, "unknown": why}


def answers_to_remember(
    request_id: str, key_id: str, version: Version, questions: Sequence[Mapping[str, Any]], rows: Sequence[Any]
) -> list[Answered]:
    """Answers as the store keeps them; texts under the keys that its policy knows."""
    kept = []
    for item, (question, row) in enumerate(zip(questions, rows, strict=True)):
        key = {"spans": "spans", "text": "answer", "answers": "answer"}.get(version.label_kind, "label")
        value = row.get("answer", row["label"]) if key == "answer" else row["label"]
        kept.append(
            Answered(
                request_id,
                item,
                version.model,
                version.sha256,
                key_id,
                question["text"],
                {key: value},
                row.get("confidence"),
                question.get("subject", ""),
                {"second": question["second"]} if question.get("second") else {},
            )
        )
    return kept


def evidence_of(row: Mapping[str, Any], tokens: int, answers: Mapping[str, Prediction]) -> Evidence:
    """What the worker found beside an answer, as guards take it."""
    told = Evidence(tokens=tokens, answers=answers)
    found = row.get("evidence", {})
    if "vector" in found:
        told = replace(told, vector=tuple(found["vector"]))
    return replace(told, energy=found["energy"]) if "energy" in found else told


def moved_spans(row: Mapping[str, Any], offsets: Offsets) -> dict[str, Any]:
    """Spans, and their scores where there are some, in the text as it was sent.

    Several on parts of one replacement stand on the same words then: of these the likeliest is kept, once.
    """
    label, scores = row["label"], list(row.get("span_scores", ()))
    if not all(isinstance(item, Mapping) for item in label):
        return {"label": label}
    old = [(item["start"], item["end"]) for item in label]
    new = [offsets.to_original(*place) for place in old]
    order = sorted(range(len(label)), key=lambda number: -(scores[number] or 0.0) if scores else 0.0)
    kept: list[int] = []
    on: dict[int, list[int]] = {}
    for number in order:
        touched = [place for place, (_, piece) in enumerate(offsets.pieces) if _overlap(old[number], piece)]
        pairs = [(one, offsets.pieces[place][0]) for place in touched for one in on.get(place, ())]
        if any(
            (_overlap(new[number], new[one]) and not _overlap(old[number], old[one]))
            or new[number] == new[one] == piece
            for one, piece in pairs
        ):
            continue
        kept.append(number)
        for place in touched:
            on.setdefault(place, []).append(number)
    kept.sort()
    found: dict[str, Any] = {
        "label": [{**label[number], "start": new[number][0], "end": new[number][1]} for number in kept]
    }
    return found | ({"span_scores": [scores[number] for number in kept]} if scores else {})


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]
