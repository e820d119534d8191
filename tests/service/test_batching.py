"""Batches: what shares one, what is spared, what is asked again, and what fails alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.service.running import FakeEngine
from tunesmith.service.batching import Batcher, Waiting
from tunesmith.service.refusals import NoAnswerError


class _Quiet:
    """Takes no note."""

    def answered(self, slot: str, batch: object, answers: object) -> None: ...

    def wrote(self, slot: str, times: object, last: object) -> None: ...

    def waits(self, slot: str, length: int) -> None: ...

    def spared(self, reason: str) -> None: ...


QUIET = _Quiet()


def batched(
    story: Callable[[Batcher], Awaitable[object]], engine: FakeEngine | None = None, **settings: int
) -> FakeEngine:
    """Tell a story to a batcher over a fake engine."""

    async def run() -> FakeEngine:
        used = engine or FakeEngine()
        batcher = Batcher(used, QUIET, **settings)
        batcher.start()
        await asyncio.wait_for(story(batcher), 10)
        await batcher.close()
        return used

    return asyncio.run(run())


def put(batcher: Batcher, *texts: str, seconds: float = 5.0) -> list[Waiting]:
    questions = [({"text": text}, len(text)) for text in texts]
    return batcher.put("m", questions, time.monotonic() + seconds)


async def labels(waiting: list[Waiting]) -> list[object]:
    found: list[Any] = await asyncio.gather(*(one.answer for one in waiting), return_exceptions=True)
    return [one.code if isinstance(one, NoAnswerError) else one["label"] for one in found]


def test_each_text_gets_its_own_answer_in_order() -> None:
    async def story(batcher: Batcher) -> None:
        texts = [f"text {'x' * (number % 7)} {number}" for number in range(50)]
        assert await labels(put(batcher, *texts)) == texts

    batched(story, budget=64)


def test_a_batch_holds_no_more_tokens_than_its_budget_padding_counted() -> None:
    async def story(batcher: Batcher) -> None:
        await labels(put(batcher, *("x" * (1 + number % 13) for number in range(60))))

    engine = batched(story, budget=40)
    assert any(len(batch) > 2 for batch in engine.batches)
    assert all(len(batch) * max(map(len, batch)) <= 40 for batch in engine.batches)


def test_texts_of_like_length_share_a_batch() -> None:
    async def story(batcher: Batcher) -> None:
        await labels(put(batcher, *(["x" * 30, "y"] * 8)))

    engine = batched(story, budget=120)
    wide = sum(len(batch) * max(map(len, batch)) for batch in engine.batches)
    assert wide < 1.2 * 8 * 31  # in the order of arrival it would be 16 * 30


def test_a_text_longer_than_the_budget_goes_alone() -> None:
    async def story(batcher: Batcher) -> None:
        assert await labels(put(batcher, "x" * 500, "a", "b")) == ["x" * 500, "a", "b"]

    assert ["x" * 500] in batched(story, budget=32).batches


def test_the_oldest_text_is_never_passed_over_for_long() -> None:
    async def story(batcher: Batcher) -> None:
        first = put(batcher, "x" * 30)
        rest = put(batcher, *(["y"] * 100))
        await labels(first + rest)

    engine = batched(story, budget=30)
    assert engine.batches[0][0] == "x" * 30


def test_a_poisonous_text_fails_alone() -> None:
    async def story(batcher: Batcher) -> None:
        texts = ["a", "b", "poison", "c", "d", "e", "f", "g"]
        assert await labels(put(batcher, *texts)) == ["a", "b", "unanswerable", "c", "d", "e", "f", "g"]

    batched(story, budget=64)


def test_a_text_that_ends_workers_is_refused_and_the_others_are_answered() -> None:
    async def story(batcher: Batcher) -> None:
        assert await labels(put(batcher, "a", "deadly", "b", "c")) == ["a", "unanswerable", "b", "c"]

    engine = batched(story, budget=64)
    assert [batch for batch in engine.batches if "deadly" in batch][1:] == [["deadly"], ["deadly"]]


def test_more_than_may_wait_is_refused_with_a_time_to_come_back() -> None:
    async def story(batcher: Batcher) -> None:
        first = put(batcher, *(["x" * 10] * 5))
        with pytest.raises(NoAnswerError) as refused:
            put(batcher, "x" * 10)
        assert refused.value.code == "overloaded"
        assert refused.value.seconds > 0
        assert await labels(first) == ["x" * 10] * 5

    batched(story, most=50)


def test_what_nobody_waits_for_is_not_asked() -> None:
    async def story(batcher: Batcher) -> None:
        busy = put(batcher, "first")
        await asyncio.sleep(0.02)
        late = put(batcher, "late", seconds=0.01)
        left = put(batcher, "left")
        batcher.drop(left)
        await asyncio.sleep(0.2)
        assert await labels([*busy, *late]) == ["first", "deadline"]

    engine = batched(story, FakeEngine(seconds=0.1))
    assert engine.batches == [["first"]]


def test_what_waits_when_the_service_ends_is_refused() -> None:
    async def story(batcher: Batcher) -> None:
        waiting = put(batcher, *("abcdef"))
        await batcher.close()
        assert set(await labels(waiting)) <= {"shutting_down", *"abcdef"}

    batched(story, FakeEngine(seconds=0.05), budget=1)


def test_closing_a_written_answer_frees_its_worker() -> None:
    async def story(batcher: Batcher) -> None:
        parts = batcher.write("m", {"text": "one two three"}, 3)
        assert (await anext(parts)).text == "one"
        await parts.aclose()
        assert await labels(put(batcher, "after")) == ["after"]

    batched(story)
