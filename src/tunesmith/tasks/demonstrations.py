"""Labelled examples that are shown to a language model before it is asked: which ones, and in which order."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer

from tunesmith.data.records import Example
from tunesmith.errors import DataError, RecipeError

Selection = Literal["random", "sampled", "nearest", "diverse"]
"""By chance, the same for all texts or others for each; those most like the text; or as unlike each other as can be."""

CANDIDATES = 200
"""So many examples of a class are chosen among."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """An example as it is shown."""

    text: str
    label: str
    second: str = ""

    def is_of(self, example: Example) -> bool:
        """Whether it shows this example's text."""
        return (self.text, self.second) == (example.text, example.second)


@dataclass(frozen=True, slots=True)
class Showing:
    """How many demonstrations are shown, and which.

    Attributes:
        count: examples of each class.
        selection: which.
        tokens: the most tokens that all of a set may take.
        seed: decides what is drawn, and the order.
        sets: how many sets there are, each of which the text is asked after.
    """

    count: int
    selection: Selection
    tokens: int
    seed: int
    sets: int

    def __post_init__(self) -> None:
        if self.count < 0 or self.tokens < 1 or self.sets < 1:
            raise RecipeError(
                "demonstrations must not be negative, and their tokens and sets must be positive.",
                where="task.demonstrations",
            )
        changed = {
            "selection": self.selection != "random",
            "demonstration_tokens": self.tokens != 512,
            "demonstration_seed": self.seed != 0,
            "demonstration_sets": self.sets != 1,
        }
        idle = [name for name, is_changed in changed.items() if is_changed]
        if not self.count and idle:
            raise RecipeError(
                f"{idle[0]} has no effect without demonstrations.",
                where=f"task.{idle[0]}",
                to_do="Set task.demonstrations, or remove it.",
            )
        if self.sets > 1 and self.selection not in ("random", "sampled"):
            raise RecipeError(
                f"There is one {self.selection} set of demonstrations.",
                where="task.demonstration_sets",
                to_do="Use selection: random or sampled, or leave demonstration_sets out.",
            )

    @property
    def follows_text(self) -> bool:
        """Whether each text has demonstrations of its own."""
        return bool(self.count) and self.selection in ("sampled", "nearest")

    def kept(
        self, examples: Sequence[Example], labels: Sequence[str], length: Callable[[Demonstration], int]
    ) -> tuple[Demonstration, ...]:
        """The demonstrations, set by set; or where each text has its own, what they are chosen among.

        Args:
            examples: the training examples.
            labels: the classes.
            length: the tokens that a demonstration takes.

        Raises:
            DataError: a class has too few examples that fit the budget.
        """
        share = self.tokens // (self.count * len(labels))
        own = self.selection == "random"
        least = self.count * (self.sets if own else 1)
        pool = candidates(examples, labels, lambda one: length(one) <= share, least=least, seed=self.seed)
        if self.follows_text:
            return pool
        if self.selection == "diverse":
            return diverse(pool, self.count, self.seed)
        return tuple(one for number in range(self.sets) for one in drawn(pool, self.count, self.seed, number))

    def before(self, kept: Sequence[Demonstration], example: Example) -> list[Sequence[Demonstration]]:
        """The sets that are shown before an example, which is never shown itself."""
        if not kept:
            return [()]
        if self.selection == "nearest":
            return [nearest(kept, example, self.count)]
        if self.selection == "sampled":
            return [sampled(kept, example, self.count, [self.seed, number]) for number in range(self.sets)]
        size = len(kept) // self.sets
        parts = [kept[number * size : (number + 1) * size] for number in range(self.sets)]
        return [[one for one in part if not one.is_of(example)] for part in parts]


def candidates(
    examples: Sequence[Example], labels: Sequence[str], fits: Callable[[Demonstration], bool], *, least: int, seed: int
) -> tuple[Demonstration, ...]:
    """Up to `CANDIDATES` examples of each class, or `least` where that is more, drawn by the seed from those that fit.

    Raises:
        DataError: a class has fewer than `least` of them.
    """
    order = np.random.default_rng(seed).permutation(len(examples)).tolist()
    found: dict[str, dict[Demonstration, None]] = {label: {} for label in labels}
    for place in order:
        example = examples[place]
        own = found.get(str(example.label))
        if own is None or len(own) == max(CANDIDATES, least):
            continue
        one = Demonstration(example.text, str(example.label), example.second)
        if fits(one):
            own[one] = None
    for label, own in found.items():
        if len(own) < least:
            raise DataError(
                f"Label '{label}' has {len(own)} training examples that fit the demonstrations' tokens, not {least}.",
                where="task.demonstrations",
                to_do="Lower task.demonstrations, raise task.demonstration_tokens, or give data.train.",
            )
    return tuple(one for own in found.values() for one in own)


def drawn(pool: Sequence[Demonstration], count: int, seed: int, number: int = 0) -> tuple[Demonstration, ...]:
    """The next `count` of each class for each `number` (they were drawn by chance), in an order drawn by the seed."""
    kept = [one for own in _by_label(pool) for one in own[number * count : (number + 1) * count]]
    return _shuffled(kept, [seed, number])


def sampled(
    pool: Sequence[Demonstration], example: Example, count: int, seed: Sequence[int]
) -> tuple[Demonstration, ...]:
    """`count` of each class, drawn for this text and in an order of its own; never itself (Gao et al. 2021, sec. 6.1).

    A model that is trained so cannot learn by heart what a fixed set says.
    """
    salt = [*seed, zlib.crc32(_content(Demonstration(example.text, "", example.second)).encode())]
    random = np.random.default_rng(salt)
    kept = []
    for own in _by_label(pool):
        others = [one for one in own if not one.is_of(example)]
        kept += [others[place] for place in random.permutation(len(others))[:count].tolist()]
    return _shuffled(kept, salt)


def diverse(pool: Sequence[Demonstration], count: int, seed: int) -> tuple[Demonstration, ...]:
    """Of each class the examples nearest to the centres of `count` clusters, in an order drawn by the seed."""
    kept = []
    for own in _by_label(pool):
        vectors = _index(tuple(_content(one) for one in own))[1]
        centres = KMeans(n_clusters=count, random_state=seed, n_init=1).fit(vectors).cluster_centers_
        likeness = np.asarray(vectors @ centres.T)
        taken: list[int] = []
        for column in likeness.T:
            taken.append(next(int(n) for n in np.argsort(-column, kind="stable") if n not in taken))
        kept += [own[number] for number in taken]
    return _shuffled(kept, [seed])


def nearest(pool: Sequence[Demonstration], example: Example, count: int) -> tuple[Demonstration, ...]:
    """Of each class the `count` examples most like another (cosine of tf-idf), the likest of all last; never itself."""
    vectorizer, vectors = _index(tuple(_content(one) for one in pool))
    asked = _content(Demonstration(example.text, "", example.second))
    likeness = np.asarray((vectors @ vectorizer.transform([asked]).T).todense())[:, 0]
    kept: list[int] = []
    order = [n for n in np.argsort(-likeness, kind="stable").tolist() if not pool[n].is_of(example)]
    for label in dict.fromkeys(one.label for one in pool):
        kept += [number for number in order if pool[number].label == label][:count]
    return tuple(pool[number] for number in sorted(kept, key=lambda number: (likeness[number], -number)))


def _by_label(pool: Sequence[Demonstration]) -> list[list[Demonstration]]:
    labels = dict.fromkeys(one.label for one in pool)
    return [[one for one in pool if one.label == label] for label in labels]


def _shuffled(kept: Sequence[Demonstration], seed: Sequence[int]) -> tuple[Demonstration, ...]:
    return tuple(kept[place] for place in np.random.default_rng([*seed, 1]).permutation(len(kept)).tolist())


def _content(one: Demonstration) -> str:
    return f"{one.text}\n{one.second}" if one.second else one.text


@lru_cache(maxsize=16)
def _index(texts: tuple[str, ...]) -> tuple[Any, Any]:
    """The tf-idf of parts of words, which serves languages with and without blanks."""
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    return vectorizer, vectorizer.fit_transform(texts)
