"""How good relations are: the official measure of SemEval-2010 task 8, and its kin."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tunesmith.data.records import Example, Prediction
from tunesmith.scoring import Measure, SummedMeasure, divide
from tunesmith.scoring.answers import all_labels, check_pairs, class_of
from tunesmith.scoring.averages import count_items, macro, micro, parts, per_class
from tunesmith.scoring.classification import measure_classes

_DIRECTED = re.compile(r"^(.*)\((?:e1,e2|e2,e1)\)$")


def undirected(label: str) -> str:
    """A relation without its direction: "Cause-Effect" for "Cause-Effect(e2,e1)"."""
    found = _DIRECTED.match(label)
    return found.group(1) if found else label


def measure_relations(
    examples: Sequence[Example], predictions: Sequence[Prediction], labels: Sequence[str], none: str
) -> list[Measure]:
    """The official macro-F1, the F1s over relations, then accuracy and what else is measured of classes.

    The official measure of SemEval-2010 task 8 (Hendrickx et al. 2010, sec. 4.2: "(9+1)-way with directionality") is
    the mean F1 of the relations without their direction, where an answer counts as right only with the right direction
    and the class for no relation is left out of the mean. For labels without directions it is the usual macro-F1
    without that class. `micro_f1` likewise leaves it out, as is usual where most pairs have no relation. Where labels
    have directions `macro_f1_directed` is the mean F1 of the directed classes (18 in SemEval-2010), without that class.
    """
    check_pairs(examples, predictions)
    known = all_labels(labels, (class_of(one) for one in examples))
    gold = [class_of(example) for example in examples]
    answers = [class_of(prediction) for prediction in predictions]
    directed = [label for label in known if label != none]
    relations = sorted({undirected(label) for label in directed})
    statistics = _counts(gold, answers, {label: relations.index(undirected(label)) for label in directed})
    found: list[Measure] = [
        SummedMeasure("official_f1", statistics, _official),
        SummedMeasure("micro_f1", statistics, lambda sums: micro(sums).f1),
    ]
    if len(relations) < len(directed):
        each = _counts(gold, answers, {label: place for place, label in enumerate(directed)})
        found.append(SummedMeasure("macro_f1_directed", each, lambda sums: macro(sums).f1))
    return [*found, *measure_classes(examples, predictions, labels)]


def _counts(gold: Sequence[str], answers: Sequence[str], place: Mapping[str, int]) -> csr_array:
    """What each example adds to the right answers, answers given and gold labels of the places: [N, 3 R]."""
    there = [[place[label]] if label in place else [] for label in gold]
    found = [[place[label]] if label in place else [] for label in answers]
    right = [row if one == other else [] for row, one, other in zip(there, gold, answers, strict=True)]
    return count_items(right, found, there, len(set(place.values())))


def _official(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean F1 of the relations that gold has: the official scorer divides by their number."""
    _, _, gold = parts(sums)
    return divide(np.where(gold > 0, per_class(sums).f1, 0.0).sum(axis=1), (gold > 0).sum(axis=1).astype(np.float64))
