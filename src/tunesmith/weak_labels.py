"""Texts labelled by functions: read, asked, judged, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tunesmith.data.records import Example
from tunesmith.data.sources import read
from tunesmith.errors import DataError
from tunesmith.experiment import LABELLED, reading
from tunesmith.labelling import LabelModel
from tunesmith.labelling.functions import Function, Row, Votes, judged_accuracies, table_of
from tunesmith.labelling.label_models import ran_away


@dataclass(frozen=True)
class WeaklyLabelled:
    """Texts with the labels that functions give them together.

    Attributes:
        examples: the texts on which a function spoke, each with its likeliest label.
        chances: the probability of each label, of these texts.
        rows: the table of the functions.
        silent: how many texts no function spoke on, which are left out.
        tied: how many texts have two labels that are equally likely; the first by name is taken.
        accuracy: how often the labels are those that the file gives; None where it gives none.
        warnings: what speaks against the labels.
    """

    examples: tuple[Example, ...]
    chances: tuple[Mapping[str, float], ...]
    rows: tuple[Row, ...]
    silent: int
    tied: int
    accuracy: float | None
    warnings: tuple[str, ...] = ()

    def plain(self) -> dict[str, object]:
        """The counts and the table as plain values."""
        counts = {"labelled": len(self.examples), "silent": self.silent, "tied": self.tied, "accuracy": self.accuracy}
        return {**counts, "warnings": list(self.warnings), "functions": [asdict(row) for row in self.rows]}

    def labelled(self) -> Iterator[dict[str, object]]:
        """Each text as a row with its label, how likely that is, and the chances of all."""
        for example, chances in zip(self.examples, self.chances, strict=True):
            row: dict[str, object] = {"id": example.id, "text": example.text}
            if example.second:
                row["second"] = example.second
            yield {**row, "label": example.label, "confidence": chances[str(example.label)], "chances": dict(chances)}


def examples_of(file: Path, changes: Sequence[str], *, labelled: bool) -> Sequence[Example]:
    """The texts of a file that is written as changes such as "data.encoding=gb18030" say, with their labels or without.

    Raises:
        RecipeError: a change says nothing of a file.
        DataError: the file cannot be read.
    """
    data = reading(changes, LABELLED)
    inputs = ("text", "second") if data.second else ("text",)
    return read(data.source(str(file), "class" if labelled else "", inputs)).examples


def label_examples(examples: Sequence[Example], functions: Mapping[str, Function], model: LabelModel) -> WeaklyLabelled:
    """Label examples by functions; labels that they have are used for judging alone.

    Raises:
        DataError: no function speaks on any.
    """
    votes = Votes.of(examples, functions)
    if not votes.labels:
        raise DataError(
            "No labelling function speaks on any of the texts.",
            where=", ".join(functions),
            to_do="See that their words stand in the texts; words of letters match whole words.",
        )
    judged = model.judge(votes.table, len(votes.labels), votes.labels)
    gold = [str(example.label) for example in examples if isinstance(example.label, str)]
    is_known = len(gold) == len(examples)
    see_same_names(votes.labels, gold if is_known else ())
    accuracies = judged_accuracies(votes, gold) if is_known else judged.accuracies.tolist()
    places: list[int] = np.flatnonzero(votes.covered).tolist()
    best = judged.probabilities.argmax(axis=1)
    top = np.sort(judged.probabilities[places], axis=1)
    tied = int((top[:, -1] - top[:, -2] < 1e-9).sum()) if len(votes.labels) > 1 else 0
    labels = [votes.labels[best[place]] for place in places]
    right = [label == gold[place] for label, place in zip(labels, places, strict=True)] if is_known else []
    return WeaklyLabelled(
        tuple(_labelled(examples[place], label) for place, label in zip(places, labels, strict=True)),
        tuple(dict(zip(votes.labels, judged.probabilities[place].tolist(), strict=True)) for place in places),
        tuple(table_of(votes, accuracies)),
        len(examples) - len(places),
        tied,
        float(np.mean(right)) if is_known else None,
        tuple(ran_away(votes.table, judged, votes.labels)),
    )


def see_same_names(said: Sequence[str], gold: Sequence[str]) -> None:
    """See that the functions and the file have a label in common: other spellings would all count as wrong.

    Raises:
        DataError: they have none.
    """
    if gold and not set(said) & set(gold):
        there = ", ".join(sorted(set(gold))[:12])
        raise DataError(
            f"The functions say {', '.join(said)}, and the file's labels are {there}.",
            where="--judge",
            to_do="Write the labels of the functions as the file has them.",
        )


def _labelled(example: Example, label: str) -> Example:
    return Example(example.id, example.text, label, second=example.second, origin=example.origin)
