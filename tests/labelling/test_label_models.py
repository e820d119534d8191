"""Label models: planted accuracies are found, likelihoods rise, and votes count as they should."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from tunesmith.errors import RecipeError
from tunesmith.labelling import LABEL_MODELS, DawidSkene, MajorityVote, Moments
from tunesmith.labelling.label_models import ABSTAINED, ran_away

ACCURACIES = (0.9, 0.8, 0.7, 0.65, 0.85)


def planted(
    size: int = 20_000, classes: int = 2, speaking: float = 0.6, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Votes of functions that err independently, and the truth."""
    random = np.random.default_rng(seed)
    truth = random.integers(classes, size=size)
    columns = []
    for accuracy in ACCURACIES:
        wrong = (truth + random.integers(1, classes, size=size)) % classes
        vote = np.where(random.random(size) < accuracy, truth, wrong)
        columns.append(np.where(random.random(size) < speaking, vote, ABSTAINED))
    return np.stack(columns, axis=1), truth


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", ["dawid_skene", "moments"])
def test_planted_accuracies_are_found(name: str, classes: int) -> None:
    votes, truth = planted(classes=classes)
    judged = LABEL_MODELS[name]().judge(votes, classes)
    if name == "dawid_skene" or classes == 2:
        assert judged.accuracies == pytest.approx(ACCURACIES, abs=0.03)
    plain = MajorityVote().judge(votes, classes)
    spoken = (votes != ABSTAINED).any(axis=1)
    right = (judged.probabilities.argmax(axis=1) == truth)[spoken].mean()
    assert right > (plain.probabilities.argmax(axis=1) == truth)[spoken].mean() + 0.01


@pytest.mark.parametrize("estimated", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_each_pass_raises_the_posterior(seed: int, estimated: bool) -> None:
    votes, _ = planted(size=300, classes=3, speaking=0.5, seed=seed)
    trace = DawidSkene(passes=50, estimate_shares=estimated).judge(votes, 3).trace
    assert len(trace) > 3
    assert all(later >= earlier - 1e-9 * abs(earlier) for earlier, later in pairwise(trace))


def test_functions_of_one_label_that_seldom_speak_do_not_run_away_to_one_class() -> None:
    random = np.random.default_rng(2)
    truth = random.integers(2, size=800)
    columns = [
        np.where(random.random(800) < np.where(truth == says, 0.15, 0.04), says, ABSTAINED) for says in (0, 0, 0, 1, 1)
    ]
    votes = np.stack(columns, axis=1)
    covered = (votes != ABSTAINED).any(axis=1)
    found = DawidSkene().judge(votes, 2).probabilities.argmax(axis=1)
    assert (found == truth)[covered].mean() > 0.7


def test_class_shares_are_found_where_many_functions_speak() -> None:
    random = np.random.default_rng(3)
    truth = (random.random(8000) < 0.2).astype(np.int64)
    votes = np.stack([np.where(random.random(8000) < 0.8, truth, 1 - truth) for _ in range(5)], axis=1)
    judged = DawidSkene(estimate_shares=True).judge(votes, 2)
    assert judged.probabilities.mean(axis=0) == pytest.approx([0.8, 0.2], abs=0.02)


def test_dawid_and_skene_tell_a_function_that_is_always_wrong() -> None:
    random = np.random.default_rng(1)
    truth = random.integers(2, size=4000)
    good = [np.where(random.random(4000) < 0.85, truth, 1 - truth) for _ in range(3)]
    votes = np.stack([*good, 1 - truth], axis=1)
    judged = DawidSkene().judge(votes, 2)
    assert judged.accuracies[3] < 0.03
    assert (judged.probabilities.argmax(axis=1) == truth).mean() > 0.98


def test_probabilities_are_honest_under_the_model() -> None:
    votes, truth = planted()
    for model in (DawidSkene(), Moments()):
        chance = model.judge(votes, 2).probabilities[:, 1]
        for low in (0.1, 0.3, 0.6, 0.85):
            held = (chance >= low) & (chance < low + 0.1)
            assert truth[held].mean() == pytest.approx(chance[held].mean(), abs=0.04)


def test_majorities_share_the_probability_of_a_tie_and_silence_has_the_shares() -> None:
    votes = np.array([[0, 1, ABSTAINED], [0, 0, 1], [ABSTAINED] * 3])
    judged = MajorityVote().judge(votes, 2)
    assert judged.probabilities == pytest.approx(np.array([[0.5, 0.5], [2 / 3, 1 / 3], [0.6, 0.4]]))


def rare(share: float, size: int = 5000) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Votes of functions that know both classes, of which one is rare, and the truth."""
    random = np.random.default_rng(0)
    truth = (random.random(size) < share).astype(np.int64)
    columns = [
        np.where(random.random(size) < 0.7, np.where(random.random(size) < right, truth, 1 - truth), ABSTAINED)
        for right in (0.9, 0.85, 0.8, 0.75)
    ]
    return np.stack(columns, axis=1), truth


def test_known_shares_hold_a_rare_class_and_a_model_that_runs_away_is_warned_of() -> None:
    votes, truth = rare(0.02)
    spoken = (votes != ABSTAINED).any(axis=1)
    even = DawidSkene().judge(votes, 2)
    told = DawidSkene(shares={"ham": 0.98, "spam": 0.02}).judge(votes, 2, ["ham", "spam"])
    right = [(one.probabilities.argmax(axis=1) == truth)[spoken].mean() for one in (even, told)]
    assert right[0] < 0.7
    assert right[1] > 0.97
    assert told.probabilities[~spoken] == pytest.approx(np.full((int((~spoken).sum()), 2), [0.98, 0.02]), abs=0.05)
    (warning,) = ran_away(votes, even, ["ham", "spam"])
    assert "'spam' became the label of 4" in warning
    assert "shares" in warning
    assert ran_away(votes, told, ["ham", "spam"]) == []
    balanced, _ = planted()
    assert ran_away(balanced, DawidSkene().judge(balanced, 2), ["a", "b"]) == []


def test_shares_are_those_of_the_classes_that_functions_give() -> None:
    votes, _ = rare(0.5, size=50)
    with pytest.raises(RecipeError, match="There are shares of ham, spam, and the functions give a, b"):
        DawidSkene(shares={"ham": 0.5, "spam": 0.5}).judge(votes, 2, ["a", "b"])
    with pytest.raises(RecipeError, match="sum to 1"):
        DawidSkene(shares={"ham": 0.5, "spam": 0.6})
    with pytest.raises(RecipeError, match="known or estimated"):
        DawidSkene(shares={"ham": 0.5, "spam": 0.5}, estimate_shares=True)


def one_label_each(size: int = 4000) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Votes of functions that each give one label or are silent, and the truth."""
    random = np.random.default_rng(5)
    truth = random.integers(2, size=size)
    columns = [
        np.where(random.random(size) < np.where(truth == says, 0.4, noise), says, ABSTAINED)
        for says, noise in ((0, 0.05), (0, 0.3), (1, 0.05), (1, 0.3))
    ]
    return np.stack(columns, axis=1), truth


def test_moments_refuse_functions_of_one_label_and_say_what_to_use() -> None:
    votes, truth = one_label_each()
    with pytest.raises(RecipeError, match="only 0 of these 4 do") as error:
        Moments().judge(votes, 2)
    assert "dawid_skene" in error.value.to_do
    spoken = (votes != ABSTAINED).any(axis=1)
    found = DawidSkene().judge(votes, 2).probabilities.argmax(axis=1)
    assert (found == truth)[spoken].mean() > 0.75


def test_moments_learn_nothing_from_the_agreement_of_functions_of_one_label() -> None:
    several, truth = planted()
    random = np.random.default_rng(7)
    single = np.where(random.random(len(truth)) < np.where(truth == 1, 0.6, 0.3), 1, ABSTAINED)
    alone = Moments().judge(several, 2)
    beside = Moments().judge(np.column_stack([several, single]), 2)
    assert beside.accuracies[:5] == pytest.approx(alone.accuracies, abs=0.03)


@pytest.mark.parametrize("name", ["majority", "dawid_skene"])
def test_votes_of_few_functions_none_or_one_class_give_finite_numbers(name: str) -> None:
    for votes in ([[0], [1]], [[ABSTAINED, ABSTAINED]] * 3, [[0, 0, 0]] * 4, np.zeros((0, 3), dtype=np.int64)):
        judged = LABEL_MODELS[name]().judge(np.array(votes, dtype=np.int64), 2)
        assert np.isfinite(judged.probabilities).all()
        assert judged.probabilities.sum(axis=1) == pytest.approx(np.ones(len(votes)))


def test_a_function_that_never_speaks_has_no_accuracy() -> None:
    votes = np.array([[0, ABSTAINED], [1, ABSTAINED]])
    for model in (MajorityVote, DawidSkene):
        assert np.isnan(model().judge(votes, 2).accuracies[1])


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(RecipeError, match="must be positive"):
        DawidSkene(passes=0)
