import math

import numpy as np
import pytest

from tunesmith.errors import DataError, RecipeError, TrainingError
from tunesmith.evaluation.calibration import calibration_error, fit_temperature, reliability
from tunesmith.scoring.calibration import HIGHEST, LOWEST, fit_confidence, negative_log_likelihood


def planted(temperature, size=20_000, classes=5, seed=0):
    """Logits that are `temperature` times too large for the gold drawn from them."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(size, classes)) * 2
    gold = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    return logits * temperature, gold


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
def test_a_planted_temperature_is_found(temperature):
    assert fit_temperature(*planted(temperature)) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("temperature", [0.4, 3.0])
def test_a_planted_temperature_of_independent_labels_is_found(temperature, classes):
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(20_000, classes)) * 2
    gold = (generator.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    assert fit_temperature(logits * temperature, gold) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("seed", range(20))
def test_fitting_never_raises_the_loss_on_its_own_data(seed):
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(int(generator.integers(1, 30)), 3)) * 10 ** generator.uniform(-2, 3)
    gold = generator.integers(3, size=len(logits))
    temperature = fit_temperature(logits, gold)
    assert LOWEST <= temperature <= HIGHEST
    assert negative_log_likelihood(logits, gold, temperature) <= negative_log_likelihood(logits, gold)


def test_a_temperature_stays_within_its_limits():
    logits, gold = np.array([[0.1, -0.1]] * 9000), np.zeros(9000, dtype=np.int64)
    assert fit_temperature(logits, gold) == pytest.approx(LOWEST, rel=0.01)
    assert fit_temperature(1e3 * logits, 1 - gold) == pytest.approx(HIGHEST, rel=0.01)


def test_a_handful_of_right_answers_is_no_reason_to_be_sure():
    """Four answers that are right say little of the fifth: without a prior the temperature would run to its limit."""
    logits, gold = np.array([[1.0, 0.0]] * 4), np.zeros(4, dtype=np.int64)
    few = fit_temperature(logits, gold)
    assert 0.4 < few < 0.9
    assert 0.4 < fit_confidence(logits.tolist(), [True] * 4) < 0.9
    many = fit_temperature(np.repeat(logits, 100, axis=0), np.repeat(gold, 100))
    assert many < few / 3


def test_a_temperature_does_not_change_what_is_answered_and_lowers_the_error():
    logits, gold = planted(4.0)

    def error(temperature):
        scaled = np.exp(logits / temperature)
        chances = scaled / scaled.sum(axis=1, keepdims=True)
        return reliability(chances.max(axis=1), chances.argmax(axis=1) == gold).ece

    assert error(fit_temperature(logits, gold)) < 0.02 < error(1.0)


def test_without_rows_the_temperature_is_one():
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=np.int64)) == 1.0


def test_scores_that_are_not_numbers_are_refused():
    with pytest.raises(TrainingError, match="not finite"):
        fit_temperature(np.array([[math.nan, 1.0]]), np.array([0]))


def test_the_calibration_error_of_a_worked_example():
    # Two bins: (0.9, right), (0.7, wrong) above; (0.3, wrong) below -> 2/3 |0.8 - 0.5| + 1/3 |0.3 - 0|.
    result = reliability([0.9, 0.7, 0.3], [True, False, False], bins=2)
    assert result.ece == pytest.approx(2 / 3 * 0.3 + 1 / 3 * 0.3)
    assert [(one.low, one.high, one.count) for one in result.bins] == [(0.0, 0.5, 1), (0.5, 1.0, 2)]
    assert (result.bins[1].confidence, result.bins[1].accuracy) == pytest.approx((0.8, 0.5))


def test_honest_confidences_have_a_small_error_and_boastful_ones_a_large_one():
    generator = np.random.default_rng(0)
    chances = generator.uniform(0.2, 1, 50_000)
    right = generator.random(50_000) < chances
    assert reliability(chances, right).ece < 0.01
    assert reliability(np.ones(50_000), right).ece == pytest.approx(1 - right.mean())


def test_every_confidence_falls_into_one_bin_borders_into_the_lower():
    result = reliability([0.0, 0.5, 1.0, 1.0 + 1e-9], [True] * 4, bins=2)
    assert [one.count for one in result.bins] == [2, 2]


def test_answers_without_confidence_are_left_out_and_counted():
    result = reliability([math.nan, 1.0], [False, True])
    assert (result.ece, result.left_out) == (0.0, 1)
    assert math.isnan(reliability([], []).ece)


def test_what_is_no_probability_is_refused():
    with pytest.raises(DataError, match="not a probability"):
        reliability([1.2], [True])
    with pytest.raises(DataError, match="2 confidences for 1"):
        reliability([0.1, 0.2], [True])
    with pytest.raises(RecipeError):
        reliability([0.1], [True], bins=0)


def test_a_confidence_a_hair_above_one_counts_as_one():
    judged = [[(1.0000002, True)], [(1.0, True)], [(0.5, False)]]
    assert calibration_error(judged, seed=0, resamples=10).value == pytest.approx(0.5 / 3, abs=1e-6)


SURE = {
    "spread": lambda generator, size: generator.uniform(0.35, 0.95, size),
    "sharp": lambda generator, size: 1 - 0.6 * generator.beta(0.5, 8, size),
}


def answered(generator, sure, chances):
    return [[(float(p), bool(hit))] for p, hit in zip(sure, generator.random(len(sure)) < chances, strict=True)]


@pytest.mark.parametrize("size", [60, 300])
@pytest.mark.parametrize("boast", [0.0, 0.01, 0.05, 0.2])
@pytest.mark.parametrize("kind", SURE)
def test_the_interval_holds_the_measured_error_always_and_the_true_error_95_times_in_100(kind, boast, size):
    generator, covered = np.random.default_rng(5), 0
    for seed in range(100):
        sure = SURE[kind](generator, size)
        found = calibration_error(answered(generator, sure, sure - boast), seed=seed, resamples=200)
        assert 0 <= found.low <= found.value <= found.high
        covered += found.low <= boast <= found.high
    assert covered >= 93


def test_the_true_error_is_covered_where_some_bins_boast_and_others_are_modest():
    generator, covered = np.random.default_rng(6), 0
    sure = generator.uniform(0.3, 1, 200)
    chances = np.clip(sure + 0.15 * np.sin(9 * sure), 0, 1)
    truth = calibration_error([[(p, q)] for p, q in zip(sure, chances, strict=True)], seed=0).value
    for seed in range(100):
        found = calibration_error(answered(generator, sure, chances), seed=seed, resamples=200)
        covered += found.low <= truth <= found.high
    assert covered >= 93


def test_the_interval_says_whether_the_error_is_more_than_chance():
    generator = np.random.default_rng(7)
    sure = generator.uniform(0.35, 0.95, 2000)
    assert calibration_error(answered(generator, sure, sure), seed=0).low == 0
    assert calibration_error(answered(generator, sure, sure - 0.1), seed=0).low > 0.03


def test_answers_that_are_all_right_can_be_well_calibrated():
    assert calibration_error([[(0.97, True)]] * 20, seed=0).low == 0


def test_more_examples_narrow_the_interval_of_the_calibration_error():
    def width(size):
        generator = np.random.default_rng(8)
        sure = generator.uniform(0.35, 0.95, size)
        found = calibration_error(answered(generator, sure, sure - 0.2), seed=0)
        return found.high - found.low

    assert width(6400) == pytest.approx(width(400) / 4, rel=0.25)


@pytest.mark.parametrize("judged", [[], [[], []], [[(0.5, True)]], [[(0.5, True)], [], [], []]])
def test_without_answers_or_with_one_example_there_is_no_interval(judged):
    found = calibration_error(judged, seed=0, resamples=100)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_the_error_of_many_answers_per_example_is_that_of_their_bins():
    judged = [[(0.9, True), (0.7, False)], [(0.3, False)], []]
    flat = [pair for answers in judged for pair in answers]
    bins = reliability([sure for sure, _ in flat], [right for _, right in flat])
    assert calibration_error(judged, seed=0, resamples=10).value == pytest.approx(bins.ece)
