"""Labelled examples that are shown to a language model before it is asked: which ones, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer

from tunesmith.data.records import Example
from tunesmith.errors import DataError

Selection = Literal["random", "nearest", "diverse"]
"""By chance; those most like the text that is asked about; or as unlike each other as can be."""

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


def candidates(
    examples: Sequence[Example], labels: Sequence[str], fits: Callable[[Demonstration], bool], *, least: int, seed: int
) -> tuple[Demonstration, ...]:
    """Up to `CANDIDATES` examples of each class, drawn by the seed from those that fit the budget of tokens.

    Raises:
        DataError: a class has fewer than `least` of them.
    """
    order = np.random.default_rng(seed).permutation(len(examples)).tolist()
    found: dict[str, dict[Demonstration, None]] = {label: {} for label in labels}
    for place in order:
        example = examples[place]
        own = found.get(str(example.label))
        if own is None or len(own) == CANDIDATES:
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


def drawn(pool: Sequence[Demonstration], count: int, seed: int) -> tuple[Demonstration, ...]:
    """The first `count` of each class (they were drawn by chance), in an order drawn by the seed."""
    kept = [one for own in _by_label(pool) for one in own[:count]]
    return _shuffled(kept, seed)


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
    return _shuffled(kept, seed)


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


def _shuffled(kept: Sequence[Demonstration], seed: int) -> tuple[Demonstration, ...]:
    return tuple(kept[place] for place in np.random.default_rng([seed, 1]).permutation(len(kept)).tolist())


def _content(one: Demonstration) -> str:
    return f"{one.text}\n{one.second}" if one.second else one.text


@lru_cache(maxsize=16)
def _index(texts: tuple[str, ...]) -> tuple[Any, Any]:
    """The tf-idf of parts of words, which serves languages with and without blanks."""
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    return vectorizer, vectorizer.fit_transform(texts)
