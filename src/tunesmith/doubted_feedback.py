"""Feedback held against what is trusted before it is learnt from: what other keys and trusted neighbours say of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.duplicates import near_groups, normalised
from tunesmith.data.records import Example
from tunesmith.errors import DataError, RecipeError
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.vectors import vectors_of
from tunesmith.judging import examples_of_file
from tunesmith.labelling.confident import class_thresholds, confident_classes
from tunesmith.labelling.neighbours import neighbour_shares
from tunesmith.learnt_from import sources_of
from tunesmith.remembered.training_rows import Claim, Copy, Voice, voice_of
from tunesmith.scoring.answers import class_of

NEIGHBOURS = 10
"""Trusted examples that are asked about a text."""
ENOUGH = NEIGHBOURS + 1
"""Trusted examples of a class from which on it can speak against a label: themselves left out, they then could have all
neighbours of their class. With fewer its threshold is low since they are few, not since they are hard to tell apart."""
AGREEING = 2
"""Other keys that must say the same of like texts for a label to pass that trusted neighbours speak against."""
MOST_ALIKE = 100
"""Texts of a group of near copies: texts of one form would all be one group."""
MOST_FITTED = 5_000
"""Trusted examples by which the thresholds are fitted; each is compared with all others."""

Vectors = Callable[[Sequence[Example]], NDArray[np.float64]]


@dataclass(frozen=True)
class Trusted:
    """Trusted examples with a class, in the space of a model.

    Attributes:
        vectors: what gives texts their places in that space.
        places: of the trusted examples [N, H].
        given: their classes, as places in `labels` [N].
        thresholds: the share of neighbours of a class from which on a text is confidently of this class [C]; infinite
            for a class of too few.
    """

    vectors: Vectors
    places: NDArray[np.float64]
    given: NDArray[np.int64]
    labels: tuple[str, ...]
    thresholds: NDArray[np.float64]

    @classmethod
    def of(cls, examples: Sequence[Example], vectors: Vectors) -> Trusted:
        """Fit the thresholds by the trusted examples alone, so that no feedback can move them.

        That of a class is the mean share that examples of it have of it among their neighbours, themselves left out:
        confident learning (Northcutt et al. 2021, eq. 2) on neighbours' votes, as Zhu et al. 2022 have them. A class of
        fewer than `ENOUGH` has none, and speaks against no label.

        Raises:
            DataError: there are too few examples.
        """
        labels = tuple(sorted({class_of(example) for example in examples}))
        if len(examples) <= NEIGHBOURS or len(labels) < 2:
            raise DataError(
                f"There are {len(examples)} trusted examples of {len(labels)} classes.",
                where="--trusted",
                to_do=f"Give more than {NEIGHBOURS}, of two classes or more.",
            )
        given = np.array([labels.index(class_of(example)) for example in examples], dtype=np.int64)
        places = vectors(examples)
        some = np.random.default_rng(13).permutation(len(examples))[:MOST_FITTED]
        shares = neighbour_shares(places[some], places, given, neighbours=NEIGHBOURS, own=some)
        return cls(vectors, places, given, labels, class_thresholds(given[some], shares, at_least=ENOUGH))

    @classmethod
    def load(cls, artifact: Path, file: Path) -> Trusted:
        """The examples of a file, read as the artifact's recipe reads its own, in the space of that artifact.

        Raises:
            RecipeError: its answers are not classes of one text or two, or it gives no vectors.
            DataError: the file cannot be read, or has too few examples.
        """
        predictor = Predictor.load(artifact)
        task = predictor.task
        if task.label_kind != "class" or not {name.rstrip("?") for name in task.inputs} <= {"text", "second"}:
            raise RecipeError(
                "Only labels that are one class can be held against trusted neighbours.",
                where=f"--against {artifact}",
                to_do="Leave --against and --trusted out, and have a person review this feedback.",
            )
        examples = examples_of_file(sources_of(artifact)[0].experiment.data, task, str(file))
        return cls.of(examples, lambda asked: vectors_of(predictor, asked, where="--against"))


@dataclass(frozen=True, slots=True)
class Doubted:
    """A row that is set aside.

    Attributes:
        row: as it would have been written.
        code: "other_keys" or "neighbours".
        reason: in words, without the text.
        copies: rows that say the same of the same text, and are set aside with it; else they would come one by one.
    """

    row: Mapping[str, Any]
    code: str
    reason: str
    copies: Sequence[Copy] = ()


@dataclass(frozen=True, slots=True)
class Sifted:
    """The rows that may be learnt from, those that are set aside, and how many of the first could not be judged."""

    kept: Sequence[Mapping[str, Any]]
    aside: Sequence[Doubted]
    unjudged: int


def sifted(
    rows: Sequence[Mapping[str, Any]], voices: Sequence[Voice], trusted: Trusted, released: frozenset[Claim]
) -> Sifted:
    """Part rows of feedback by what is known of their labels.

    A row is set aside where more other keys say something else of like texts (the same or near copies) than say the
    same; and, unless two others say the same, where its trusted neighbours are confidently of another class, with a
    larger share than its own has. What a person has `released` is kept, whichever row says it, as is what cannot be
    judged: a class that no trusted example has.
    """
    others = _others(voices)
    near = _neighbour_reasons(rows, trusted)
    kept, aside, unjudged = [], [], 0
    for row, neighbours in zip(rows, near, strict=True):
        voice = voice_of(row)
        if voice is not None and voice.claim in released:
            kept.append(row)
            continue
        same, different = others(voice) if voice is not None else (0, 0)
        if different > same:
            said = f"{different} other keys say something else of like texts, {same} say the same"
            aside.append(Doubted(row, "other_keys", said))
        elif neighbours and same < AGREEING:
            aside.append(Doubted(row, "neighbours", neighbours))
        else:
            kept.append(row)
            unjudged += neighbours is None
    return Sifted(kept, aside, unjudged)


def _others(voices: Sequence[Voice]) -> Callable[[Voice], tuple[int, int]]:
    """How many other keys say the same of like texts as a voice, and how many something else.

    A key has one vote, whatever it says how often; one that says both has none.
    """
    group = _groups([voice.content for voice in voices])
    said: defaultdict[tuple[str, int], defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for voice in voices:
        said[voice.model, group[normalised(voice.content)]][voice.key].add(voice.label)

    def counted(voice: Voice) -> tuple[int, int]:
        there = said[voice.model, group.get(normalised(voice.content), -1)]
        votes = Counter(
            labels == {voice.label} for key, labels in there.items() if key != voice.key and len(labels) == 1
        )
        return votes[True], votes[False]

    return counted


def _groups(texts: Sequence[str]) -> dict[str, int]:
    """The number of each text's group of near copies, by its normalised form."""
    first = {normalised(text): text for text in reversed(texts)}
    keys = list(first)
    group = {key: place for place, key in enumerate(keys)}
    for number, alike in enumerate(near_groups(list(first.values()), MOST_ALIKE)):
        group |= dict.fromkeys((keys[place] for place in alike), len(keys) + number)
    return group


def _neighbour_reasons(rows: Sequence[Mapping[str, Any]], trusted: Trusted) -> list[str | None]:
    """What trusted neighbours have against each row's class; empty for nothing, None where they cannot say."""
    found: list[str | None] = [None] * len(rows)
    number = {label: place for place, label in enumerate(trusted.labels)}
    known = [place for place, row in enumerate(rows) if isinstance(row.get("label"), str) and row["label"] in number]
    if not known:
        return found
    asked = [
        Example(str(place), str(rows[place]["text"]), second=str(rows[place].get("second", ""))) for place in known
    ]
    shares = neighbour_shares(trusted.vectors(asked), trusted.places, trusted.given, neighbours=NEIGHBOURS)
    for place, share, other in zip(known, shares, confident_classes(shares, trusted.thresholds), strict=True):
        own = number[rows[place]["label"]]
        found[place] = ""
        if other not in (-1, own) and share[other] > share[own]:
            found[place] = (
                f"of the votes of {NEIGHBOURS} trusted neighbours, weighted by likeness, {share[other]:.0%} are for "
                f"'{trusted.labels[other]}', {share[own]:.0%} for '{trusted.labels[own]}'"
            )
    return found
