"""Whether a version may become champion or canary: it and the champion answer golden examples beside the traffic."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence

from tunesmith.access.audit import AuditLog
from tunesmith.access.refusals import RefusedError
from tunesmith.access.secrets_in_text import without_secrets
from tunesmith.data.records import Prediction
from tunesmith.evaluation.non_inferiority import Judged, WorseSlice, judged, judged_for_share
from tunesmith.evaluation.results import plain_number
from tunesmith.service.golden import Golden
from tunesmith.service.jobs import Counted, Measured
from tunesmith.service.line import Line
from tunesmith.service.looks import Looks
from tunesmith.service.refusals import Figure, NoAnswerError
from tunesmith.service.rows import prediction_of
from tunesmith.service.versions import Served, Version

TOGETHER, TOKENS = 16, 1024
"""Golden examples that wait at once, and their tokens (or one example): nobody who asks stands behind more of them."""
SECONDS = 900.0
"""In which both versions must have answered all of them."""
LONGEST_SLICE = 80

NOT_SHOWN = "all that is shown is that it is above {bound}, not above -{margin} (try {look} on them, alpha {alpha})"
SHOWN_WORSE = "it is shown to be below {upper_bound}, and so worse by more than {margin}"
UNDEFINED = "its {metric} is not defined, as where all its answers are the same"

Figures = Mapping[str, Figure]


class PromotionGate:
    """Judges versions by golden examples, and counts how often each file of them was looked at.

    Attributes:
        goldens: by the name of a model.
    """

    def __init__(self, goldens: Mapping[str, Golden], line: Line, audit: AuditLog | None, seconds: float = SECONDS):
        self.goldens = goldens
        self._line = line
        self._seconds = seconds
        self._looks = Looks(audit)
        self._turns = {name: asyncio.Lock() for name in goldens}
        self._passed: dict[tuple[str, str, str], Figures] = {}

    def turn(self, name: str) -> asyncio.Lock:
        """Held by the one who has a version of this model judged."""
        return self._turns[name]

    async def looks(self, name: str) -> int:
        """How often a version was judged by these golden examples, by the audit log also before the service began."""
        return await self._looks.count(self.goldens[name].sha256)

    async def figures(self, name: str, served: Served, champion: Version, version: Version) -> Figures:
        """What a version shows beside the champion that it would replace.

        Raises:
            NoAnswerError: it may not be promoted, or one of the two does not answer.
        """
        golden, known = _new_to_both(self.goldens[name], champion, version)
        old, new = await self._both(golden, served, champion, version)
        look = await self._looks.of_promotion(golden.sha256, (champion.id, version.id))
        found = await asyncio.to_thread(judged, golden.task, golden.examples, old, new, golden.terms, look)
        figures = {**figures_of(found, golden), **known}
        if found.objection is not None:
            raise NoAnswerError(found.objection, figures=figures, detail=NOT_SHOWN)
        return figures

    async def canary_figures(self, name: str, served: Served, champion: Version, version: Version) -> Figures:
        """What a version shows beside the champion of whose requests it would get some.

        What once passed beside the same champion is not asked again.

        Raises:
            NoAnswerError: it is shown to be worse, or one of the two does not answer.
        """
        passed = name, champion.id, version.id
        if passed in self._passed:
            return self._passed[passed]
        golden, known = _new_to_both(self.goldens[name], champion, version)
        old, new = await self._both(golden, served, champion, version)
        look = await self._looks.of_canary(golden.sha256, (champion.id, version.id))
        found = await asyncio.to_thread(judged_for_share, golden.task, golden.examples, old, new, golden.terms, look)
        figures = {**figures_of(found, golden), "upper_bound": _rounded(found.gap.high), **known}
        if found.objection is not None:
            detail = UNDEFINED if math.isnan(found.gap.new) else SHOWN_WORSE
            raise NoAnswerError(found.objection, figures=figures, detail=detail)
        self._passed[passed] = figures
        return figures

    async def _both(
        self, golden: Golden, served: Served, champion: Version, version: Version
    ) -> tuple[list[Prediction], list[Prediction]]:
        """The champion's answers and the version's."""
        if not await asyncio.to_thread(lambda: golden.is_unchanged):
            raise NoAnswerError("golden_changed")
        until = time.monotonic() + self._seconds
        old = await self._answers(golden, served, champion, "champion", until)
        return old, await self._answers(golden, served, version, "new version", until)

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


def _new_to_both(golden: Golden, champion: Version, version: Version) -> tuple[Golden, Figures]:
    """The golden examples without those that one of the two learnt from, and how many these are, if that is known.

    Raises:
        NoAnswerError: too few are left.
    """
    old, new = golden.learnt_by(champion), golden.learnt_by(version)
    known = {"old_learnt": _known(old), "new_learnt": _known(new)}
    left = golden.without({*(old or ()), *(new or ())})
    if len(left.examples) < golden.terms.fewest():
        figures = {"golden": golden.sha256, "n": len(left.examples), "needed": golden.terms.fewest(), **known}
        raise NoAnswerError("golden_learnt", figures=figures)
    return left, known


def _known(places: Collection[int] | None) -> Figure:
    return "unknown" if places is None else len(places)


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
