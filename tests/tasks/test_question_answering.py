"""Answers come back from any place of any passage, no answer is one, and what is changed or lost is said."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.builders import QUESTIONS, build_model
from tests.tasks.test_conformance import perfect_logits
from tunesmith.data.encoding_checks import check_encoding
from tunesmith.data.records import Example, Prediction, Span
from tunesmith.errors import DataError, RecipeError
from tunesmith.models.model import Model
from tunesmith.preparation import count_of
from tunesmith.scoring.calibration import fit_confidence
from tunesmith.tasks import QuestionAnswering, Task
from tunesmith.tasks.answer_spans import best_threshold, find_candidates
from tunesmith.tasks.encoding import Encoded, TextEncoder, plain_piece


def question(text: str, start: int, end: int, asked: str = "what is it?") -> Example:
    """A question with one answer."""
    return Example("q", text, (Span(start, end, "answer"),), second=asked)


def built(
    folder: Path, task: QuestionAnswering, examples: list[Example], window: int = 32
) -> tuple[Model, QuestionAnswering, TextEncoder]:
    model, prepared, encoder = build_model(folder, task, examples, max_length=window)
    assert isinstance(prepared, QuestionAnswering)
    return model, prepared, encoder


def answer_of(model: Model, task: Task, encoder: TextEncoder, example: Example, logits: torch.Tensor) -> Prediction:
    encoded = task.encode(replace(example, label=None), encoder)
    return task.decode(model, encoder, [example], [encoded], [logits])[0]


ENGLISH = " ".join(["the day was good, Anna Bell went to Rome (2012)."] * 6)
CHINESE = "今天天气很好，张三和李四在北京大学读书。他们喜欢看电影，2012年去了上海；" * 3


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_an_answer_in_any_place_of_a_long_passage_comes_back(text: str, tiny_model_folder: Path) -> None:
    model, task, encoder = built(tiny_model_folder, QuestionAnswering(stride=10, max_answer=8), [question(text, 0, 1)])
    borders = [place for place in task.encode(question(text, 0, 1), encoder).units if place != (0, 0)]
    ends = {end: (start, end) for start, end in borders}
    for start, _ in sorted(set(borders))[::3]:
        reached = [end for end in ends if start < end <= start + 8]
        gold = question(text, start, max(reached))
        encoded = task.encode(gold, encoder)
        assert len(encoded.pieces) > 3
        assert not encoded.lost
        assert all(len(piece.input_ids) <= 32 for piece in encoded.pieces)
        answer = answer_of(model, task, encoder, gold, perfect_logits(task, encoded))
        assert answer.label == gold.label


def test_chinese_answers_begin_and_end_at_any_character(tiny_model_folder: Path) -> None:
    _, task, encoder = built(tiny_model_folder, QuestionAnswering(), [], window=64)
    encoded = task.encode(question("我在北京大学读书", 2, 4), encoder)
    assert encoded.units[1:] == tuple((place, place + 1) for place in range(8))
    assert encoded.target is not None
    assert encoded.target.tolist() == [[3, 4]]


def test_the_whole_question_stands_in_every_window(tiny_model_folder: Path) -> None:
    _, task, encoder = built(tiny_model_folder, QuestionAnswering(stride=8), [])
    encoded = task.encode(question(ENGLISH, 0, 3, "where did Anna go?"), encoder)
    asked = encoder.tokens("where did Anna go?").ids
    for piece in encoded.pieces:
        assert piece.input_ids[1 : 1 + len(asked)].tolist() == asked
        assert piece.unit_positions[0] == 0
        assert piece.unit_positions[1] == 1 + len(asked) + len(encoder.between)
        assert "cut_question" not in encoded.changed


def test_a_question_of_more_than_half_a_window_is_cut_and_counted(tiny_model_folder: Path) -> None:
    _, task, encoder = built(tiny_model_folder, QuestionAnswering(stride=8), [])
    example = question(ENGLISH, 0, 3, "what is the name of the city " * 5)
    encoded = task.encode(example, encoder)
    assert encoded.changed == ("cut_question",)
    specials = len(encoder.before) + len(encoder.between) + len(encoder.after)
    assert count_of(encoded, task, encoder).frame == specials, "what stands around a text is no token of it"
    assert encoded.pieces[0].unit_positions[1] == 1 + encoder.room_for_pair // 2 + len(encoder.between)
    (found,) = [
        one
        for one in check_encoding([example], [count_of(encoded, task, encoder)], max_length=32, split="train")
        if one.code == "cut_question"
    ]
    assert (found.count, found.severity) == (1, "warning")


def test_borders_inside_a_token_are_widened_and_counted(tiny_model_folder: Path) -> None:
    model, task, encoder = built(tiny_model_folder, QuestionAnswering(), [], window=64)
    example = question("Anna went to London", 13, 16)
    encoded = task.encode(example, encoder)
    assert encoded.changed == ("widened_answer",)
    assert not encoded.lost
    assert answer_of(model, task, encoder, example, perfect_logits(task, encoded)).label == (Span(13, 19, "answer"),)


def test_an_answer_that_no_window_holds_is_lost(tiny_model_folder: Path) -> None:
    _, task, encoder = built(tiny_model_folder, QuestionAnswering(stride=4), [])
    encoded = task.encode(question(ENGLISH, 0, len(ENGLISH)), encoder)
    assert encoded.lost == ("answer",)
    assert encoded.changed == ("long_answer",)


def test_blanks_around_an_answer_do_not_widen_it(tiny_model_folder: Path) -> None:
    _, task, encoder = built(tiny_model_folder, QuestionAnswering(), [], window=64)
    assert task.encode(question("went to Rome today", 7, 13), encoder).changed == ()


def test_the_most_frequent_answer_of_a_window_is_learnt(tiny_model_folder: Path) -> None:
    _, task, encoder = built(tiny_model_folder, QuestionAnswering(), [], window=64)
    spans = (Span(0, 4, "answer"), Span(0, 9, "answer"), Span(0, 9, "answer"))
    encoded = task.encode(Example("a", "Anna Bell went", spans, second="who?"), encoder)
    assert encoded.target is not None
    assert encoded.target.tolist() == [[1, 2]]
    assert encoded.golds == ((0, 4), (0, 9), (0, 9))


def test_a_question_without_text_is_an_error(tiny_model_folder: Path) -> None:
    _, task, encoder = built(tiny_model_folder, QuestionAnswering(), [])
    with pytest.raises(DataError, match="no question"):
        task.encode(Example("a", "Rome"), encoder)


def test_prepared_learns_of_missing_answers_and_of_the_language(tiny_model_folder: Path) -> None:
    all_answered = [example for example in QUESTIONS if example.label]
    _, task, _ = built(tiny_model_folder, QuestionAnswering(), all_answered)
    assert (task.no_answer, task.normalization) == (False, "squad")
    _, task, _ = built(tiny_model_folder, QuestionAnswering(), QUESTIONS)
    assert task.no_answer is True
    _, task, _ = built(tiny_model_folder, QuestionAnswering(), [question(CHINESE, 0, 2)])
    assert task.normalization == "cmrc"
    with pytest.raises(RecipeError, match="2 training questions have no answer"):
        built(tiny_model_folder, QuestionAnswering(no_answer=False), QUESTIONS)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_answer": 0}, "max_answer must be at least 1"),
        ({"n_best": 0}, "n_best must be at least 1"),
        ({"stride": -1}, "stride must not be negative"),
        ({"no_answer": False, "threshold": 1.0}, "threshold has no effect"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict[str, float], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        QuestionAnswering(**settings)  # type: ignore[arg-type]


def test_candidates_are_those_of_a_search_through_all_spans() -> None:
    torch.manual_seed(2)
    lengths, longest, most = [7, 5], 3, 6
    scores = torch.randn(12, 2)
    units = [(0, 0), *((n, n + 1) for n in range(6)), (0, 0), *((n, n + 1) for n in range(4, 8))]
    found = find_candidates(scores, lengths, units, most=most, longest=longest)
    best: dict[tuple[int, int], float] = {}
    for first, length in ((0, 7), (7, 5)):
        for start in range(first + 1, first + length):
            for end in range(start, min(start + longest, first + length)):
                span = units[start][0], units[end][1]
                best[span] = max(best.get(span, -math.inf), float(scores[start, 0] + scores[end, 1]))
    expected = sorted(best.items(), key=lambda one: -one[1])[:most]
    assert [span for span, _ in found.spans] == [span for span, _ in expected]
    assert [score for _, score in found.spans] == pytest.approx([score for _, score in expected])
    assert found.nothing == pytest.approx(min(float(scores[0].sum()), float(scores[7].sum())))


def test_probabilities_are_of_texts_and_sum_to_one(tiny_model_folder: Path) -> None:
    model, task, encoder = built(tiny_model_folder, QuestionAnswering(no_answer=True, n_best=5), QUESTIONS, window=64)
    example = question("Rome or Rome", 0, 4)
    scores = torch.full((4, 2), -5.0)
    scores[1], scores[3] = 2.0, 2.5
    answer = answer_of(model, task, encoder, example, scores)
    assert answer.label == (Span(8, 12, "answer"),)
    assert sum(answer.scores.values()) == pytest.approx(1)
    assert next(iter(answer.scores)) == "Rome"
    assert "" in answer.scores
    assert answer.confidence == answer.scores["Rome"] == answer.span_scores[0]


def test_the_threshold_moves_the_border_between_an_answer_and_none(tiny_model_folder: Path) -> None:
    model, task, encoder = built(tiny_model_folder, QuestionAnswering(no_answer=True), QUESTIONS, window=64)
    scores = torch.tensor([[1.0, 1.0], [1.0, 1.5]])
    example = question("Rome", 0, 4)
    assert answer_of(model, task, encoder, example, scores).label == (Span(0, 4, "answer"),)
    nothing = answer_of(model, replace(task, threshold=-1.0), encoder, example, scores)
    assert nothing.label == ()
    assert nothing.confidence == nothing.scores[""]
    assert next(iter(nothing.scores)) == ""
    never = answer_of(model, replace(task, no_answer=False), encoder, example, torch.tensor([[9.0, 9.0], [1.0, 1.5]]))
    assert never.label == (Span(0, 4, "answer"),)


def test_a_passage_has_no_answer_only_if_no_window_has_one(tiny_model_folder: Path) -> None:
    model, task, encoder = built(tiny_model_folder, QuestionAnswering(stride=4, no_answer=True), QUESTIONS)
    example = question(ENGLISH, 0, 3)
    encoded = task.encode(example, encoder)
    answer = answer_of(model, task, encoder, example, perfect_logits(task, encoded))
    assert answer.label == example.label
    assert answer.scores[""] < 1e-6


def test_the_best_threshold_is_that_of_trying_all() -> None:
    random = np.random.default_rng(3)
    gaps = random.normal(size=40).round(1)
    declined = (random.random(40) < 0.4).astype(float)
    answered = random.random(40) * (1 - declined)
    found = best_threshold(gaps, answered, declined)
    worth = lambda border: float(np.where(gaps < border, answered, declined).sum())  # noqa: E731
    assert worth(found) == pytest.approx(max(worth(border) for border in np.arange(-4, 4, 0.05) + 0.025))


def encoded_like(lengths: list[int], gold: tuple[int, int] | None) -> Encoded:
    """A passage of one window whose tokens are single characters."""
    size = lengths[0]
    units = ((0, 0), *((place, place + 1) for place in range(size - 1)))
    target = np.zeros((1, 2)) if gold is None else np.array([[gold[0] + 1, gold[1]]], dtype=float)
    return Encoded((plain_piece([0] * size, range(size)),), target, units, golds=(gold,) if gold else ())


def test_calibration_finds_the_border_of_no_answer(tiny_model_folder: Path) -> None:
    _, task, _ = built(tiny_model_folder, QuestionAnswering(no_answer=True), QUESTIONS)
    encoded, logits = [], []
    for place in range(4):
        # "No answer" is scored too high by 5 for every question.
        rows = torch.full((6, 2), -4.0)
        rows[place + 1] = 3.0
        rows[0] = 4.0 if place % 2 else 7.0
        encoded.append(encoded_like([6], (place, place + 1) if place % 2 else None))
        logits.append(rows)
    fitted = task.calibrated(encoded, logits)
    assert 2.0 < fitted.threshold < 8.0
    assert fitted.temperature > 0
    assert replace(task, no_answer=False).calibrated(encoded[1::2], logits[1::2]).threshold == 0.0
    assert task.calibrated([], []) == task


def test_the_temperature_makes_the_confidence_of_answers_honest() -> None:
    random = np.random.default_rng(5)
    rows, right = [], []
    for _ in range(4000):
        true = np.sort(random.normal(size=random.integers(2, 6)) * 2)[::-1]
        chances = np.exp(true) / np.exp(true).sum()
        right.append(bool(random.random() < chances[0]))
        rows.append((true * 3).tolist())
    assert fit_confidence(rows, right) == pytest.approx(3, rel=0.15)
    assert fit_confidence([], []) == 1.0


def test_the_loss_is_the_mean_over_windows_and_then_over_questions(tiny_model_folder: Path) -> None:
    model, task, encoder = built(tiny_model_folder, QuestionAnswering(stride=8), QUESTIONS)
    model.eval()
    examples = [question(ENGLISH, 0, 3), QUESTIONS[6]]
    encoded = [task.encode(example, encoder) for example in examples]
    batch = task.collate(encoded, 0)
    logits = model(batch)
    expected = []
    row = 0
    for item in encoded:
        assert item.target is not None
        losses = []
        for piece, (start, end) in zip(item.pieces, item.target.astype(int), strict=True):
            chances = logits[row, : len(piece.unit_positions)].log_softmax(0)
            losses.append(-(chances[start, 0] + chances[end, 1]) / 2)
            row += 1
        expected.append(torch.stack(losses).mean())
    assert len(encoded[0].pieces) > 1
    assert batch.units == 2
    torch.testing.assert_close(task.loss(model.head, logits, batch), torch.stack(expected).mean())


def test_tokens_that_windows_share_are_counted_as_repeated(tiny_model_folder: Path) -> None:
    _, task, encoder = built(tiny_model_folder, QuestionAnswering(stride=8), [])
    encoded = task.encode(question(CHINESE, 0, 2), encoder)
    pair = len(encoder.before) + len(encoder.between) + len(encoder.after)
    once = pair + len(encoder.tokens("what is it?").ids) + len(encoder.tokens(CHINESE).ids)
    assert len(encoded.pieces) > 1
    assert encoded.tokens - encoded.repeated == once
