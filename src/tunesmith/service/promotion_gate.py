"""Whether a version may become champion: both answer the golden examples beside the traffic, and are compared."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tunesmith.access.audit import AuditLog
from tunesmith.access.refusals import RefusedError
from tunesmith.access.secrets_in_text import without_secrets
from tunesmith.data.records import Prediction
from tunesmith.evaluation.non_inferiority import Judged, WorseSlice, judged
from tunesmith.evaluation.results import plain_number
from tunesmith.service.golden import Golden
from tunesmith.service.jobs import Counted, Measured
from tunesmith.service.line import Line
from tunesmith.service.refusals import Figure, NoAnswerError
from tunesmith.service.rows import prediction_of
from tunesmith.service.versions import Served, Version

TOGETHER, TOKENS = 16, 1024
"""Golden examples that wait at once, and their tokens (or one example): nobody who asks stands behind more of them."""
SECONDS = 900.0
"""In which both versions must have answered all of them."""
LONGEST_SLICE = 80

Figures = Mapping[str, Figure]


class PromotionGate:
    """Judges versions by golden examples, and counts how often each file of them was looked at.

    Attributes:
        goldens: by the name of a model.
    """

    def __init__(self, goldens: Mapping[str, Golden], line: Line, audit: AuditLog | None, seconds: float = SECONDS):
        self.goldens = goldens
        self._line = line
        self._audit = audit
        self._seconds = seconds
        self._looks: Counter[str] = Counter()
        self._turns = {name: asyncio.Lock() for name in goldens}

    def turn(self, name: str) -> asyncio.Lock:
        """Held by the one who has a version of this model judged."""
        return self._turns[name]

    async def looks(self, name: str) -> int:
        """How often a version was judged by these golden examples, by the audit log also before the service began."""
        sha256 = self.goldens[name].sha256
        told = await asyncio.to_thread(_told_looks, self._audit, sha256) if self._audit is not None else 0
        self._looks[sha256] = max(self._looks[sha256], told)
        return self._looks[sha256]

    async def figures(self, name: str, served: Served, champion: Version, version: Version) -> Figures:
        """What a version shows beside the champion that it would replace.

        Raises:
            NoAnswerError: it may not be promoted, or one of the two does not answer.
        """
        golden = self.goldens[name]
        if not await asyncio.to_thread(lambda: golden.is_unchanged):
            raise NoAnswerError("golden_changed")
        until = time.monotonic() + self._seconds
        old = await self._answers(golden, served, champion, "champion", until)
        new = await self._answers(golden, served, version, "new version", until)
        look = await self.looks(name) + 1
        self._looks[golden.sha256] = look
        found = await asyncio.to_thread(judged, golden.task, golden.examples, old, new, golden.terms, look)
        figures = figures_of(found, golden)
        if found.objection is not None:
            raise NoAnswerError(found.objection, figures=figures)
        return figures

    async def _answers(
        self, golden: Golden, served: Served, version: Version, which: str, until: float
    ) -> list[Prediction]:
        """A version's answers to all golden examples, a few at a time through the queue that requests stand in."""
        rows: list[Mapping[str, object]] = []
        try:
            for start in range(0, len(golden.questions), TOGETHER):
                asked = [{**one, "golden": True} for one in golden.questions[start : start + TOGETHER]]
                for few in _few(self._line.measured(version, asked)):
                    rows += await self._rows(served, version, few, until)
        except (NoAnswerError, RefusedError) as error:
            raise NoAnswerError("golden_unanswered", field=which, detail=error.code) from None
        names = [example.id for example in golden.examples]
        return [prediction_of(row, version.label_kind, name) for row, name in zip(rows, names, strict=True)]

    async def _rows(
        self, served: Served, version: Version, measured: Measured, until: float
    ) -> Sequence[Mapping[str, object]]:
        """The rows of a few answers; where too much waits already, later."""
        while True:
            try:
                return await self._line.rows(served, version, measured, until)
            except NoAnswerError as error:
                if error.code != "overloaded" or time.monotonic() + error.seconds > until:
                    raise
                await asyncio.sleep(max(0.05, error.seconds))


def _few(measured: Measured) -> Iterator[Measured]:
    """Parts that are short together."""
    part: list[Counted] = []
    for one in measured:
        if part and sum(each.tokens for each in part) + one.tokens > TOKENS:
            yield part
            part = []
        part.append(one)
    yield part


def figures_of(found: Judged, golden: Golden) -> Figures:
    """What a try showed, as plain values fit for the audit log and for clients."""
    figures: dict[str, Figure] = {
        "golden": golden.sha256,
        "look": found.look,
        "alpha": _rounded(found.alpha),
        "metric": found.metric,
        "n": found.size,
        "old": _rounded(found.gap.old),
        "new": _rounded(found.gap.new),
        "difference": _rounded(found.gap.difference),
        "bound": _rounded(found.gap.low),
        "margin": golden.terms.margin,
        "old_ece": _rounded(found.old_error),
        "new_ece": _rounded(found.new_error),
        "calibration_margin": golden.terms.calibration,
    }
    return figures if found.worst is None else figures | _of_slice(found.worst)


def _of_slice(worst: WorseSlice) -> dict[str, Figure]:
    return {
        "slice": without_secrets(f"{worst.kind}: {worst.value.strip()}")[:LONGEST_SLICE],
        "slice_n": worst.size,
        "slice_old": _rounded(worst.gap.old),
        "slice_new": _rounded(worst.gap.new),
        "slice_bound": _rounded(worst.gap.high),
    }


def _rounded(value: float) -> float | None:
    return plain_number(float(f"{value:.4g}"))


def _told_looks(audit: AuditLog, sha256: str) -> int:
    """The number of the last look at these golden examples that the audit log has."""
    told = [
        after["look"]
        for record in audit.records()
        if isinstance(after := record.get("after"), Mapping) and after.get("golden") == sha256 and "look" in after
    ]
    return max((look for look in told if isinstance(look, int)), default=0)
