"""The whole story of a simulation: labels hidden, asked for, revealed; a model anew each round; all of it kept."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import yaml

from tunesmith.asking import pool_of
from tunesmith.components import from_settings
from tunesmith.data.records import Example
from tunesmith.errors import DataError, RecipeError
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.preparation import prepare, stop_at_errors
from tunesmith.selection import QueryStrategy, Random
from tunesmith.simulation.curves import CHANCE, Curves, Point, rows_of
from tunesmith.simulation.learning import Learning
from tunesmith.stopping import words_in
from tunesmith.training.tracking import announce
from tunesmith.writing import refused, written

ROUNDS = "rounds.jsonl"
"""The file of finished rounds, a line each."""


@dataclass(frozen=True)
class Budget:
    """How much is asked for.

    Attributes:
        start: texts that are labelled by chance before any strategy chooses.
        batch: texts per round.
        rounds: how often a strategy chooses.
        candidates: texts drawn by chance in each round among which it chooses; 0 for all.
        split: what judges each round's model.
    """

    start: int = 50
    batch: int = 50
    rounds: int = 8
    candidates: int = 1000
    split: Literal["validation", "test"] = "validation"

    def __post_init__(self) -> None:
        for name, least in (("start", 2), ("batch", 1), ("rounds", 1), ("candidates", 0)):
            if self.__dict__[name] < least:
                raise RecipeError(f"{name} must be at least {least}.", where=f"--{name}")
        if 0 < self.candidates < self.batch:
            raise RecipeError(
                "Fewer candidates than a batch leave no choice.", where="--candidates", to_do="Use 0 for all texts."
            )

    @property
    def most(self) -> int:
        """The texts that are labelled in the end."""
        return self.start + self.batch * self.rounds


def budget_of(text: str) -> Budget:
    """A budget such as "start=50,batch=25".

    Raises:
        RecipeError: a part is unknown, or no whole number that makes sense.
    """
    parts = [part.partition("=") for part in text.split(",")]
    given: dict[str, object] = {key.strip(): yaml.safe_load(value) if value else "" for key, _, value in parts}
    return from_settings(Budget, given, "--budget")


def seeds_of(text: str) -> tuple[int, ...]:
    """Seeds such as "1,2,3", each once.

    Raises:
        RecipeError: one is no whole number of at least 0.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < 2**32 for part in parts):
        raise RecipeError(f"'{text}' is no list of seeds.", where="--seeds", to_do="Write --seeds 1,2,3.")
    return tuple(dict.fromkeys(int(part) for part in parts))


def see_plain(experiment: Experiment) -> None:
    """See that nothing of the recipe makes further texts of the hidden ones, reads their labels, or would be left out.

    Raises:
        RecipeError: something does.
    """
    task = vars(experiment.task)
    idle = {
        "augmenters": bool(experiment.augmenters),
        "semi_supervision": experiment.semi_supervision.uses_texts,
        "averaging": experiment.averaging.first(1) is not None,
        "training.balance_subgroups": experiment.training.balance_subgroups,
        "task.gazetteer": "train" in (task.get("gazetteer") or ()),
        "task.class_weights": task.get("class_weights") == "balanced",
    }
    for name, is_set in idle.items():
        if is_set:
            raise RecipeError(
                "The labels are hidden until they are asked for, and rounds are trained without this.",
                where=name,
                to_do=f"Leave {name} out of the simulation.",
            )


def simulate(
    experiment: Experiment,
    strategies: Mapping[str, QueryStrategy],
    seeds: Sequence[int],
    budget: Budget,
    folder: Path,
    *,
    quiet: bool = False,
) -> Curves:
    """Let strategies choose from a recipe's training examples, whose labels are hidden until asked for.

    Given again with the same folder it goes on after the last finished round.

    Raises:
        RecipeError: the folder holds another simulation, or a strategy needs what the task does not give.
        DataError: there are too few training examples, or none to judge by.
    """
    if experiment.task.label_kind not in ("class", "classes", "spans"):
        raise RecipeError("Only labels that are classes or spans can be asked for.", where="task")
    see_plain(experiment)
    prepared = prepare(experiment)
    stop_at_errors(prepared.findings)
    sizes = {name: len(examples) for name, examples in prepared.splits.named().items()}
    if budget.split not in sizes:
        raise DataError(
            f"The recipe has no {budget.split} examples to judge by.",
            where="data",
            to_do=f"Give data.{budget.split}.",
        )
    if sizes.get("train", 0) <= budget.most:
        raise DataError(
            f"{budget.most:,} of {sizes.get('train', 0):,} training examples would be asked for: no choice is left.",
            where="--start, --batch and --rounds",
            to_do="Ask for fewer.",
        )
    strategies = {CHANCE: Random(), **strategies}
    key = _key(experiment, prepared.fingerprints, budget)
    known = _known(folder, key)
    learning = Learning(experiment, prepared)
    total = len(seeds) * (1 + len(strategies) * budget.rounds)
    done = [point for points in known.values() for point in points]
    if not quiet:
        announce([f"{experiment.name}: {len(strategies)} strategies x {len(seeds)} seeds x {budget.rounds} rounds."])
    for seed in seeds:
        for point in _seed(learning, strategies, seed, budget, known):
            with refused(folder / ROUNDS), (folder / ROUNDS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(point)) + "\n")
            done.append(point)
            if not quiet:
                reached = f"{point.texts} texts: {point.value:.4f} ({point.seconds:.0f} s)"
                announce([f"[{len(done)}/{total}] seed {seed}, {point.strategy}, {reached}"])
    return _curves(learning, done, strategies, seeds, budget)


START = "start"
"""The name of the round that all strategies share."""


def _seed(
    learning: Learning,
    strategies: Mapping[str, QueryStrategy],
    seed: int,
    budget: Budget,
    known: Mapping[tuple[int, str], Sequence[Point]],
) -> Iterator[Point]:
    """The rounds of a seed that are not known yet."""
    size = len(learning.prepared.splits.train)
    places = np.random.default_rng([seed, size]).permutation(size)[: budget.start]
    begun = tuple(sorted(int(place) for place in places))
    first: Predictor | None = None
    if not known.get((seed, START)):
        began = time.monotonic()
        first = learning.predictor(begun, seed)
        value = learning.measure(first, budget.split).value()
        yield _point(learning, (seed, START, 0), begun, begun, value, began)
    for name, strategy in strategies.items():
        earlier = list(known.get((seed, name), ()))
        if len(earlier) >= budget.rounds:
            continue
        labelled = [*begun, *(place for point in earlier for place in point.asked)]
        predictor: Predictor | None = None
        if strategy.needs:  # chance asks no model
            if earlier or first is None:
                predictor = learning.predictor(labelled, seed)
                first = predictor if not earlier else first
            else:
                predictor = first
        for number in range(len(earlier) + 1, budget.rounds + 1):
            began = time.monotonic()
            asked = _asked(learning, predictor, strategy, labelled, (seed, number), budget)
            labelled += asked
            predictor = learning.predictor(labelled, seed)
            value = learning.measure(predictor, budget.split).value()
            yield _point(learning, (seed, name, number), asked, labelled, value, began)


def _asked(
    learning: Learning,
    predictor: Predictor | None,
    strategy: QueryStrategy,
    labelled: Sequence[int],
    turn: tuple[int, int],
    budget: Budget,
) -> list[int]:
    """The places that a strategy asks for; those with the same labels have the same candidates."""
    random = np.random.default_rng([*turn, 1])
    rest = np.setdiff1d(np.arange(len(learning.prepared.splits.train)), labelled)
    if 0 < budget.candidates < len(rest):
        rest = np.sort(random.permutation(rest)[: budget.candidates])
    train = learning.prepared.splits.train
    texts = [_hidden(train[place]) for place in rest]
    seed, _ = turn
    if predictor is None:
        chosen = [int(place) for place in random.permutation(len(rest))[: budget.batch]]
    else:
        pool = pool_of(predictor, texts, [train[place] for place in labelled], strategy.needs, seed)
        chosen = strategy.choose(pool, budget.batch, random)
    return [int(rest[place]) for place in chosen]


def _hidden(example: Example) -> Example:
    return Example(example.id, example.text, words=example.words, second=example.second, marks=example.marks)


def _point(
    learning: Learning,
    which: tuple[int, str, int],
    asked: Sequence[int],
    labelled: Sequence[int],
    value: float,
    began: float,
) -> Point:
    seed, strategy, number = which
    words = sum(words_in(learning.prepared.splits.train[place]) for place in labelled)
    return Point(seed, strategy, number, tuple(asked), len(labelled), words, value, round(time.monotonic() - began, 3))


def _key(experiment: Experiment, fingerprints: Mapping[str, str], budget: Budget) -> str:
    """What decides the rounds; strategies, seeds and the number of rounds may be added later."""
    settings = {**asdict(budget), "rounds": 0}
    text = json.dumps([experiment.to_mapping(), dict(fingerprints), settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _known(folder: Path, key: str) -> dict[tuple[int, str], list[Point]]:
    """The finished rounds in a folder, which is made if it is not there; a line that was cut short is dropped.

    Raises:
        RecipeError: they are of another recipe or budget.
    """
    with refused(folder, to_do="Choose another --out."):
        folder.mkdir(parents=True, exist_ok=True)
    path, marker = folder / ROUNDS, folder / "simulation.key"
    if not marker.is_file() and any(folder.iterdir()):
        raise RecipeError("The folder is not empty.", where=str(folder), to_do="Choose another --out.")
    if marker.is_file() and marker.read_text(encoding="utf-8").strip() != key:
        raise RecipeError(
            "The folder holds a simulation of another recipe, of other data or another budget.",
            where=str(folder),
            to_do="Choose another --out.",
        )
    with written(marker) as file:
        file.write(key + "\n")
    found: dict[tuple[int, str], list[Point]] = {}
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    for line in lines[:-1]:
        row = json.loads(line)
        point = Point(**{**row, "asked": tuple(row["asked"])})
        found.setdefault((point.seed, point.strategy), []).append(point)
    if lines and lines[-1]:  # the round that was being written when the process was killed
        with written(path) as file:
            file.writelines(line + "\n" for line in lines[:-1])
    return found


def _curves(
    learning: Learning,
    points: Sequence[Point],
    strategies: Mapping[str, QueryStrategy],
    seeds: Sequence[int],
    budget: Budget,
) -> Curves:
    """The finished rounds of these strategies and seeds as curves that begin at their seed's start."""
    starts = {point.seed: point for point in points if point.strategy == START}
    lines = [
        Point(**{**asdict(starts[seed]), "strategy": name, "asked": starts[seed].asked})
        for name in strategies
        for seed in seeds
    ]
    lines += [
        point
        for point in points
        if point.strategy in strategies and point.seed in seeds and point.round <= budget.rounds
    ]
    split = budget.split
    judged = learning.prepared.splits.named()[split]
    task = learning.prepared.task
    counted = f"{len(judged):,} texts of {split} ({sum(map(words_in, judged)):,} words)"
    notes = [
        f"Beside what the curves count, {counted} had to be labelled to draw them.",
        "The weights of the last step are kept, so validation chooses nothing; classes are known from the beginning.",
    ]
    if split == "test":
        notes.append("These curves have looked at the test split: what is chosen by them must be judged on other data.")
    if len(seeds) < 3:
        notes.append(f"With {len(seeds)} seed{'s' * (len(seeds) > 1)} an interval over seeds says little or nothing.")
    return Curves(
        learning.experiment.name,
        learning.experiment.training.metric or task.metric,
        split,
        tuple(seeds),
        tuple(lines),
        rows_of(lines),
        len(judged),
        sum(map(words_in, judged)),
        tuple(notes),
    )
