"""When labelling may end: answers that no longer change, a pool of which the model is sure, a budget that is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from tunesmith.errors import RecipeError


@dataclass(frozen=True)
class Round:
    """What is known after a round of labelling.

    Attributes:
        texts, words: labelled so far; validation is counted.
        uncertainty: the mean over the unlabelled pool of the entropy of the answers as a share of the largest possible.
        answers: the labels of the units (the text, or its words) of texts that are watched, by key.
    """

    texts: int
    words: int
    uncertainty: float
    answers: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Advised:
    """Whether a rule says that labelling may end, and by what numbers."""

    is_reached: bool
    said: str


class StoppingRule(Protocol):
    """A rule that only speaks; whoever labels decides."""

    def judge(self, rounds: Sequence[Round]) -> Advised:
        """What the rounds so far say, the last one the newest."""


@dataclass(frozen=True)
class StableAnswers:
    """The answers to a fixed set of unlabelled texts hardly change from round to round.

    The mean of Cohen's kappa of the newest answers with those before, over the last `window` pairs of rounds
    (Bloodgood and Vijay-Shanker 2009, sec. 3).

    Attributes:
        kappa: the agreement that must be reached.
        window: how many pairs of rounds are averaged.
    """

    kappa: float = 0.99
    window: int = 3

    def __post_init__(self) -> None:
        if not 0 < self.kappa <= 1:
            raise RecipeError("kappa must lie above 0 and at most at 1.", where="--stop stable.kappa")
        if self.window < 1:
            raise RecipeError("window must be at least 1.", where="--stop stable.window")

    def judge(self, rounds: Sequence[Round]) -> Advised:
        """The mean agreement."""
        last = rounds[-self.window - 1 :]
        if len(last) <= self.window:
            return Advised(False, f"stable: {len(rounds)} rounds are known, {self.window + 1} are needed")
        found = [agreement(one.answers, other.answers) for one, other in pairwise(last)]
        mean = sum(found) / len(found)
        listed = ", ".join(f"{value:.4f}" for value in found)
        return Advised(mean >= self.kappa, f"stable: kappa {mean:.4f} of at least {self.kappa:g} (rounds: {listed})")


@dataclass(frozen=True)
class SurePool:
    """The model is sure of the texts that are left (overall uncertainty, Zhu et al. 2010, sec. 4.2).

    Attributes:
        uncertainty: the mean uncertainty, in [0, 1], below which it counts as sure.
    """

    uncertainty: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.uncertainty < 1:
            raise RecipeError("uncertainty must lie between 0 and 1.", where="--stop sure.uncertainty")

    def judge(self, rounds: Sequence[Round]) -> Advised:
        """The newest uncertainty."""
        value = rounds[-1].uncertainty
        return Advised(value < self.uncertainty, f"sure: uncertainty {value:.4f}, to be below {self.uncertainty:g}")


@dataclass(frozen=True)
class SpentBudget:
    """As much was labelled as was to be paid for, validation counted.

    Attributes:
        texts: the most texts; 0 for no limit.
        words: the most words; 0 for no limit.
    """

    texts: int = 1000
    words: int = 0

    def __post_init__(self) -> None:
        if self.texts < 0 or self.words < 0 or not self.texts + self.words:
            raise RecipeError("The budget must limit texts or words.", where="--stop budget.texts")

    def judge(self, rounds: Sequence[Round]) -> Advised:
        """What was spent."""
        last = rounds[-1]
        spent = [(last.texts, self.texts, "texts"), (last.words, self.words, "words")]
        listed = ", ".join(f"{value:,} of {most:,} {unit}" for value, most, unit in spent if most)
        return Advised(any(most and value >= most for value, most, _ in spent), f"budget: {listed}")


STOPPING_RULES: dict[str, type[StoppingRule]] = {"stable": StableAnswers, "sure": SurePool, "budget": SpentBudget}


def agreement(one: Mapping[str, tuple[str, ...]], other: Mapping[str, tuple[str, ...]]) -> float:
    """Cohen's kappa of two models' labels for the units of texts that both answered; 1 where both know one label only.

    Nothing in common gives 0.
    """
    pairs = [
        pair
        for key in one.keys() & other.keys()
        if len(one[key]) == len(other[key])
        for pair in zip(one[key], other[key], strict=True)
    ]
    if not pairs:
        return 0.0
    size = len(pairs)
    labels = {label for pair in pairs for label in pair}
    shares = [[sum(pair[side] == label for pair in pairs) / size for label in labels] for side in (0, 1)]
    chance = sum(a * b for a, b in zip(*shares, strict=True))
    same = sum(a == b for a, b in pairs) / size
    return 1.0 if chance == 1 else (same - chance) / (1 - chance)
