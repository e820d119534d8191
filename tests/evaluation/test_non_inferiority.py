"""Whether new answers may take the place of old ones: not unless they are shown to be no worse than the margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tunesmith.data.records import Example, Prediction, Span
from tunesmith.errors import RecipeError
from tunesmith.evaluation.non_inferiority import FEWEST, Terms, gap_of, judged, judged_for_share, share_gap
from tunesmith.scoring import Measure, mean_measure
from tunesmith.tasks import SequenceClassification, TokenClassification

LABELS = ("a", "b")
TASK = SequenceClassification(labels=LABELS)
NUMBERS = SequenceClassification(problem="regression", scale=1.0)


def examples_of(size: int, **attributes: Sequence[str]) -> list[Example]:
    """Examples of like lengths with either label, so that only attributes make slices."""
    return [
        Example(str(n), "a text", LABELS[n % 2], attributes={name: values[n] for name, values in attributes.items()})
        for n in range(size)
    ]


def answers(examples: Sequence[Example], wrong: Sequence[int], sure: float = 0.9) -> list[Prediction]:
    """Answers of which these are wrong."""
    other = {"a": "b", "b": "a"}
    missed = set(wrong)
    return [
        Prediction(one.id, other[str(one.label)] if n in missed else str(one.label), sure)
        for n, one in enumerate(examples)
    ]


def shares(right: Sequence[bool]) -> Measure:
    return mean_measure("accuracy", np.array(right, dtype=np.float64))


def test_answers_that_are_alike_pass_only_where_there_are_enough_of_them() -> None:
    terms = Terms(margin=0.05)
    fewest = terms.fewest()
    for size, objection in ((fewest, None), (fewest - 1, "inferior")):
        examples = examples_of(size)
        same = answers(examples, range(0, size, 10))
        found = judged(TASK, examples, same, same, terms)
        assert found.objection == objection
        assert found.gap.difference == 0


def test_the_share_of_texts_that_a_sample_may_hold_none_of_is_that_of_clopper_and_pearson() -> None:
    found = gap_of(shares([True] * 100), shares([True] * 100), 0.05, seed=1, resamples=200)
    assert found.low == pytest.approx(-(1 - 0.05 ** (1 / 100)))  # the rule of three says 3 / 100
    assert found.high == -found.low


@pytest.mark.parametrize(("size", "margin", "won"), [(350, 0.01, 0.005), (1000, 0.01, 0.03), (200, 0.05, 0.04)])
def test_few_that_are_worse_by_the_margin_pass(size: int, margin: float, won: float) -> None:
    """Of models whose true accuracy is lower by just the margin alpha may pass, and little fewer do."""
    generator, alpha, tries = np.random.default_rng(5), 0.05, 2000
    drawn = generator.multinomial(size, [margin + won, won, 1 - margin - 2 * won], size=tries)
    passed = sum(share_gap(*answered(size, lost, gained), alpha).low > -margin for lost, gained, _ in drawn)
    assert 0.6 * alpha <= passed / tries <= alpha + 2 * math.sqrt(alpha / tries)


def answered(size: int, lost: int, won: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What is right of old and of new answers, of which the new ones lost and won some."""
    places = np.arange(size)
    return places >= won, (places < won) | (places >= won + lost)


def test_a_model_that_is_better_passes_and_one_that_is_worse_does_not() -> None:
    examples = examples_of(1000)
    old = answers(examples, range(0, 1000, 10))
    better, worse = answers(examples, range(0, 1000, 20)), answers(examples, range(0, 1000, 8))
    assert judged(TASK, examples, old, better, Terms()).objection is None
    found = judged(TASK, examples, old, worse, Terms())
    assert found.objection == "inferior"
    assert found.gap.low < found.gap.difference == pytest.approx(-0.025)
    assert judged(TASK, examples, old, worse, Terms(margin=0.1)).objection is None


def test_of_errors_the_lower_one_is_better() -> None:
    examples = [Example(str(n), "a text", float(n % 10)) for n in range(100)]
    near, far = ([Prediction(str(n), n % 10 + off * (-1) ** n, math.nan) for n in range(100)] for off in (0.1, 2.0))
    assert judged(NUMBERS, examples, near, far, Terms()).objection == "inferior"
    found = judged(NUMBERS, examples, far, near, Terms())
    assert (found.objection, found.metric) == (None, "spearman")
    assert math.isnan(found.new_error)
    large, small = (mean_measure("mae", np.full(50, size), higher_is_better=False) for size in (2.0, 0.1))
    assert gap_of(large, small, 0.05, seed=1, resamples=100).difference == pytest.approx(1.9)
    assert gap_of(small, large, 0.05, seed=1, resamples=100).low == pytest.approx(-1.9)


def test_a_slice_that_is_worse_is_named_though_the_whole_is_better() -> None:
    size = 1200
    channel = ["mail" if n % 6 == 0 else "chat" for n in range(size)]
    examples = examples_of(size, channel=channel)
    old = answers(examples, [n for n in range(size) if n % 6 == 1])
    new = answers(examples, [n for n in range(size) if n % 6 == 0 and n % 4 == 0])  # half of what came by mail
    found = judged(TASK, examples, old, new, Terms())
    assert found.gap.low > 0
    assert found.objection == "slice_worse"
    assert found.worst is not None
    assert (found.worst.kind, found.worst.value, found.worst.size) == ("channel", "mail", 200)
    assert found.worst.gap.high < -0.01


def test_a_class_is_a_slice_and_is_judged_by_its_right_answers() -> None:
    examples = examples_of(1000)
    old = answers(examples, [n for n in range(1000) if n % 2 and n % 5 == 0])
    new = answers(examples, [n for n in range(1000) if not n % 2 and n % 10 == 0])
    found = judged(TASK, examples, old, new, Terms(margin=0.05))
    assert found.gap.difference == 0
    assert found.objection == "slice_worse"
    assert found.worst is not None
    assert (found.worst.kind, found.worst.value) == ("label", "a")
    assert (found.worst.gap.old, found.worst.gap.new) == (1.0, 0.8)


@pytest.mark.parametrize(("each", "accuracy"), [(5, 0.6), (10, 0.7), (20, 0.8)])
def test_slices_that_are_worse_by_chance_refuse_few(each: int, accuracy: float) -> None:
    """Both models have the same true accuracy in each of 24 slices that are small, so alpha of the tries may refuse."""
    generator, tries, terms = np.random.default_rng(3), 150, Terms()
    size = each * 12
    examples = examples_of(size, place=[str(n % 12) for n in range(size)], team=[str(n // each) for n in range(size)])
    refused = 0
    for _ in range(tries):
        old, new = (answers(examples, np.flatnonzero(generator.random(size) > accuracy).tolist()) for _ in range(2))
        found = judged(TASK, examples, old, new, terms)
        assert found.slices >= 24
        refused += found.worst is not None
    assert refused / tries <= terms.alpha + 2 * math.sqrt(terms.alpha / tries)


def test_a_slice_whose_metric_is_not_defined_any_more_is_refused() -> None:
    """A correlation is no number where all answers are the same."""
    examples = [
        Example(str(n), "a text", float(n % 50), attributes={"place": "here" if n % 10 else "there"})
        for n in range(500)
    ]
    good = [Prediction(one.id, float(str(one.label)), math.nan) for one in examples]
    flat = [replace(one, label=25.0) if n % 10 == 0 else one for n, one in enumerate(good)]
    found = judged(NUMBERS, examples, good, flat, Terms(margin=0.3))
    assert found.objection == "slice_undefined"
    assert found.worst is not None
    assert (found.worst.value, found.worst.size) == ("there", 50)
    assert found.worst.gap.old == pytest.approx(1.0)
    assert judged(NUMBERS, examples, flat, good, Terms(margin=0.3)).objection is None


def test_where_nothing_is_to_be_found_nothing_found_is_right() -> None:
    """The F1 of spans is no number there, and was 0 for the champion, which found something."""
    task = TokenClassification(labels=("PER",))
    span = Span(0, 3, "PER")
    examples, right = [], []
    for number in range(400):
        spans, place = ((), "chat") if number % 10 == 0 else ((span,), "mail")
        examples.append(Example(str(number), "Ann came.", spans, attributes={"place": place}))
        right.append(Prediction(str(number), spans, 0.9, span_scores=(0.9,) * len(spans)))
    wrong = [replace(right[0], label=(span,), span_scores=(0.9,)), *right[1:]]
    assert judged(task, examples, wrong, right, Terms()).objection is None


def test_answers_that_lost_their_confidence_are_refused() -> None:
    examples = examples_of(1000)
    sure = answers(examples, range(0, 1000, 10))
    for unsure in (answers(examples, range(0, 1000, 10), math.nan), [replace(sure[0], confidence=math.nan), *sure[1:]]):
        assert judged(TASK, examples, sure, unsure, Terms()).objection == "confidence_missing"
        assert judged(TASK, examples, unsure, sure, Terms()).objection is None
        assert judged(TASK, examples, unsure, unsure, Terms()).objection is None


def test_confidence_that_is_further_from_the_truth_is_refused() -> None:
    examples = examples_of(1000)
    wrong = range(0, 1000, 10)
    honest, boasting = answers(examples, wrong, 0.9), answers(examples, wrong, 0.999)
    found = judged(TASK, examples, honest, boasting, Terms())
    assert found.objection == "calibration_worse"
    assert found.old_error == pytest.approx(0, abs=1e-9)
    assert found.new_error == pytest.approx(0.099)
    assert judged(TASK, examples, honest, boasting, Terms(calibration=0.1)).objection is None
    assert judged(TASK, examples, boasting, honest, Terms()).objection is None


def test_tries_share_alpha() -> None:
    terms = Terms()
    shared = [terms.alpha_of(look) for look in range(1, 20_001)]
    assert sum(shared) == pytest.approx(terms.alpha, abs=1e-5)
    assert sum(shared) < terms.alpha
    assert shared[0] == pytest.approx(0.0304, abs=1e-4)


def test_what_passed_at_the_first_try_may_not_pass_at_the_fifth() -> None:
    examples = examples_of(600)
    old, new = answers(examples, range(0, 600, 10)), answers(examples, range(4, 600, 10))
    terms = Terms(margin=0.04)
    first, fifth = (judged(TASK, examples, old, new, terms, look) for look in (1, 5))
    assert (first.objection, fifth.objection) == (None, "inferior")
    assert fifth.gap.low < first.gap.low
    assert fifth.alpha == pytest.approx(first.alpha / 25)


def test_a_slice_is_refused_at_a_later_try_as_at_the_first() -> None:
    """Spending alpha here would let pass, in the end, whoever tries often enough."""
    examples = examples_of(1000)
    old, new = (
        answers(examples, [n for n in range(1000) if n % 2 == odd and n % 10 == (5 if odd else 0)]) for odd in (1, 0)
    )
    found = [judged(TASK, examples, old, new, Terms(margin=0.15), look) for look in (1, 50)]
    assert {one.objection for one in found} == {"slice_worse"}
    assert found[0].worst == found[1].worst


def test_a_metric_that_is_not_defined_is_no_reason_to_pass() -> None:
    examples = [Example(str(n), "a text", float(n)) for n in range(100)]
    constant = [Prediction(one.id, 1.0, math.nan) for one in examples]
    good = [Prediction(one.id, float(one.label), math.nan) for one in examples]  # type: ignore[arg-type]
    assert judged(NUMBERS, examples, good, constant, Terms()).objection == "inferior"
    assert judged_for_share(NUMBERS, examples, good, constant, Terms()).objection == "inferior"
    assert judged_for_share(NUMBERS, examples, constant, good, Terms()).objection is None
    assert judged_for_share(NUMBERS, examples, constant, constant, Terms()).objection is None


def test_where_nothing_is_to_be_found_at_all_nothing_found_is_no_reason_to_refuse_a_share() -> None:
    task = TokenClassification(labels=("PER",))
    examples = [Example(str(n), "a text", ()) for n in range(100)]
    wrong = [Prediction(one.id, (Span(0, 1, "PER"),), 0.9, span_scores=(0.9,)) for one in examples]
    right = [Prediction(one.id, (), math.nan) for one in examples]
    assert judged_for_share(task, examples, wrong, right, Terms()).objection != "inferior"


@pytest.mark.parametrize(("size", "margin", "won"), [(350, 0.01, 0.005), (1000, 0.01, 0.03), (200, 0.05, 0.04)])
def test_few_that_are_worse_by_no_more_than_the_margin_are_refused_a_share(
    size: int, margin: float, won: float
) -> None:
    generator, alpha, tries = np.random.default_rng(6), 0.05, 2000
    drawn = generator.multinomial(size, [margin + won, won, 1 - margin - 2 * won], size=tries)
    refused = sum(share_gap(*answered(size, lost, gained), alpha).high < -margin for lost, gained, _ in drawn)
    assert refused / tries <= alpha + 2 * math.sqrt(alpha / tries)


def test_a_share_is_refused_to_what_is_shown_to_be_worse_at_each_try_alike() -> None:
    """Spending alpha here would let through, in the end, whoever tries often enough."""
    examples = examples_of(1000)
    old = answers(examples, range(0, 1000, 10))
    little, much = (answers(examples, [*range(0, 1000, 10), *range(3, 1000, step)]) for step in (77, 21))
    assert judged(TASK, examples, old, little, Terms()).objection == "inferior", "not shown to be no worse"
    for look in (1, 50):
        assert judged_for_share(TASK, examples, old, little, Terms(), look).objection is None
        found = judged_for_share(TASK, examples, old, much, Terms(), look)
        assert (found.objection, found.alpha, found.look) == ("inferior", 0.05, look)


@pytest.mark.parametrize("given", [{"margin": 0.0}, {"margin": -0.1}, {"calibration": -0.1}, {"margin": math.nan}])
def test_margins_that_nothing_can_keep_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="cannot be"):
        Terms(**given)


def test_a_margin_of_a_whole_score_asks_for_a_few_examples() -> None:
    assert Terms(margin=5.0).fewest() == FEWEST
    assert Terms().fewest() == 349
    assert Terms().fewest(2) > Terms().fewest()
