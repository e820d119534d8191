"""Metrics of written texts are those of the software that the field compares by."""

from __future__ import annotations

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import LabelError
from tunesmith.scoring.written import bleu_tokenizer, longest_common, measure_written

GOLD = [
    "A man in an orange hat, starring at something.",
    "Two dogs play.",
    "The U.S. has 1,000 dogs & cats!",
    "Ein Hund läuft über die grüne Wiese.",
    "x",
    "people are fixing the roof of a house .",
]
WRITTEN = [
    "A man in a hat is staring at something.",
    "Two dogs play.",
    "The US has 1000 dogs and cats",
    "Hund grün.",
    "",
    "people people fixing a roof",
]
CHINESE = (
    ["今天天气很好，我们去公园。", "他喜欢 Python 3", "银行"],
    ["今天天气好，我们去了公园。", "他爱 Python 3", "好"],
)


def measured(gold: list[str], written: list[str], tokenizer: str = "auto") -> dict:
    examples = [Example(str(place), "", text) for place, text in enumerate(gold)]
    answers = [Prediction(str(place), text, 1.0) for place, text in enumerate(written)]
    return {measure.name: measure for measure in measure_written(examples, answers, tokenizer)}


CASES = [
    (GOLD, WRITTEN, "13a"),
    (*CHINESE, "zh"),
    (*CHINESE, "char"),
    (["a b c d"], ["e f"], "13a"),
    (["a"], ["a"], "13a"),
]


@pytest.mark.parametrize(("gold", "written", "tokenizer"), CASES)
def test_bleu_and_chrf_are_sacrebleus(gold: list[str], written: list[str], tokenizer: str) -> None:
    found = measured(gold, written, tokenizer)
    expected = BLEU(tokenize=tokenizer).corpus_score(written, [gold]).score
    assert found["bleu"].value() == pytest.approx(expected, abs=1e-9)
    assert found["chrf"].value() == pytest.approx(CHRF().corpus_score(written, [gold]).score, abs=1e-9)


def test_resampled_values_are_those_of_the_resampled_texts() -> None:
    found = measured(GOLD, WRITTEN)
    draws = np.random.default_rng(0).integers(len(GOLD), size=(20, len(GOLD)))
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        values = found[name].resampled(draws)
        for row, value in zip(draws, values, strict=True):
            gold, written = [GOLD[n] for n in row], [WRITTEN[n] for n in row]
            assert value == pytest.approx(metric.corpus_score(written, [gold]).score, abs=1e-9)


def test_rouge_is_the_f_measure_of_common_words() -> None:
    found = measured(["the cat sat on the mat"], ["The cat, the mat!"])
    assert found["rouge_1"].value() == pytest.approx(2 * 4 / 10)
    assert found["rouge_2"].value() == pytest.approx(2 * 2 / 8)
    assert found["rouge_l"].value() == pytest.approx(2 * 4 / 10)
    # Chinese has no blanks: its characters are the words.
    assert measured(["我们去公园"], ["去公园"])["rouge_l"].value() == pytest.approx(2 * 3 / 8)


def test_the_longest_common_subsequence_is_that_of_the_table() -> None:
    random = np.random.default_rng(3)
    for _ in range(50):
        one, other = ("".join(random.choice(list("abc"), size=random.integers(0, 9))) for _ in range(2))
        table = np.zeros((len(one) + 1, len(other) + 1), dtype=int)
        for i, j in np.ndindex(len(one), len(other)):
            same = table[i, j] + 1
            table[i + 1, j + 1] = same if one[i] == other[j] else max(table[i, j + 1], table[i + 1, j])
        assert longest_common(one, other) == table[-1, -1]


def test_exact_match_looks_past_blanks_alone() -> None:
    assert measured(["a  b", "A"], ["a b ", "a"])["exact_match"].value() == 0.5


def test_the_script_of_the_given_texts_chooses_the_tokenizer() -> None:
    assert bleu_tokenizer(GOLD) == "13a"
    assert bleu_tokenizer(CHINESE[0]) == "zh"
    assert bleu_tokenizer(["今日はとても良い天気です"]) == "char"
    assert measured(*CHINESE)["bleu"].value() == measured(*CHINESE, "zh")["bleu"].value()


def test_an_example_without_a_text_cannot_be_scored() -> None:
    with pytest.raises(LabelError, match="without a given text"):
        measure_written([Example("a", "x")], [Prediction("a", "y", 1.0)])
