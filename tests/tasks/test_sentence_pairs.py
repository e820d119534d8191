"""Pairs: what is cut is counted, vectors are compared as they should be, rankings are judged by query."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from tests.builders import LIKENESS, PAIRS, build_learner, build_material, build_model, run_steps
from tunesmith.cli import given_examples
from tunesmith.data.records import Example, Prediction
from tunesmith.data.source import Source
from tunesmith.data.sources import read
from tunesmith.errors import DataError, LabelError, RecipeError
from tunesmith.evaluation.results import prediction_row
from tunesmith.inference.predictor import Predictor
from tunesmith.methods import METHODS
from tunesmith.preparation import count_of
from tunesmith.scoring.retrieval import measure_rankings
from tunesmith.tasks import SentencePairs
from tunesmith.tasks.pair_heads import in_batch_contrast
from tunesmith.tasks.sentence_pairs import fitted


@pytest.mark.parametrize(("first", "second"), [(3, 4), (30, 4), (4, 30), (30, 30), (19, 30)])
def test_the_longer_text_is_cut_and_nothing_else(first: int, second: int) -> None:
    one, other = fitted(range(first), range(second), 20)
    assert len(one) + len(other) == min(20, first + second)
    assert min(len(one), len(other)) >= min(first, second, 10)


def test_a_cut_pair_is_counted(tiny_model_folder: Path) -> None:
    kinds: tuple[Literal["cross", "bi"], ...] = ("cross", "bi")
    for encoder_kind in kinds:
        _, task, encoder = build_model(
            tiny_model_folder,
            SentencePairs(encoder=encoder_kind),
            PAIRS,
            max_length=24,
        )
        long = Example("x", " ".join(["good day"] * 20), "same", second="bad film")
        assert task.encode(long, encoder).changed == ("cut_pair",)
        assert task.encode(PAIRS[0], encoder).changed == ()


def test_untrained_vectors_give_the_cosine_of_mean_states(tiny_model_folder: Path) -> None:
    given = SentencePairs(problem="similarity", encoder="bi", pooling="mean")
    model, task, encoder = build_model(tiny_model_folder, given, LIKENESS, METHODS["none"]())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    predictor = Predictor(model.eval(), task, encoder)
    singles = predictor.predict([Example("1", LIKENESS[0].text), Example("2", LIKENESS[0].second)])
    one, other = (np.array(answer.vector) for answer in singles)
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    (answer,) = predictor.predict(LIKENESS[:1])
    assert answer.label == pytest.approx(cosine * 2, abs=1e-5)  # the scale of the numbers is 0 to 2
    assert math.isnan(answer.confidence)


def test_a_vector_does_not_depend_on_the_other_texts_of_the_batch(tiny_model_folder: Path) -> None:
    model, task, encoder = build_model(tiny_model_folder, SentencePairs(encoder="bi"), PAIRS)
    predictor = Predictor(model.eval(), task, encoder)
    texts = [Example(str(n), example.text) for n, example in enumerate(PAIRS)]
    together = predictor.predict([*texts, *PAIRS])[: len(texts)]
    for text, answer in zip(texts, together, strict=True):
        assert predictor.predict([text])[0].vector == pytest.approx(answer.vector, abs=1e-5)


def test_contrast_equals_a_reference() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(4, 8), torch.randn(4, 8)
    relevance = torch.tensor([[1.0, 1, 1], [0.0, 1, 2], [2.0, 2, 3], [1.0, 3, 4]])
    expected = []
    for row in (0, 2, 3):
        scores = [torch.dot(first[row], other) / first[row].norm() / other.norm() / 0.1 for other in second]
        expected.append(-torch.log_softmax(torch.stack(scores), 0)[row])
    found = in_batch_contrast(first, second, relevance, 0.1)
    torch.testing.assert_close(found, torch.stack(expected).mean())


def test_what_is_no_wrong_answer_is_no_negative() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(4, 8), torch.randn(4, 8)
    # Pairs 1 and 2 are of one query, pairs 1 and 4 have the same second text.
    targets = torch.tensor([[1.0, 1, 7], [1.0, 1, 8], [1.0, 2, 9], [0.0, 3, 7]])
    found = in_batch_contrast(first, second, targets, 0.1)
    scores = torch.nn.functional.normalize(first) @ torch.nn.functional.normalize(second).T / 0.1
    seen = {0: [0, 2], 1: [1, 2, 3], 2: [0, 1, 2, 3]}
    expected = [scores[row, places].logsumexp(0) - scores[row, row] for row, places in seen.items()]
    torch.testing.assert_close(found, torch.stack(expected).mean())
    alone = in_batch_contrast(first[:1], second[:1], torch.tensor([[0.0, 1, 1]]), 0.1)
    assert float(alone) == 0  # nothing relevant, nothing to learn


def test_relevant_pairs_alone_train_a_ranking_bi_encoder(tiny_model_folder: Path) -> None:
    positives = [replace(example, label=1.0) for example in PAIRS]
    model, task, encoder = build_model(tiny_model_folder, SentencePairs(problem="ranking", encoder="bi"), positives)
    material = build_material(task, encoder, positives)
    steps = run_steps(build_learner(model), material, steps=30, rate=3e-3, batch_size=8)
    assert steps[-1].loss < steps[0].loss / 2
    with pytest.raises(LabelError, match="Every training pair has the number"):
        build_model(tiny_model_folder, SentencePairs(problem="ranking"), positives)
    few = [replace(PAIRS[0], label=-1.0), replace(PAIRS[1], label=1.0)]
    with pytest.raises(LabelError, match="relevances go from -1 to 1"):
        build_model(tiny_model_folder, SentencePairs(problem="ranking"), few)


def test_the_lowest_grade_that_training_has_is_relevant_unless_it_is_zero(tiny_model_folder: Path) -> None:
    graded = [replace(example, label=float(1 + number % 2)) for number, example in enumerate(PAIRS)]
    _, task, encoder = build_model(tiny_model_folder, SentencePairs(problem="ranking", encoder="bi"), graded)
    targets = [task.encode(example, encoder).target for example in graded]
    assert all(target is not None and target[0] > 0 for target in targets)


def test_a_file_of_single_texts_is_answered_with_vectors(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,remark\n好 film,b\n", encoding="utf-8")
    bi, cross = SentencePairs(encoder="bi").inputs, SentencePairs().inputs
    assert [example.second for example in read(Source(str(path), inputs=bi)).examples] == [""]
    for refused in (Source(str(path), inputs=cross), Source(str(path), inputs=bi, label_kind="class", label="remark")):
        with pytest.raises(DataError, match="second texts"):
            read(refused)
    path.write_text("text,second\na,b\nc,\n", encoding="utf-8")
    assert [example.second for example in read(Source(str(path), inputs=bi)).examples] == ["b", ""]
    assert [example.second for example in read(Source(str(path), inputs=cross)).examples] == ["b"]
    assert [one.second for one in given_examples(["a"], [], bi)] == [""]
    assert [one.second for one in given_examples(["a"], ["b"], bi)] == ["b"]
    with pytest.raises(DataError, match="1 texts need 1 second texts"):
        given_examples(["a"], [], cross)
    assert prediction_row(Prediction("1", "", math.nan, vector=(0.5, 1.0)))["vector"] == [0.5, 1.0]


def test_two_texts_read_apart_are_long_only_if_one_of_them_is(tiny_model_folder: Path) -> None:
    _, task, encoder = build_model(tiny_model_folder, SentencePairs(encoder="bi"), PAIRS, max_length=24)
    text = " ".join(["day"] * 20)
    encoded = task.encode(Example("x", text, "same", second=text), encoder)
    assert encoded.changed == ()
    assert count_of(encoded, task, encoder).tokens == 22


def test_rankings_are_judged_by_query() -> None:
    rows = [("q1", 0.9, 0.0), ("q1", 0.8, 1.0), ("q1", 0.1, 2.0), ("q2", 0.7, 1.0), ("q2", 0.2, 0.0), ("q3", 0.5, 0.0)]
    examples = [Example(str(n), query, relevance) for n, (query, _, relevance) in enumerate(rows)]
    answers = [Prediction(str(n), score, math.nan) for n, (_, score, _) in enumerate(rows)]
    found = {measure.name: measure for measure in measure_rankings(examples, answers)}
    gains = (1 / math.log2(3) + 3 / math.log2(4)) / (3 + 1 / math.log2(3))
    assert found["ndcg@10"].value() == pytest.approx((gains + 1) / 2)
    assert found["mrr"].value() == pytest.approx((1 / 2 + 1) / 2)
    assert found["map"].value() == pytest.approx(((1 / 2 + 2 / 3) / 2 + 1) / 2)
    assert found["mrr"].size == 2  # a query without a relevant passage cannot be judged


def test_ties_do_not_flatter() -> None:
    examples = [Example("1", "q", 1.0), Example("2", "q", 0.0)]
    same = [Prediction("1", 0.5, math.nan), Prediction("2", 0.5, math.nan)]
    assert next(m for m in measure_rankings(examples, same) if m.name == "mrr").value() == 0.5


def test_a_header_may_stand_in_the_file_too(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    for text in ("s1\ts2\tscore\na\tb\t1\n", "a\tb\t1\n"):
        path.write_text(text)
        source = Source(
            str(path),
            header=("s1", "s2", "score"),
            text="s1",
            second="s2",
            label_kind="number",
            inputs=("text", "second"),
        )
        assert [(e.text, e.second, e.label) for e in read(source).examples] == [("a", "b", 1.0)]


def test_rows_can_be_left_out_for_their_label(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("sentence1,sentence2,label\na,b,yes\nc,d,-\n")
    reading = read(Source(str(path), label_kind="class", inputs=("text", "second"), leave_out=("-",)))
    assert [example.text for example in reading.examples] == ["a"]
    assert any(finding.code == "left_out" and finding.count == 1 for finding in reading.findings)


def test_a_file_without_a_second_column_names_those_there_are(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label,remark\na,yes,b\n")
    with pytest.raises(DataError, match="second texts") as error:
        read(Source(str(path), label_kind="class", inputs=("text", "second")))
    assert "remark" in error.value.to_do


def test_wrong_settings_and_pairs_are_refused(tiny_model_folder: Path) -> None:
    with pytest.raises(RecipeError, match="contrast has no effect"):
        SentencePairs(contrast=0.1)
    with pytest.raises(RecipeError, match="labels and label_smoothing"):
        SentencePairs(problem="similarity", labels=("a", "b"))
    with pytest.raises(LabelError, match="Every training pair has the number"):
        build_model(tiny_model_folder, SentencePairs(problem="similarity"), [Example("1", "a", 2.0, second="b")])
    _, task, encoder = build_model(tiny_model_folder, SentencePairs(), PAIRS)
    with pytest.raises(DataError, match="needs a second text"):
        task.encode(Example("x", "good"), encoder)
