"""Searching for values: the ranges, chance, and Optuna; every proposal is kept, so that a stopped search goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tunesmith.components import build, from_settings
from tunesmith.errors import RecipeError, import_extra
from tunesmith.study.variants import Changes, checked, merged, placed, variants
from tunesmith.writing import refused

Values = Mapping[str, float | int | str]
"""A value for each key that is searched over; of choices it is the choice's name."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; `log` for even steps of the logarithm, `whole` for whole numbers."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise RecipeError("low must be below high.", where="low", to_do="Write {low: 1e-5, high: 1e-3, log: true}.")
        if self.log and self.low <= 0:
            raise RecipeError("Only positive numbers have a logarithm.", where="low", to_do="Leave log out.")
        if self.whole and (self.low % 1 or self.high % 1):
            raise RecipeError("low and high of whole numbers are whole.", where="low", to_do="Round them.")

    def drawn(self, generator: np.random.Generator) -> float | int:
        """A number by chance."""
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        form, back = (math.log, math.exp) if self.log else (float, float)
        kept = min(max(back(generator.uniform(form(low), form(high))), self.low), self.high)
        return round(kept) if self.whole else kept

    def ends(self) -> tuple[float | int, ...]:
        """The two ends, which a recipe must be able to hold."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)


@dataclass(frozen=True)
class Choices:
    """Variants by their names."""

    named: Mapping[str, Changes]

    def drawn(self, generator: np.random.Generator) -> str:
        """The name of one by chance."""
        return str(list(self.named)[int(generator.integers(len(self.named)))])

    def ends(self) -> tuple[str, ...]:
        """All names."""
        return tuple(self.named)


Space = Mapping[str, Range | Choices]


@dataclass(frozen=True)
class Trial:
    """Values that were proposed, with the metric's mean on validation once its runs have ended well.

    `is_open` while they go on; a trial that failed is neither open nor has it a score.
    """

    number: int
    values: Values
    score: float | None = None
    is_open: bool = False


class Sampler(Protocol):
    """A way to propose values."""

    def propose(self, space: Space, trials: Sequence[Trial], *, seed: int, higher_is_better: bool) -> Values:
        """Values for the next trial, given all trials before it; the same for the same."""

    def check(self) -> None:
        """See that what is needed is installed."""


@dataclass(frozen=True)
class RandomSampler:
    """Values by chance, each trial apart from all others (Bergstra and Bengio 2012)."""

    def propose(self, space: Space, trials: Sequence[Trial], *, seed: int, higher_is_better: bool) -> Values:
        """Values for the next trial."""
        generator = np.random.default_rng([seed, len(trials)])
        return {key: one.drawn(generator) for key, one in space.items()}

    def check(self) -> None:
        """Nothing is needed."""


@dataclass(frozen=True)
class TPESampler:
    """Optuna's tree-structured Parzen estimator (Bergstra et al. 2011): values near those that did well.

    Needs: the extra `search`.

    Attributes:
        startup: trials by chance before the first that learns from others.
    """

    startup: int = 8

    def propose(self, space: Space, trials: Sequence[Trial], *, seed: int, higher_is_better: bool) -> Values:
        """Values for the next trial; the trials so far are told to a fresh study of Optuna's, open ones as such."""
        optuna = import_extra("optuna", "search")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        spread = {key: _distribution(optuna, one) for key, one in space.items()}
        sampler = optuna.samplers.TPESampler(seed=seed + len(trials), n_startup_trials=self.startup, constant_liar=True)
        study = optuna.create_study(direction="maximize" if higher_is_better else "minimize", sampler=sampler)
        for trial in trials:
            study.enqueue_trial(dict(trial.values))
            asked = study.ask(spread)
            if trial.score is not None:
                study.tell(asked, trial.score)
            elif not trial.is_open:
                study.tell(asked, state=optuna.trial.TrialState.FAIL)
        return dict(study.ask(spread).params)

    def check(self) -> None:
        """See that Optuna is installed."""
        import_extra("optuna", "search")


SAMPLERS: dict[str, type[Sampler]] = {"random": RandomSampler, "tpe": TPESampler}


@dataclass(frozen=True)
class Search:
    """Values of the recipe that are found by trials, by the metric on validation.

    Attributes:
        over: what is searched (required): a key such as training.learning_rate with {low, high} and maybe log or whole,
            or with {choices: [full, lora]}; or a name of your own with {choices: {name: {keys and values}}}.
        trials: how many sets of values are tried.
        sampler: how they are proposed: random, or tpe (Optuna).
        seeds: with how many of the study's seeds each trial is run; the best trial is then run with all of them.
    """

    over: dict[str, dict[str, Any]]
    trials: int = 20
    sampler: str | dict[str, Any] = "random"
    seeds: int = 1

    def __post_init__(self) -> None:
        for name in ("trials", "seeds"):
            if self.__dict__[name] < 1:
                raise RecipeError(f"{name} must be at least 1.", where=f"search.{name}")
        self.proposer()

    def proposer(self) -> Sampler:
        """The sampler, built.

        Raises:
            RecipeError: its name or a setting is unknown.
        """
        return build(SAMPLERS, self.sampler, "search.sampler")

    def space(self) -> Space:
        """What is searched over.

        Raises:
            RecipeError: a range is none, or there is nothing to search over.
        """
        if not self.over:
            raise RecipeError("There is nothing to search over.", where="search.over", to_do="Name a key and a range.")
        found: dict[str, Range | Choices] = {}
        for key, given in self.over.items():
            where = f"search.over.{key}"
            if "choices" not in given:
                with placed(where):
                    found[checked(key, "search.over")] = from_settings(Range, given)
            elif len(given) > 1 or not isinstance(given["choices"], list | Mapping):
                raise RecipeError(
                    "choices is a list of values, or names with keys and values, and stands alone.",
                    where=where,
                    to_do="Write {choices: [full, lora]}.",
                )
            else:
                found[key] = Choices(dict(variants("search.over", key, given["choices"])))
        return found


def changes_of(values: Values, space: Space) -> Changes:
    """What a trial's values change in the recipe.

    Raises:
        RecipeError: two of them change the same key.
    """
    parts = []
    for key, one in space.items():
        value = values[key]
        parts.append((key, one.named[str(value)] if isinstance(one, Choices) else {key: value}))
    return merged(parts, "search.over")


def read_trials(path: Path, space: Space) -> list[Trial]:
    """The trials that were proposed before; a last line that was cut short is none.

    Raises:
        RecipeError: they are of another search.
    """
    found: list[Trial] = []
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for line in lines:
        try:
            kept = json.loads(line)
        except ValueError:
            continue
        if set(kept["values"]) != set(space) or not all(_holds(space[key], kept["values"][key]) for key in space):
            raise RecipeError(
                f"Trial {kept['trial']} has values that are not searched over: the study's file was changed since.",
                where=str(path),
                to_do="Choose another --out, or put 'over' back as it was.",
            )
        found.append(Trial(len(found) + 1, kept["values"]))
    return found


def keep_trial(path: Path, trial: Trial) -> None:
    """Add a proposal to the file of trials, before its first run begins."""
    with refused(path, to_do="Free disk space, and give the study again."):
        is_cut = path.is_file() and not path.read_bytes().endswith(b"\n")
        with path.open("a", encoding="utf-8") as file:
            file.write(("\n" if is_cut else "") + json.dumps({"trial": trial.number, "values": trial.values}) + "\n")


def _holds(one: Range | Choices, value: object) -> bool:
    if isinstance(one, Choices):
        return value in one.named
    return isinstance(value, int | float) and one.low <= value <= one.high


def _distribution(optuna: Any, one: Range | Choices) -> Any:
    if isinstance(one, Choices):
        return optuna.distributions.CategoricalDistribution(list(one.named))
    if one.whole:
        return optuna.distributions.IntDistribution(int(one.low), int(one.high), log=one.log)
    return optuna.distributions.FloatDistribution(one.low, one.high, log=one.log)
