"""Questions on their way to the queue and back: counted, waiting, answered or given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.access.body_limits import check_texts
from tunesmith.service.batching import Batcher, Waiting
from tunesmith.service.jobs import Counted, Limits, Measured
from tunesmith.service.questions import texts_of
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.tracing import note_batches
from tunesmith.service.versions import Served, Version


class Line:
    """Where questions stand until they are answered."""

    def __init__(self, batcher: Batcher, limits: Limits) -> None:
        self._batcher = batcher
        self._limits = limits

    def measured(self, version: Version, questions: Sequence[Mapping[str, Any]]) -> list[Counted]:
        """The questions with their lengths in tokens.

        Raises:
            access.RefusedError: there are none or too many, or one has too many characters.
            NoAnswerError: one has too many tokens.
        """
        texts = [texts_of(question) for question in questions]
        check_texts(["".join(one) for one in texts], self._limits.body)
        counted = [max(1, _counted(version, one, place)) for place, one in enumerate(texts)]
        for place, tokens in enumerate(counted):
            if tokens > self._limits.tokens:
                where = f"inputs[{place}]"
                raise NoAnswerError("tokens_above_limit", where=where, given=tokens, limit=self._limits.tokens)
        return [Counted(*pair) for pair in zip(questions, counted, strict=True)]

    async def rows(self, served: Served, version: Version, questions: Measured, until: float) -> list[Any]:
        """The rows of answers of a version, which is not let go meanwhile."""
        with served.holding(version):
            return await self.waited(version, questions, until)

    async def waited(self, version: Version, questions: Measured, until: float) -> list[Any]:
        """The rows of answers, in the order of the questions.

        Raises:
            NoAnswerError: too much waits already, there is no answer in time, or the model fails on one of them.
        """
        waiting: list[Waiting] = []
        try:
            pairs = [(one.question, one.tokens) for one in questions]
            waiting = self._batcher.put(version.slot.name, pairs, until)
            futures = [one.answer for one in waiting]
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + until - time.monotonic()):
                    await asyncio.wait(futures, return_when=asyncio.FIRST_EXCEPTION)
            except TimeoutError as error:
                raise NoAnswerError("deadline", limit=round(1000 * (until - waiting[0].since))) from error
            for place, future in enumerate(futures):
                if future.done() and (failure := future.exception()) is not None:
                    assert isinstance(failure, NoAnswerError)
                    failure.where = f"inputs[{place}]" if len(futures) > 1 else ""
                    raise failure
            note_batches(version, waiting)
            return [future.result() for future in futures]
        finally:
            self._batcher.drop(waiting)


def _counted(version: Version, texts: Sequence[str], place: int) -> int:
    try:
        return version.counter.count(texts)
    except UnicodeEncodeError as error:
        detail = "a text has half of a surrogate pair, which is no character"
        raise NoAnswerError("bad_request", where=f"inputs[{place}]", detail=detail) from error
