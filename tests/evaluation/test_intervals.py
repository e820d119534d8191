import math
import tracemalloc

import numpy as np
import pytest

from tests.scoring.makers import class_answers
from tunesmith.data.records import Example, Prediction
from tunesmith.errors import DataError, RecipeError
from tunesmith.evaluation.intervals import compare, estimate
from tunesmith.scoring import RankMeasure, mean_measure
from tunesmith.scoring.classification import measure_classes
from tunesmith.scoring.entities import measure_entities
from tunesmith.scoring.numbers import measure_numbers


def accuracy(right, name="accuracy"):
    return mean_measure(name, np.asarray(right, dtype=np.float64))


def macro_f1(gold, answers):
    examples = [Example(str(n), "", "ab"[label]) for n, label in enumerate(gold)]
    predictions = [Prediction(str(n), "ab"[label], 1.0) for n, label in enumerate(answers)]
    return next(m for m in measure_classes(examples, predictions, "ab") if m.name == "macro_f1")


def test_a_95_percent_interval_covers_the_true_accuracy_about_that_often():
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        result = estimate([accuracy(generator.random(200) < 0.8)], seed=seed, resamples=500)["accuracy"]
        covered += result.low <= 0.8 <= result.high
    assert 0.90 * 300 <= covered <= 0.99 * 300


def test_a_95_percent_interval_covers_the_true_macro_f1_about_that_often():
    generator = np.random.default_rng(1)
    covered = 0
    # Gold "b" in 30 % of the texts, 20 % of the answers turned round.
    hits, found, there = np.array([0.56, 0.24]), np.array([0.62, 0.38]), np.array([0.7, 0.3])
    truth = float(np.mean(2 * hits / (found + there)))
    for seed in range(300):
        gold = (generator.random(200) < 0.3).astype(int)
        answers = np.where(generator.random(200) < 0.2, 1 - gold, gold)
        result = estimate([macro_f1(gold, answers)], seed=seed, resamples=300)["macro_f1"]
        covered += result.low <= truth <= result.high
    assert 0.90 * 300 <= covered <= 0.99 * 300


def test_a_seed_always_gives_the_same_interval():
    measures = measure_classes(*class_answers(60))
    first = estimate(measures, seed=3, resamples=200)
    assert first == estimate(measures, seed=3, resamples=200)
    assert first != estimate(measures, seed=4, resamples=200)


def test_an_interval_does_not_depend_on_the_other_measures():
    measures = measure_classes(*class_answers(60))
    alone = estimate(measures[:1], seed=3, resamples=200)
    assert alone["accuracy"] == estimate(measures, seed=3, resamples=200)["accuracy"]


def test_more_examples_and_a_lower_level_give_narrower_intervals():
    def width(size, level=0.95):
        result = estimate([accuracy(np.arange(size) % 4 > 0)], seed=0, level=level)["accuracy"]
        return result.high - result.low

    assert width(1600) == pytest.approx(width(100) / 4, rel=0.25)
    assert width(100, level=0.5) < width(100)


def test_whole_examples_are_resampled_not_their_words():
    # Four long texts, each wholly right or wrong: by words the interval would be narrow.
    def long_text(number):
        return Example(str(number), "a b c d e f g h i j " * 100, ())

    examples = [long_text(number) for number in range(4)]
    predictions = [Prediction(str(n), _all_words() if n < 2 else (), 1.0) for n in range(4)]
    measure = next(m for m in measure_entities(examples, predictions, ["X"]) if m.name == "word_accuracy")
    result = estimate([measure], seed=0)["word_accuracy"]
    assert (result.low, result.value, result.high) == (0.0, 0.5, 1.0)


def _all_words():
    from tunesmith.data.records import Span

    return tuple(Span(2 * word, 2 * word + 1, "X") for word in range(1000))


def test_an_undefined_metric_has_no_interval():
    examples = [Example(str(n), "", 1.0) for n in range(5)]
    predictions = [Prediction(str(n), float(n), math.nan) for n in range(5)]
    result = estimate(measure_numbers(examples, predictions), seed=0, resamples=100)
    assert all(math.isnan(number) for number in (result["r2"].value, result["r2"].low, result["r2"].high))
    assert result["mae"].low < result["mae"].value < result["mae"].high


def test_a_metric_that_many_resamples_cannot_have_gets_no_interval():
    # One example carries the metric; more than a third of the resamples miss it.
    measure = RankMeasure("x", np.arange(20.0)[:, None], lambda rows: 1.0 if 0.0 in rows else math.nan)
    result = estimate([measure], seed=0)["x"]
    assert result.value == 1.0
    assert math.isnan(result.low)


def test_one_example_has_no_interval():
    result = estimate([accuracy([True])], seed=0)["accuracy"]
    assert result.value == 1.0
    assert math.isnan(result.low)
    assert compare(accuracy([True]), accuracy([False]), seed=0).verdict == "no difference shown"


def test_memory_stays_flat_for_many_examples():
    measures = measure_classes(*_two_classes(50_000))[:-1]
    tracemalloc.start()
    estimate(measures, seed=0, resamples=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All 200 x 50,000 indices alone would take 80 MB, with their counts 160 MB.
    assert peak < 130e6


def _two_classes(size):
    labels = ("no", "yes")
    examples = [Example(str(n), "", labels[n % 2]) for n in range(size)]
    return examples, [Prediction(str(n), labels[n % 3 % 2], 1.0) for n in range(size)], labels


def test_a_set_of_answers_is_no_better_than_itself():
    for measure in measure_classes(*class_answers(60)):
        result = compare(measure, measure, seed=0, resamples=200)
        assert (result.difference.low, result.difference.value, result.difference.high) == (0, 0, 0)
        assert (result.p_value, result.verdict) == (1.0, "no difference shown")


def test_equally_good_systems_are_seldom_told_apart():
    generator = np.random.default_rng(5)
    verdicts = [
        compare(
            accuracy(generator.random(200) < 0.8), accuracy(generator.random(200) < 0.8), seed=seed, resamples=500
        ).verdict
        for seed in range(200)
    ]
    assert verdicts.count("no difference shown") >= 0.9 * 200


def test_a_clear_difference_is_seen_from_both_sides():
    good, bad = accuracy(np.arange(300) % 10 > 0), accuracy(np.arange(300) % 10 > 3)
    one, other = compare(good, bad, seed=0, resamples=1000), compare(bad, good, seed=0, resamples=1000)
    assert (one.verdict, other.verdict) == ("better", "worse")
    assert one.p_value == other.p_value < 0.01
    assert one.difference.value == -other.difference.value == pytest.approx(0.3)
    assert one.difference.low > 0


def test_pairing_shows_small_differences_that_intervals_hide():
    right = np.arange(400) % 2 == 0
    better = right | (np.arange(400) % 40 == 1)
    one, other = (estimate([accuracy(answers)], seed=0)["accuracy"] for answers in (better, right))
    assert one.low < other.high
    assert compare(accuracy(better), accuracy(right), seed=0).verdict == "better"


def test_a_lower_error_is_better():
    examples = [Example(str(n), "", float(n % 7)) for n in range(100)]

    def errors(shift):
        return measure_numbers(
            examples, [Prediction(e.id, e.label + shift + n % 3, math.nan) for n, e in enumerate(examples)]
        )

    close, far = errors(0.0), errors(2.0)
    verdicts = {a.name: compare(a, b, seed=0, resamples=500).verdict for a, b in zip(close, far, strict=True)}
    assert verdicts["mae"] == verdicts["rmse"] == verdicts["r2"] == "better"
    assert verdicts["pearson"] == "no difference shown"


def test_different_metrics_or_examples_cannot_be_compared():
    with pytest.raises(DataError, match="cannot be compared"):
        compare(accuracy([1, 0]), accuracy([1, 0], name="f1"), seed=0)
    with pytest.raises(DataError, match="2 and 3 examples"):
        compare(accuracy([1, 0]), accuracy([1, 0, 1]), seed=0)


@pytest.mark.parametrize(("resamples", "level"), [(0, 0.95), (100, 1.0), (100, 0.0)])
def test_settings_without_sense_are_refused(resamples, level):
    with pytest.raises(RecipeError):
        estimate([accuracy([1, 0])], seed=0, resamples=resamples, level=level)


def test_answers_that_are_all_right_are_no_proof_of_perfection():
    """With 6 of 6 right, an accuracy of 0.55 would still be no surprise (Clopper and Pearson's exact interval)."""
    error = mean_measure("mae", np.zeros(6), higher_is_better=False)
    found = estimate([accuracy(np.ones(6)), error], seed=0)
    assert (round(found["accuracy"].low, 4), found["accuracy"].high) == (0.5407, 1.0)
    assert math.isnan(found["mae"].high)
    none = estimate([accuracy(np.zeros(6))], seed=0)["accuracy"]
    assert (none.low, round(none.high, 4)) == (0.0, 0.4593)
