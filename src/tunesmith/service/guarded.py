"""What guards do with questions before they are asked, and with answers before they go out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.data.records import Prediction
from tunesmith.guarding.guards import Guards
from tunesmith.guarding.verdicts import Evidence
from tunesmith.service.jobs import Counted, Measured
from tunesmith.service.line import Line
from tunesmith.service.protection import Protection, UnknownError, evidence_of, unknown_row
from tunesmith.service.rows import prediction_of
from tunesmith.service.versions import Served, Version


class GuardedLine:
    """The line, with guards before and behind it; the models that guards ask stand in the same line."""

    def __init__(self, line: Line, protection: Protection) -> None:
        self._line = line
        self._protection = protection

    async def rows(self, served: Served, version: Version, measured: Measured, until: float) -> list[Any]:
        """The rows of answers, as the guards let them pass."""
        if version.model not in self._protection.guards:
            return await self._line.rows(served, version, measured, until)
        passed, unknown = await self.before(version, measured, until)
        asked = [one for place, one in enumerate(passed) if place not in unknown]
        rows = await self._line.rows(served, version, asked, until) if asked else []
        judged = iter(await self.after(version, asked, rows, until))
        return [unknown[place] if place in unknown else next(judged) for place in range(len(passed))]

    async def before(
        self, version: Version, measured: Measured, until: float
    ) -> tuple[list[Counted], dict[int, dict[str, Any]]]:
        """The questions as the guards let them pass, and by place the answers to those that are answered already."""
        guards = self._protection.guards.get(version.model)
        if guards is None:
            return list(measured), {}
        others = await self._further(guards, "before", [one.question for one in measured], until)
        needs = sorted(guards.needs & {"vector", "energy"})
        passed, unknown = [], {}
        for place, one in enumerate(measured):
            question, tokens = one.question, one.tokens
            evidence = Evidence(tokens=tokens, answers=others[place])
            try:
                found = self._protection.before(version, question, evidence, place)
                is_judged = bool(needs) and not question.get("embed")  # a vector is no answer to judge
                passed.append(Counted({**found, "needs": needs} if is_judged else found, tokens))
            except UnknownError as error:
                unknown[place] = unknown_row(error.verdict)
                passed.append(Counted(question, tokens))
        return passed, unknown

    async def after(
        self, version: Version, passed: Measured, rows: Sequence[Mapping[str, Any]], until: float
    ) -> list[Mapping[str, Any]]:
        """The rows of answers as the guards let them go out."""
        guards = self._protection.guards.get(version.model)
        if guards is None or any(one.question.get("embed") for one in passed):
            return list(rows)
        judged = [
            {"text": row["label"] if version.label_kind == "text" else one.question["text"]}
            for row, one in zip(rows, passed, strict=True)
        ]
        others = await self._further(guards, "after", judged, until)
        found = []
        for place, (one, row) in enumerate(zip(passed, rows, strict=True)):
            evidence = evidence_of(row, one.tokens, others[place])
            plain = {name: value for name, value in row.items() if name != "evidence"}
            found.append(self._protection.after(version, one.question, plain, evidence, place))
        return found

    async def _further(
        self, guards: Guards, moment: str, questions: Sequence[Mapping[str, Any]], until: float
    ) -> list[dict[str, Prediction]]:
        """By question the answers of the models that guards ask at that moment."""
        found: list[dict[str, Prediction]] = [{} for _ in questions]
        for folder, moments in guards.models.items():
            if moment not in moments or not questions:
                continue
            other = self._protection.further[folder]
            texts = [{"text": question["text"]} for question in questions]
            rows = await self._line.waited(other, self._line.measured(other, texts), until)
            for one, row in zip(found, rows, strict=True):
                one[folder] = prediction_of(row, other.label_kind, "0")
        return found
